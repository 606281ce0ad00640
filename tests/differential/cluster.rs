//! Clusters of real processes, ours or etcd's, started with the same flags on loopback.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kvorum::proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;
use crate::tools::Server;

/// Answers of 100,000 keys come in one message.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) client_url: String,
    pub(crate) peer_url: String,
    pub(crate) id: u64,
    process: Child,
    clients: Clients,
}

/// The services of one member. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    channel: Channel,
}

pub(crate) struct Cluster {
    server: Server,
    pub(crate) members: Vec<Member>,
    pub(crate) id: u64,
    folder: tempfile::TempDir,
    _addresses: Vec<Address>,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it answers a linearizable read.
    pub(crate) async fn start(server: Server, size: usize) -> anyhow::Result<Cluster> {
        let folder = tempfile::tempdir()?;
        let addresses: Vec<_> = (0..size).map(|_| Address::claim()).collect();
        let names: Vec<_> = (0..size).map(|i| format!("m{i}")).collect();
        let peer_url = |i: usize| addresses[i].peer_url();
        let client_url = |i: usize| addresses[i].client_url();
        let plan: Vec<_> = (0..size).map(|i| format!("{}={}", names[i], peer_url(i))).collect();
        let plan = plan.join(",");
        let mut members = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let process = start_member(&server, folder.path(), name, &peer_url(i), &client_url(i), &plan)?;
            let channel = Endpoint::from_shared(client_url(i))?.connect_lazy();
            let (client_url, peer_url) = (client_url(i), peer_url(i));
            let clients = Clients { channel };
            members.push(Member { name: name.clone(), client_url, peer_url, id: 0, process, clients });
        }
        let mut cluster = Cluster { server, members, id: 0, folder, _addresses: addresses };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.server.is_ours { "kvorum" } else { "etcd" }
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        for i in 0..self.members.len() {
            loop {
                let request = pb::RangeRequest { key: "ready".into(), ..Default::default() };
                match self.members[i].kv().range(request).await {
                    Ok(_) => break,
                    Err(error) if Instant::now() > deadline => {
                        bail!("{} {}: {error}\n{}", self.name(), self.members[i].name, self.logs(i));
                    }
                    // The member is still starting: ask again.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
            let status = self.members[i].maintenance().status(pb::StatusRequest {}).await?.into_inner();
            let header = status.header.context("status without a header")?;
            self.members[i].id = header.member_id;
            self.id = header.cluster_id;
        }
        self.wait_until_published(deadline).await
    }

    /// Every member has told its name and client URLs, which costs log entries but no revision.
    async fn wait_until_published(&self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            let request = pb::MemberListRequest { linearizable: true };
            let list = self.members[0].cluster().member_list(request).await?.into_inner();
            if list.members.iter().all(|member| !member.name.is_empty()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{}: not all members publish their names: {list:?}", self.name());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The last lines that a member wrote.
    pub(crate) fn logs(&self, member: usize) -> String {
        let path = self.folder.path().join(format!("{}.log", self.members[member].name));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Every name under which this cluster's answers differ from another's for no reason: ours and theirs.
    pub(crate) fn aliases(&self) -> Vec<(String, String)> {
        let mut aliases = Vec::new();
        for (i, member) in self.members.iter().enumerate() {
            aliases.push((member.client_url.clone(), format!("CLIENT{i}")));
            aliases.push((member.peer_url.clone(), format!("PEER{i}")));
            aliases.push((member.id.to_string(), format!("MEMBER{i}")));
            aliases.push((format!("{:x}", member.id), format!("MEMBER{i}")));
        }
        aliases.push((self.id.to_string(), "CLUSTER".to_string()));
        aliases
    }

    pub(crate) async fn leader(&self) -> anyhow::Result<usize> {
        let status = self.members[0].maintenance().status(pb::StatusRequest {}).await?.into_inner();
        self.members.iter().position(|member| member.id == status.leader).context("no leader")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // A process that is gone already is as good.
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

impl std::ops::Deref for Member {
    type Target = Clients;
    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Member {
    pub(crate) fn clients(&self) -> Clients {
        self.clients.clone()
    }
}

impl Clients {
    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }
}

fn start_member(
    server: &Server,
    folder: &Path,
    name: &str,
    peer_url: &str,
    client_url: &str,
    plan: &str,
) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
    let data = folder.join(name);
    let mut command = Command::new(&server.path);
    command
        .args(["--name", name, "--data-dir"])
        .arg(data)
        .args(["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url])
        .args(["--listen-client-urls", client_url, "--advertise-client-urls", client_url])
        .args(["--initial-cluster", plan, "--initial-cluster-state", "new"])
        .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
        .args(["--watch-progress-notify-interval", "200ms"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command.spawn().with_context(|| format!("starting {}", server.path.display()))
}

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
use crate::answers::Names;
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
    /// Nobody else's as long as the member is there.
    _address: Address,
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
    founders: usize,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it answers a linearizable read.
    pub(crate) async fn start(server: Server, size: usize) -> anyhow::Result<Cluster> {
        let folder = tempfile::tempdir()?;
        let addresses: Vec<_> = (0..size).map(|i| (format!("m{i}"), Address::claim())).collect();
        let plan: Vec<_> =
            addresses.iter().map(|(name, address)| format!("{name}={}", address.peer_url())).collect();
        let plan = plan.join(",");
        let members = addresses.into_iter().map(|(name, address)| {
            Member::start(&server, folder.path(), name, address, &format!("--initial-cluster={plan}"), "new")
        });
        let members = members.collect::<anyhow::Result<_>>()?;
        let mut cluster = Cluster { server, members, id: 0, founders: size, folder };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// Adds a learner, starts it, and waits until it answers from its own copy.
    pub(crate) async fn start_learner(&mut self) -> anyhow::Result<()> {
        let address = Address::claim();
        let name = format!("m{}", self.members.len());
        let request = pb::MemberAddRequest { peer_ur_ls: vec![address.peer_url()], is_learner: true };
        let added = self.members[0].cluster().member_add(request).await?.into_inner();
        let mut plan = format!("--initial-cluster={name}={}", address.peer_url());
        for member in &self.members {
            plan.push_str(&format!(",{}={}", member.name, member.peer_url));
        }
        let mut learner = Member::start(&self.server, self.folder.path(), name, address, &plan, "existing")?;
        learner.id = added.member.context("no member in the answer")?.id;
        self.members.push(learner);
        self.wait_until_it_has_started(self.members.len() - 1).await
    }

    /// A learner publishes its name through the leader once it knows it.
    async fn wait_until_it_has_started(&self, member: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let request = pb::RangeRequest { key: "ready".into(), serializable: true, ..Default::default() };
            let answer = self.members[member].kv().range(request).await;
            let request = pb::MemberListRequest { linearizable: true };
            let list = self.members[0].cluster().member_list(request).await?.into_inner().members;
            if answer.is_ok() && list.iter().all(|member| !member.name.is_empty()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{}: {answer:?}, {list:?}\n{}", self.name(), self.logs(member));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends members at once, without a word to the others.
    pub(crate) fn kill(&mut self, members: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        for member in members {
            self.members[member].process.kill()?;
        }
        Ok(())
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
    pub(crate) fn names(&self) -> Names {
        let mut aliases = Vec::new();
        for (i, member) in self.members.iter().enumerate() {
            aliases.push((member.client_url.clone(), format!("CLIENT{i}")));
            aliases.push((member.peer_url.clone(), format!("PEER{i}")));
            aliases.push((member.id.to_string(), format!("MEMBER{i}")));
            aliases.push((format!("{:x}", member.id), format!("MEMBER{i}")));
        }
        aliases.push((self.id.to_string(), "CLUSTER".to_string()));
        Names { aliases, is_term_free: self.founders > 1 }
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
    fn start(
        server: &Server,
        folder: &Path,
        name: String,
        address: Address,
        plan: &str,
        state: &str,
    ) -> anyhow::Result<Member> {
        let log = std::fs::File::create(folder.join(format!("{name}.log")))?;
        let (client_url, peer_url) = (address.client_url(), address.peer_url());
        let mut command = Command::new(&server.path);
        command
            .args(["--name", &name, "--data-dir"])
            .arg(folder.join(&name))
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args([plan, "--initial-cluster-state", state])
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            .args(["--watch-progress-notify-interval", "200ms"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = command.spawn().with_context(|| format!("starting {}", server.path.display()))?;
        let channel = Endpoint::from_shared(client_url.clone())?.connect_lazy();
        let clients = Clients { channel };
        Ok(Member { name, client_url, peer_url, id: 0, process, clients, _address: address })
    }

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

//! Clusters of real processes, ours or etcd's, started with the same flags, and the services of their members.

use anyhow::Context;
use kvorum::client::Consistency;
use kvorum::proto::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};

use crate::answers::Names;
use crate::common;
use crate::common::bench::Bench;
use crate::common::cluster::Plan;
use crate::common::member::PATIENCE;
use crate::common::tools::Server;
use crate::common::wait::{holds, until};

/// Answers of 100,000 keys come in one message.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(crate) struct Member {
    pub(crate) client_url: String,
    pub(crate) peer_url: String,
    pub(crate) id: u64,
    clients: Clients,
}

/// The services of one member. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    channel: Channel,
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) id: u64,
    founders: usize,
    processes: common::cluster::Cluster,
}

impl Cluster {
    /// Starts a cluster and waits until every member of it serves and has told its name, which costs log
    /// entries but no revision.
    pub(crate) async fn start(bench: &Bench, server: Server, size: usize) -> anyhow::Result<Cluster> {
        let flags = vec!["--watch-progress-notify-interval=200ms".to_owned()];
        let plan = Plan { server, members: size, flags, ..Plan::default() };
        let processes = common::cluster::Cluster::form(bench, plan).await;
        let mut cluster = Cluster { members: Vec::new(), id: 0, founders: size, processes };
        for at in 0..size {
            cluster.meet(at).await?;
        }
        cluster.all_have_told_their_names().await;
        cluster.all_store_as_their_version_does().await;
        Ok(cluster)
    }

    /// Adds a learner, starts it, and waits until it answers from its own copy.
    pub(crate) async fn start_learner(&mut self) -> anyhow::Result<()> {
        let at = self.members.len();
        let peer_url = self.processes.place_joining().peer_url.clone();
        let request = pb::MemberAddRequest { peer_ur_ls: vec![peer_url], is_learner: true };
        self.members[0].cluster().member_add(request).await?;
        self.processes.members[at].start();
        self.all_have_told_their_names().await;
        let client = self.processes.members[at].client().clone();
        let request = pb::RangeRequest { key: "ready".into(), serializable: true, ..Default::default() };
        until("the learner to answer", PATIENCE, async || {
            client.range(&request).await.map_err(|error| error.to_string())
        })
        .await;
        self.meet(at).await
    }

    /// Learns who the member at this position is.
    async fn meet(&mut self, at: usize) -> anyhow::Result<()> {
        let process = &self.processes.members[at];
        let channel = Endpoint::from_shared(process.client_url.clone())?.connect_lazy();
        let header = process.status().await?.header.context("status without a header")?;
        self.id = header.cluster_id;
        self.members.push(Member {
            client_url: process.client_url.clone(),
            peer_url: process.peer_url.clone(),
            id: header.member_id,
            clients: Clients { channel },
        });
        Ok(())
    }

    async fn all_have_told_their_names(&self) {
        let client = self.processes.members[0].client();
        until("all members to have told their names", PATIENCE, async || {
            let list = client.members(Consistency::Linearizable).await.map_err(|error| error.to_string())?;
            holds(list.members.iter().all(|member| !member.name.is_empty()), &list)
        })
        .await;
    }

    /// etcd moves its storage to the cluster's version some seconds after that is decided.
    async fn all_store_as_their_version_does(&self) {
        for process in &self.processes.members {
            until(&format!("{} to store as its version does", process.name), PATIENCE, async || {
                let status = process.status().await.map_err(|error| error.to_string())?;
                let minor = status.version.rsplit_once('.').map(|(minor, _)| format!("{minor}.0"));
                holds(minor.as_ref() == Some(&status.storage_version), &status)
            })
            .await;
        }
    }

    /// Ends members at once, without a word to the others.
    pub(crate) fn kill(&mut self, members: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        for member in members {
            self.processes.members[member].kill();
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.processes.plan.server.is_ours { "kvorum" } else { "etcd" }
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

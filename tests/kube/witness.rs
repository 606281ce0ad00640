//! Looks at the cluster all the time, through the members' own lists, and notes whatever must never be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use kvorum::proto::etcdserverpb::cluster_client::ClusterClient;
use kvorum::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use kvorum::proto::etcdserverpb::{Member, MemberListRequest, StatusRequest};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::bench::NAMESPACE;

/// So many looks in a row must find the voters below their quorum before it counts: one look is not one moment.
const LOOKS: u32 = 4;

#[derive(Default)]
pub(crate) struct Seen {
    looks: u64,
    /// Whether the cluster is meant to serve now.
    serving: bool,
    below_quorum: u32,
    cluster: Option<u64>,
    most_members: usize,
    wrong: Vec<String>,
    picture: String,
}

pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What one member says.
struct Testimony {
    pod: String,
    /// It follows a leader, or leads.
    led: bool,
    cluster: u64,
    index: u64,
    members: Vec<Member>,
}

impl Witness {
    pub(crate) fn start(client: Client, cluster: &str) -> Witness {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let task = tokio::spawn(look_on(client, cluster.to_owned(), seen.clone()));
        Witness { seen, task }
    }

    /// From now on the cluster must keep its quorum, or need not.
    pub(crate) fn serving(&self, serving: bool) {
        let mut seen = self.seen();
        seen.serving = serving;
        seen.below_quorum = 0;
    }

    pub(crate) fn check(&self) -> Result<String> {
        let seen = self.seen();
        if let Some(wrong) = seen.wrong.first() {
            bail!("{wrong}\n(and {} more)", seen.wrong.len() - 1);
        }
        Ok(format!("{} looks at the members' lists, nothing wrong", seen.looks))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the witness panicked")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_on(client: Client, cluster: String, seen: Arc<Mutex<Seen>>) {
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let ours = ListParams::default().labels(&format!("kvorum.dev/cluster={cluster}"));
    let mut channels = BTreeMap::new();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let Ok(list) = pods.list(&ours).await else { continue };
        let asked: Vec<_> = list.items.iter().filter_map(|pod| question(pod, &mut channels)).collect();
        let told: Vec<_> = join_all(asked.into_iter().map(ask)).await.into_iter().flatten().collect();
        judge(&told, &mut seen.lock().expect("the witness panicked"));
    }
}

struct Question {
    pod: String,
    channel: Channel,
}

fn question(pod: &Pod, channels: &mut BTreeMap<String, Channel>) -> Option<Question> {
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.clone()?;
    let channel = match channels.get(&address) {
        Some(channel) => channel.clone(),
        None => {
            let endpoint = Endpoint::from_shared(format!("http://{address}:2379")).ok()?;
            let channel = endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy();
            channels.insert(address, channel.clone());
            channel
        }
    };
    Some(Question { pod: pod.metadata.name.clone()?, channel })
}

async fn ask(question: Question) -> Option<Testimony> {
    let Question { pod, channel } = question;
    let answers = async {
        let list = ClusterClient::new(channel.clone())
            .member_list(MemberListRequest { linearizable: false })
            .await
            .ok()?;
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await.ok()?;
        Some((list.into_inner(), status.into_inner()))
    };
    let (list, status) = tokio::time::timeout(Duration::from_secs(1), answers).await.ok()??;
    let cluster = list.header.map_or(0, |header| header.cluster_id);
    Some(Testimony {
        pod,
        led: status.leader != 0,
        cluster,
        index: status.raft_applied_index,
        members: list.members,
    })
}

fn judge(told: &[Testimony], seen: &mut Seen) {
    seen.looks += 1;
    for one in told {
        judge_list(one, seen);
    }
    let Some(newest) = told.iter().max_by_key(|one| one.index) else { return };
    let voters: Vec<_> = newest.members.iter().filter(|member| !member.is_learner).collect();
    let quorum = voters.len() / 2 + 1;
    let up = voters.iter().filter(|voter| told.iter().any(|one| one.pod == voter.name && one.led)).count();
    seen.picture = format!("{up} of {} voters answer and have a leader", voters.len());
    seen.below_quorum = if seen.serving && up < quorum { seen.below_quorum + 1 } else { 0 };
    if seen.below_quorum == LOOKS {
        let wrong = format!("below quorum: {}", seen.picture);
        seen.wrong.push(wrong);
    }
}

fn judge_list(one: &Testimony, seen: &mut Seen) {
    let learners = one.members.iter().filter(|member| member.is_learner).count();
    let unstarted = one.members.iter().filter(|member| member.name.is_empty()).count();
    let listed = || one.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>();
    if learners > 1 {
        seen.wrong.push(format!("{} lists {learners} learners: {:?}", one.pod, listed()));
    }
    if unstarted > 1 {
        seen.wrong.push(format!("{} lists {unstarted} members that never started: {:?}", one.pod, listed()));
    }
    let cluster = *seen.cluster.get_or_insert(one.cluster);
    if cluster != one.cluster {
        seen.wrong.push(format!("{} is in cluster {:x}, not {cluster:x}", one.pod, one.cluster));
    }
    seen.most_members = seen.most_members.max(one.members.len());
}

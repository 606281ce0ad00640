//! Talks to the members: asks what they know, and changes the membership. I/O, and no decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::names::MemberName;
use super::observed::{Answer, DiskFault, Listed, MemberList, Observed, Told};
use super::platform::PlatformError;
use super::step::Step;
use crate::client::{Client, Consistency, Error, Membership, Role, Timeouts};
use crate::types::{ClusterId, LogIndex, MemberId};

/// For asking. A member that needs longer is of no use to its clients either.
const ASK: Timeouts = Timeouts { dial: Duration::from_secs(1), call: Duration::from_secs(2) };

/// For all that one member is asked. One that hangs must not hold up what the others need.
const ASKED_WITHIN: Duration = Duration::from_millis(2_500);

/// For changing the membership, which waits for a majority to agree.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);

/// What a member answers when the change was made already: as good as making it.
const ALREADY: &[&str] = &[
    "etcdserver: member not found",
    "etcdserver: Peer URLs already exists",
    "etcdserver: can only promote a learner member",
];

/// Connections to members, kept from pass to pass.
#[derive(Default)]
pub struct Members {
    clients: Mutex<HashMap<String, Client>>,
}

impl Members {
    /// Asks every member that has an address, all at once.
    pub async fn ask(&self, observed: &Observed) -> BTreeMap<MemberName, Answer> {
        let reachable = observed.processes.iter();
        let reachable = reachable.filter_map(|(name, process)| Some((name.clone(), process.ask_at.clone()?)));
        let reachable: Vec<_> = reachable.collect();
        self.forget_all_but(&reachable);
        let asked = reachable.into_iter().map(|(name, url)| async move {
            let answer = timeout(ASKED_WITHIN, self.answer_of(&url)).await;
            let hangs = |_| Answer::Silent { detail: "it takes calls and does not answer".to_owned() };
            (name, answer.unwrap_or_else(hangs))
        });
        join_all(asked).await.into_iter().collect()
    }

    /// The members that the leader has contact with. It is asked only while one does not serve.
    pub async fn linked(&self, observed: &Observed) -> Option<BTreeSet<MemberId>> {
        let list = observed.list()?;
        let serves = |id| observed.told().any(|(_, told)| told.member == id && told.healthy);
        if list.members.iter().all(|listed| serves(listed.id)) {
            return None;
        }
        let answer = self.leader(observed).ok()?.http_get("/metrics").await.ok()?;
        answer.is_success().then(|| linked_peers(&answer.text()))
    }

    /// What a member says that is there and takes no part, if its disk is the reason.
    async fn unfit(&self, url: &str) -> Option<Answer> {
        let told = self.client(url).ok()?.state().await.ok()?;
        // Told by others it has the wrong disk; by itself it cannot read the right one.
        let fault = if told.waiting_for.is_empty() { DiskFault::Corrupt } else { DiskFault::Lost };
        let because = told.waiting_for.into_iter().next().map(|peer| format!(": {}", peer.because));
        let detail = format!("{}{}", told.reason, because.unwrap_or_default());
        (told.state == "safe").then_some(Answer::Unfit { fault, detail })
    }

    /// Performs a step that changes the membership: AddLearner, Promote, Remove or MoveLeader.
    ///
    /// # Errors
    /// When it was refused, or nobody can tell whether it took effect; the next pass sees that.
    pub async fn change(&self, step: &Step, observed: &Observed) -> Result<(), PlatformError> {
        let fail = |error: Error| PlatformError::new(step.to_string(), error);
        let client = self.leader(observed).map_err(fail)?.with_call_timeout(CHANGE_WITHIN);
        // What was planned on one membership is not to meet another.
        let seen = observed.list().and_then(|list| list.seen);
        let done = match step {
            Step::AddLearner { peer_url, .. } => {
                client.add_member(std::slice::from_ref(peer_url), Role::Learner, seen).await.map(drop)
            }
            Step::Promote { id, .. } => client.promote_member(*id, seen).await.map(drop),
            Step::Remove { id, .. } => client.remove_member(*id, seen).await.map(drop),
            Step::MoveLeader { to_id, .. } => client.move_leader(*to_id).await.map(drop),
            Step::Nothing
            | Step::Apply { .. }
            | Step::Form { .. }
            | Step::Start(_)
            | Step::Stop { .. }
            | Step::ReleaseDisk { .. }
            | Step::Dismantle { .. } => Ok(()),
        };
        match done {
            Err(error) if error.text().is_some_and(|text| ALREADY.contains(&text)) => Ok(()),
            done => done.map_err(fail),
        }
    }

    async fn answer_of(&self, url: &str) -> Answer {
        match self.ask_one(url).await {
            // Without a cluster there is nothing to tell of one.
            Ok(told) if told.cluster == ClusterId(0) => {
                Answer::Silent { detail: "it has not come to a cluster yet".to_owned() }
            }
            Ok(told) => Answer::Told(told),
            // Somebody is there and does not serve.
            Err(error) if !error.is_unsent() => {
                let silent = || Answer::Silent { detail: error.to_string() };
                self.unfit(url).await.unwrap_or_else(silent)
            }
            Err(error) => Answer::Silent { detail: error.to_string() },
        }
    }

    async fn ask_one(&self, url: &str) -> Result<Told, Error> {
        let client = self.client(url)?;
        let status = client.status().await?;
        let leader = (status.leader != 0).then_some(MemberId(status.leader));
        // A linearizable list proves that the member has just heard from a majority, and is the
        // list that may be acted on. Learners are not asked: they have no say in either.
        let list = match status.is_learner || leader.is_none() {
            true => None,
            false => client.membership(Consistency::Linearizable).await.ok(),
        };
        let header = status.header.unwrap_or_default();
        Ok(Told {
            age: Duration::ZERO,
            cluster: ClusterId(header.cluster_id),
            member: MemberId(header.member_id),
            learner: status.is_learner,
            leader,
            healthy: if status.is_learner { leader.is_some() } else { list.is_some() },
            version: status.version,
            last: LogIndex(status.raft_index),
            applied: LogIndex(status.raft_applied_index),
            list: list.map(listed),
        })
    }

    /// A client of the leader only: it alone can promote and hand over, and it knows best whether
    /// a change is safe.
    fn leader(&self, observed: &Observed) -> Result<Client, Error> {
        let leading = observed.told().find(|(_, told)| told.leader == Some(told.member));
        let url = leading.and_then(|(name, _)| observed.processes.get(name)?.ask_at.as_deref());
        self.client(url.ok_or(Error::NoEndpoint)?)
    }

    fn client(&self, url: &str) -> Result<Client, Error> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(url) {
            return Ok(client.clone());
        }
        let client = Client::connect([url], ASK)?;
        clients.insert(url.to_owned(), client.clone());
        Ok(client)
    }

    fn forget_all_but(&self, reachable: &[(MemberName, String)]) {
        self.clients.lock().retain(|url, _| reachable.iter().any(|(_, kept)| kept == url));
    }
}

/// Whom the metrics of a member show as connected, by etcd's name for it.
fn linked_peers(metrics: &str) -> BTreeSet<MemberId> {
    let active = metrics.lines().filter(|line| line.starts_with("etcd_network_active_peers{"));
    let active = active.filter_map(|line| line.strip_suffix(" 1"));
    let remote = active.filter_map(|line| line.split_once("Remote=\"")?.1.split('"').next());
    remote.filter_map(|id| id.parse().ok()).collect()
}

fn listed(Membership { list, seen }: Membership) -> MemberList {
    let members = list.members.into_iter().map(|member| Listed {
        id: MemberId(member.id),
        name: member.name,
        peer_urls: member.peer_ur_ls,
        learner: member.is_learner,
    });
    MemberList { members: members.collect(), seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_tells_whom_it_has_contact_with() {
        let metrics = "\
# TYPE etcd_network_active_peers gauge
etcd_network_active_peers{Local=\"a1\",Remote=\"b2\"} 1
etcd_network_active_peers{Local=\"a1\",Remote=\"c3\"} 0
etcd_network_known_peers{Local=\"a1\",Remote=\"c3\"} 1
";
        assert_eq!(linked_peers(metrics), [MemberId(0xb2)].into());
    }
}

//! Changes of who belongs to the cluster: decided by the leader, one at a time, one log entry each.
//!
//! A member that is asked passes the change on to the leader over the control link. The leader holds
//! it against the rules of [`crate::membership::rules`] with what it sees of the links and of the
//! learner's log, and appends the new membership. A leader that is to remove itself first hands the
//! leadership over and then asks its successor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use super::error::Error;
use super::shared::Shared;
use super::transfer;
use super::transport::{Reply, Request};
use super::types::{LogId, Membership, Payload, TypeConfig};
use crate::membership::rules::{self, Connections, Facts, HEALTH_INTERVAL, LearnerProgress};
use crate::membership::{Change, Member, Refusal};
use crate::types::MemberId;

/// Under which conditions a change may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The membership position that the caller decided on ([`super::Status::membership_index`]);
    /// the change is refused when the membership has moved since.
    pub expected: Option<u64>,
    /// Whether the strict reconfiguration rules hold (`--strict-reconfig-check`).
    pub strict: bool,
    /// Most learners there may be (`--max-learners`).
    pub max_learners: usize,
}

/// What became of a change.
#[derive(Clone, Debug)]
struct Changed {
    members: Vec<Member>,
    /// Client index of the entry that made it.
    index: u64,
}

/// Makes a change, here or at the leader, and answers the member list after it.
pub(super) async fn change(
    shared: &Arc<Shared>,
    change: &Change,
    on: Condition,
) -> Result<Vec<Member>, Error> {
    let deadline = shared.request_deadline();
    loop {
        let attempt = match shared.status().leader {
            _ if shared.stop.is_cancelled() => Err(Error::Stopped),
            None => Err(Error::NoLeader),
            Some(leader) if leader == shared.me => lead(shared, change, on, deadline).await,
            Some(leader) => ask(shared, leader, change, on, deadline).await,
        };
        match attempt {
            Ok(changed) => return seen_here(shared, change, changed, deadline).await,
            // Nothing has been done yet: ask again when there is a leader.
            Err(Error::NoLeader | Error::NotLeader) if Instant::now() < deadline => {
                sleep(shared.timing.heartbeat).await;
            }
            Err(Error::NoLeader | Error::NotLeader) => return Err(Error::Timeout),
            Err(error) => return Err(error),
        }
    }
}

/// A caller that reads here next must see its change, unless it was this member that went.
async fn seen_here(
    shared: &Shared,
    change: &Change,
    changed: Changed,
    deadline: Instant,
) -> Result<Vec<Member>, Error> {
    if *change != Change::Remove(shared.me) {
        shared.applied.wait(changed.index, deadline).await?;
    }
    Ok(changed.members)
}

async fn lead(
    shared: &Arc<Shared>,
    change: &Change,
    on: Condition,
    deadline: Instant,
) -> Result<Changed, Error> {
    // The rules look at what is applied, so everything committed so far must be.
    shared.reads.wait().await?;
    if *change == Change::Remove(shared.me) && shared.state.members().voters().count() > 1 {
        check(shared, change, on)?;
        // The successor makes the change; without one, openraft lets a removed leader step down.
        if transfer::to_best(shared, deadline.min(Instant::now() + 2 * shared.timing.election)).await.is_ok()
        {
            return Err(Error::NotLeader);
        }
    }
    let _one_at_a_time = timeout_at(deadline, shared.changing.lock()).await.map_err(|_| Error::Timeout)?;
    loop {
        let (membership, parent) = next_membership(shared, change, on)?;
        match append(shared, membership, parent, deadline).await {
            // A new leader's first entry, or a former leader's change, is not committed yet.
            Err(AppendError::NotYet) if Instant::now() < deadline => sleep(shared.timing.heartbeat).await,
            Err(AppendError::NotYet) => return Err(Error::Timeout),
            Err(AppendError::Error(error)) => return Err(error),
            Ok(index) => return Ok(Changed { members: shared.state.members().to_vec(), index }),
        }
    }
}

/// Holds the change against the condition and the rules, with the facts of now.
fn check(shared: &Shared, change: &Change, on: Condition) -> Result<(), Error> {
    let members = shared.state.members();
    let now = members.changed_at().0;
    if let Some(seen) = on.expected.filter(|seen| *seen != now) {
        return Err(Refusal::Moved { seen, now }.into());
    }
    let facts = Facts {
        connections: connections(shared),
        progress: progress(shared, change)?,
        strict: on.strict,
        learners_max: on.max_learners,
    };
    rules::may_change(&members, change, &facts)?;
    Ok(())
}

fn connections(shared: &Shared) -> Connections {
    let peers = shared.peers.states();
    let active = |state: &&super::PeerState| state.active_since.is_some();
    let settled = |state: &&super::PeerState| {
        state.active_since.is_some_and(|since| since.elapsed() >= HEALTH_INTERVAL)
    };
    let ids = |of: &dyn Fn(&&super::PeerState) -> bool| -> BTreeSet<MemberId> {
        peers.iter().filter(of).map(|state| state.id).collect()
    };
    Connections { local: shared.me, active: ids(&active), settled: ids(&settled) }
}

fn progress(shared: &Shared, change: &Change) -> Result<LearnerProgress, Error> {
    let metrics = shared.raft()?.metrics();
    let metrics = metrics.borrow_watched();
    let replicated =
        |id: &MemberId| metrics.replication.as_ref().and_then(|replication| replication.get(id).copied());
    // What it has synced itself, as with etcd: entries on their way to its own disk are nobody's lag.
    let own = replicated(&shared.me).flatten();
    let leader = match own {
        Some(own) => super::types::client_index(Some(own)),
        None => metrics.last_log_index.map_or(0, |index| index + 1),
    };
    let learner = match change {
        Change::Promote(id) => replicated(id).map(super::types::client_index),
        Change::Add(_) | Change::Remove(_) => None,
    };
    Ok(LearnerProgress { learner, leader })
}

/// The membership after the change, and the position of the one it follows.
fn next_membership(
    shared: &Shared,
    change: &Change,
    on: Condition,
) -> Result<(Membership, Option<LogId>), Error> {
    check(shared, change, on)?;
    let metrics = shared.raft()?.metrics();
    let effective = Arc::clone(&metrics.borrow_watched().membership_config);
    let mut voters: BTreeSet<MemberId> = effective.voter_ids().collect();
    let mut nodes: BTreeMap<_, _> = effective.nodes().map(|(id, member)| (*id, member.clone())).collect();
    match change {
        // One that is to vote begins to when it is in step, see `admit`.
        Change::Add(member) => {
            nodes.insert(member.id, member.clone());
        }
        Change::Promote(id) => {
            voters.insert(*id);
        }
        Change::Remove(id) => {
            voters.remove(id);
            nodes.remove(id);
        }
    }
    // Only a membership without voters is impossible, and removing the last voter makes that.
    let membership = Membership::new(vec![voters], nodes).map_err(|_| Refusal::NotEnoughStarted)?;
    Ok((membership, *effective.log_id()))
}

/// Lets a member vote that was added to do so; false: not now.
pub(super) async fn admit(shared: &Shared, member: MemberId) -> bool {
    let _one_at_a_time = shared.changing.lock().await;
    let Ok(raft) = shared.raft() else { return false };
    let effective = Arc::clone(&raft.metrics().borrow_watched().membership_config);
    // It may have been removed meanwhile.
    if effective.membership().get_node(&member).is_none() {
        return false;
    }
    let voters: BTreeSet<MemberId> = effective.voter_ids().chain([member]).collect();
    let nodes: BTreeMap<_, _> = effective.nodes().map(|(id, member)| (*id, member.clone())).collect();
    let Ok(membership) = Membership::new(vec![voters], nodes) else { return false };
    append(shared, membership, *effective.log_id(), shared.request_deadline()).await.is_ok()
}

enum AppendError {
    NotYet,
    Error(Error),
}

async fn append(
    shared: &Shared,
    membership: Membership,
    parent: Option<LogId>,
    deadline: Instant,
) -> Result<u64, AppendError> {
    let raft = shared.raft().map_err(AppendError::Error)?;
    let unmoved = Precondition::LastMembershipLogId { last_membership_log_id: parent };
    let appended = raft.append_membership(membership, Payload::Blank, [unmoved]);
    match timeout_at(deadline, appended).await {
        Err(_) => Err(AppendError::Error(Error::Timeout)),
        Ok(Ok(response)) => Ok(response.log_id.index + 1),
        Ok(Err(error)) => Err(append_error(&error)),
    }
}

fn append_error(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> AppendError {
    match error {
        RaftError::Fatal(_) => AppendError::Error(Error::Stopped),
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => AppendError::Error(Error::NotLeader),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            AppendError::Error(Error::LeaderChanged)
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => AppendError::NotYet,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
                AppendError::NotYet
            }
            // The rules let nothing through that openraft then refuses; if they do, say so.
            other => {
                tracing::error!(error = %other, "membership change was refused by the consensus engine");
                AppendError::Error(Error::Refused(Refusal::Unhealthy))
            }
        },
    }
}

/// A change on its way to the leader.
#[derive(Serialize, Deserialize)]
struct Asked {
    change: ChangeDocument,
    on: Condition,
}

/// [`Change`] as it is sent.
#[derive(Serialize, Deserialize)]
enum ChangeDocument {
    Add(Member),
    Promote(MemberId),
    Remove(MemberId),
}

/// The leader's answer.
#[derive(Serialize, Deserialize)]
enum Answered {
    Changed { members: Vec<Member>, index: u64 },
    Refused(RefusalDocument),
    NotLeader,
    LeaderChanged,
    Timeout,
}

/// [`Refusal`] as it is sent.
#[derive(Serialize, Deserialize)]
enum RefusalDocument {
    NotFound,
    IdExists,
    PeerUrlsExist,
    NotEnoughStarted,
    Unhealthy,
    NotLearner,
    LearnerNotReady,
    TooManyLearners,
    Moved { seen: u64, now: u64 },
}

async fn ask(
    shared: &Shared,
    leader: MemberId,
    change: &Change,
    on: Condition,
    deadline: Instant,
) -> Result<Changed, Error> {
    let peer = shared.peers.get(leader).ok_or(Error::NoLeader)?;
    let asked = Asked { change: change.into(), on };
    let body = serde_json::to_vec(&asked).expect("a change has only strings, numbers and lists");
    let within = deadline.saturating_duration_since(Instant::now());
    let answered = match peer.control.request(Request::Change(body.into()), within).await {
        Ok(Reply::Change(body)) => serde_json::from_slice(&body).map_err(|_| Error::TimeoutConnectionLost)?,
        // Never asked again: it may have been done.
        _ => return Err(Error::TimeoutConnectionLost),
    };
    match answered {
        Answered::Changed { members, index } => Ok(Changed { members, index }),
        Answered::Refused(refusal) => Err(Error::Refused(refusal.into())),
        Answered::NotLeader => Err(Error::NotLeader),
        Answered::LeaderChanged => Err(Error::LeaderChanged),
        Answered::Timeout => Err(Error::Timeout),
    }
}

/// The answer to a member that asks for a change.
pub(super) async fn for_peer(shared: &Arc<Shared>, asked: &[u8]) -> Bytes {
    let answered = match serde_json::from_slice::<Asked>(asked) {
        Ok(Asked { change, on }) => lead_for_peer(shared, &change.into(), on).await,
        Err(error) => {
            tracing::warn!(%error, "membership change of a peer cannot be read");
            Answered::Timeout
        }
    };
    serde_json::to_vec(&answered).expect("an answer has only strings, numbers and lists").into()
}

async fn lead_for_peer(shared: &Arc<Shared>, change: &Change, on: Condition) -> Answered {
    if !shared.status().is_leader() {
        return Answered::NotLeader;
    }
    match lead(shared, change, on, shared.request_deadline()).await {
        Ok(Changed { members, index }) => Answered::Changed { members, index },
        Err(Error::Refused(refusal)) => Answered::Refused(refusal.into()),
        Err(Error::NotLeader) => Answered::NotLeader,
        Err(Error::LeaderChanged) => Answered::LeaderChanged,
        Err(_) => Answered::Timeout,
    }
}

impl From<&Change> for ChangeDocument {
    fn from(change: &Change) -> Self {
        match change {
            Change::Add(member) => Self::Add(member.clone()),
            Change::Promote(id) => Self::Promote(*id),
            Change::Remove(id) => Self::Remove(*id),
        }
    }
}

impl From<ChangeDocument> for Change {
    fn from(document: ChangeDocument) -> Self {
        match document {
            ChangeDocument::Add(member) => Self::Add(member),
            ChangeDocument::Promote(id) => Self::Promote(id),
            ChangeDocument::Remove(id) => Self::Remove(id),
        }
    }
}

impl From<Refusal> for RefusalDocument {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::IdExists => Self::IdExists,
            Refusal::PeerUrlsExist => Self::PeerUrlsExist,
            Refusal::NotEnoughStarted => Self::NotEnoughStarted,
            Refusal::Unhealthy => Self::Unhealthy,
            Refusal::NotLearner => Self::NotLearner,
            Refusal::LearnerNotReady => Self::LearnerNotReady,
            Refusal::TooManyLearners => Self::TooManyLearners,
            Refusal::Moved { seen, now } => Self::Moved { seen, now },
        }
    }
}

impl From<RefusalDocument> for Refusal {
    fn from(document: RefusalDocument) -> Self {
        match document {
            RefusalDocument::NotFound => Self::NotFound,
            RefusalDocument::IdExists => Self::IdExists,
            RefusalDocument::PeerUrlsExist => Self::PeerUrlsExist,
            RefusalDocument::NotEnoughStarted => Self::NotEnoughStarted,
            RefusalDocument::Unhealthy => Self::Unhealthy,
            RefusalDocument::NotLearner => Self::NotLearner,
            RefusalDocument::LearnerNotReady => Self::LearnerNotReady,
            RefusalDocument::TooManyLearners => Self::TooManyLearners,
            RefusalDocument::Moved { seen, now } => Self::Moved { seen, now },
        }
    }
}

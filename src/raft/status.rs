//! What this member knows of its own place in the cluster, as one small value.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::Error;
use super::proposals::Limits;
use super::shared::Shared;
use super::types::{Metrics, RaftTerm, StoredMembership, client_index};
use crate::types::{LogIndex, MemberId, Term};

/// Positions in the status, and what a restart knows to be committed, are no older than this.
const TICK_MAX: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    Leader,
    #[default]
    Follower,
    Candidate,
    Learner,
}

/// Positions are the clients': the first entry is 1, 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub me: MemberId,
    pub term: Term,
    /// None also when the leader has been silent for two election timeouts, or, on the leader
    /// itself, when no quorum has answered it for that long.
    pub leader: Option<MemberId>,
    pub role: Role,
    pub last_log: LogIndex,
    pub committed: LogIndex,
    pub applied: LogIndex,
    /// Position of the last applied change of members or of their peer URLs; changes may be made
    /// conditional on it.
    pub membership_index: LogIndex,
}

impl Status {
    /// With the positions as they are this moment.
    pub(super) fn now(self, shared: &Shared) -> Self {
        let Ok(raft) = shared.raft() else { return self };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        self.at(shared, &metrics)
    }

    fn at(self, shared: &Shared, metrics: &Metrics) -> Self {
        let applied = LogIndex(shared.applied.index());
        Self {
            last_log: LogIndex(metrics.last_log_index.map_or(0, |index| index + 1)),
            // The metrics are told a moment after the entries are applied.
            committed: applied.max(LogIndex(client_index(metrics.cluster_committed))),
            applied,
            membership_index: shared.state.members().changed_at(),
            ..self
        }
    }

    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.me)
    }
}

/// When the leader was last heard, and since when there is one.
#[derive(Default)]
pub(super) struct LeaderClock(Mutex<Times>);

#[derive(Clone, Copy, Default)]
struct Times {
    heard: Option<Instant>,
    elected: Option<Instant>,
}

impl LeaderClock {
    /// Entries or a heartbeat came from a leader.
    pub(super) fn hear(&self) {
        self.0.lock().heard = Some(Instant::now());
    }

    /// When the present leader was first seen.
    pub(super) fn elected(&self) -> Option<Instant> {
        self.0.lock().elected
    }
}

/// Keeps `shared.status` in step with openraft's metrics, and the peers with the membership: who leads
/// and who belongs at once, positions, which move with every message, now and then.
pub(super) async fn follow(shared: Arc<Shared>) {
    let Ok(raft) = shared.raft() else { return };
    let metrics = raft.metrics();
    let mut elections = raft.server_metrics();
    let mut membership = Arc::default();
    let mut tick = interval(shared.timing.heartbeat.min(TICK_MAX));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look(&shared, &metrics.borrow_watched(), &mut membership);
        tokio::select! {
            changed = WatchReceiver::changed(&mut elections) => {
                if changed.is_err() {
                    // openraft has ended; its last word says why.
                    look(&shared, &metrics.borrow_watched(), &mut membership);
                    return;
                }
            }
            now = tick.tick() => {
                shared.committed_hint.write();
                give_up_late(&shared, now);
            }
        }
    }
}

fn look(shared: &Arc<Shared>, metrics: &Metrics, membership: &mut Arc<StoredMembership>) {
    if let Err(fatal) = &metrics.running_state
        && !shared.stop.is_cancelled()
    {
        shared.fail(fatal.to_string());
    }
    if !Arc::ptr_eq(membership, &metrics.membership_config) {
        *membership = Arc::clone(&metrics.membership_config);
        shared.peers.follow(shared, membership.membership());
    }
    let status = read(shared, metrics);
    let mut before = status;
    shared.status.send_if_modified(|present| {
        before = mem::replace(present, status);
        before != status
    });
    if (before.leader, before.term) != (status.leader, status.term) {
        leader_changed(shared, &status);
    }
}

fn leader_changed(shared: &Arc<Shared>, status: &Status) {
    shared.leader_clock.0.lock().elected = status.leader.map(|_| Instant::now());
    match status.leader {
        Some(leader) => tracing::info!(%leader, term = %status.term, "leader elected"),
        None => tracing::warn!(term = %status.term, "no leader"),
    }
    shared.proposals.unpark();
}

fn read(shared: &Shared, metrics: &Metrics) -> Status {
    let role = match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Candidate => Role::Candidate,
        ServerState::Follower => Role::Follower,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
    };
    let silent =
        if role == Role::Leader { has_lost_quorum(shared, metrics) } else { is_leader_silent(shared) };
    let status = Status {
        me: shared.me,
        term: term(metrics),
        leader: metrics.current_leader.filter(|_| !silent),
        role: if role == Role::Leader && silent { Role::Follower } else { role },
        ..Status::default()
    };
    status.at(shared, metrics)
}

/// None before a member that joins has heard of the cluster, although openraft counts from the first.
fn term(metrics: &Metrics) -> Term {
    let is_unheard = metrics.last_log_index.is_none() && metrics.current_term == RaftTerm::default();
    if is_unheard { Term(0) } else { Term(metrics.current_term.0) }
}

fn is_leader_silent(shared: &Shared) -> bool {
    shared.leader_clock.0.lock().heard.is_none_or(|heard| heard.elapsed() > 2 * shared.timing.election)
}

fn has_lost_quorum(shared: &Shared, metrics: &Metrics) -> bool {
    let alone = metrics.membership_config.voter_ids().all(|voter| voter == shared.me);
    // Before the first answer, the silence counts from the election.
    let silence = match metrics.last_quorum_acked {
        Some(acked) => Some(openraft::Instant::elapsed(&*acked)),
        None => shared.leader_clock.elected().map(|elected| elected.elapsed()),
    };
    !alone && silence.is_some_and(|silence| silence > 2 * shared.timing.election)
}

fn give_up_late(shared: &Shared, now: Instant) {
    shared.applied.give_up_late(now);
    shared.proposals.unpark();
    let status = shared.status();
    let limits = Limits {
        patience: shared.request_timeout(),
        // By then a leader that is gone has been given up, too.
        grace: 3 * shared.timing.election,
        leading: status.leader.map(|_| status.term.0),
    };
    shared.proposals.give_up_late(now, limits, |since| why_late(shared, since));
}

/// etcd's refinement of a timeout: was it the leader's failure, or a lost connection?
fn why_late(shared: &Shared, since: Instant) -> Error {
    if let Some(elected) = shared.leader_clock.elected() {
        let lost = elected.checked_sub(2 * shared.timing.election).unwrap_or(elected);
        if lost < since && since < elected {
            return Error::TimeoutLeaderFailure;
        }
    }
    let status = shared.status();
    let connected = match status.leader {
        None => true,
        Some(leader) if leader == shared.me => shared.peers.connects_quorum_since(since),
        Some(leader) => shared.peers.connected_since(leader, since),
    };
    if connected { Error::Timeout } else { Error::TimeoutConnectionLost }
}

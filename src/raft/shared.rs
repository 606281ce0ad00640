//! What the tasks of one member's Raft thread share, and what its [`super::Handle`] reaches.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::runtime;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Timing;
use super::applied::Applied;
use super::error::{Error, Fault};
use super::failover::Campaigns;
use super::leadership::{Led, Promise};
use super::log_store::CommittedHint;
use super::peers::Peers;
use super::proposals::Proposals;
use super::read_index::Reads;
use super::status::{LeaderClock, Status};
use super::transport::Names;
use super::types::{Raft, client_index};
use crate::apply;
use crate::mvcc::Event;
use crate::storage::Checkpoints;
use crate::types::{ClusterId, MemberId, Revision};

/// Told of every applied change, on the Raft thread: it must be cheap and never wait.
pub type OnApplied = Box<dyn Fn(Revision, &[Event]) + Send + Sync>;

pub(super) struct Shared {
    pub me: MemberId,
    pub cluster: ClusterId,
    pub timing: Timing,
    pub max_request_bytes: usize,
    /// The Raft thread's runtime; everything that talks to peers runs there.
    pub runtime: runtime::Handle,
    pub state: apply::State,
    pub checkpoints: Checkpoints,
    pub names: Names,
    pub applied: Applied,
    pub proposals: Proposals,
    pub reads: Reads,
    pub promise: Promise,
    pub led: Led,
    pub peers: Peers,
    pub status: watch::Sender<Status>,
    pub leader_clock: LeaderClock,
    pub campaigns: Campaigns,
    /// Counts applied memberships; connections look again whom they talk to when it moves.
    pub memberships: watch::Sender<u64>,
    pub removed: watch::Sender<bool>,
    pub fault: watch::Sender<Option<Fault>>,
    pub committed_hint: CommittedHint,
    pub checkpoint_due: Notify,
    /// Membership changes are decided one at a time.
    pub changing: Mutex<()>,
    pub stop: CancellationToken,
    /// Cancelled when the Raft thread has ended.
    pub stopped: CancellationToken,
    pub raft: OnceLock<Raft>,
}

impl Shared {
    /// The consensus engine; absent only while it is being started.
    pub(super) fn raft(&self) -> Result<&Raft, Error> {
        self.raft.get().ok_or(Error::Stopped)
    }

    /// How long a request may take: etcd's rule, disk and network within 5 s, and two elections.
    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.timing.election
    }

    pub(super) fn request_deadline(&self) -> Instant {
        Instant::now() + self.request_timeout()
    }

    /// The last position that this member knows to be committed, as clients count.
    pub(super) fn committed(&self) -> u64 {
        let committed = |raft: &Raft| client_index(raft.data_metrics().borrow_watched().cluster_committed);
        self.raft.get().map_or(0, committed)
    }

    pub(super) fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// The leader of `term` did not take these proposals and never will. They wait for the next one,
    /// unless that one leads already.
    pub(super) fn refused(&self, term: u64, sequences: impl IntoIterator<Item = u64>) {
        self.proposals.refused(term, sequences);
        let status = self.status();
        if status.term.0 > term && status.leader.is_some() {
            self.proposals.unpark();
        }
    }

    pub(super) fn membership_applied(&self) {
        self.memberships.send_modify(|count| *count += 1);
    }

    /// This member learnt that it does not belong to the cluster any more.
    pub(super) fn removed(&self) {
        if !self.removed.send_replace(true) {
            tracing::warn!(member = %self.me, "this member has been removed from the cluster");
        }
    }

    pub(super) fn fail(&self, reason: String) {
        self.fault.send_if_modified(|fault| {
            let first = fault.is_none();
            if first {
                tracing::error!(reason, "consensus stopped by a fault");
                *fault = Some(Fault(reason));
            }
            first
        });
    }

    /// Runs a task on the Raft thread until the member stops.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

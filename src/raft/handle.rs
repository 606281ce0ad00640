//! The one way into the room: callable from any thread and any runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::change::{self, Condition};
use super::error::{Error, Fault};
use super::peers::PeerState;
use super::proposals::Proposed;
use super::shared::Shared;
use super::status::Status;
use super::{codec, found, transfer, transport};
use crate::apply::{Command, Envelope, ProposalId};
use crate::membership::{Change, Member};
use crate::types::MemberId;

/// etcd's gate: no new proposals while so many committed entries are not applied yet.
const BACKLOG_MAX: u64 = 5000;

/// A member's Raft. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Founds the cluster: every first member calls it with the same list. A member that belongs to
    /// a cluster already stays in it, so calling it again at a restart changes nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] when this member is not in the list, [`Error::Stopped`].
    pub async fn found(&self, members: Vec<Member>) -> Result<(), Error> {
        found::found(&self.shared, members).await
    }

    /// Proposes a command and waits until this member has applied it.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::TooManyRequests`] before it is sent; [`Error::Rejected`] when it
    /// was applied and refused; after the others but [`Error::Stopped`] it may or may not be applied.
    pub async fn propose(&self, command: Command) -> Result<Proposed, Error> {
        let shared = &*self.shared;
        if shared.committed() > shared.applied.index() + BACKLOG_MAX {
            return Err(Error::TooManyRequests);
        }
        let sequence = shared.proposals.next_sequence();
        let envelope = Envelope { id: ProposalId { origin: shared.me, sequence }, command }.encode();
        if envelope.len() > shared.max_request_bytes {
            return Err(Error::TooLarge);
        }
        let answer = shared.proposals.add(sequence, codec::proposal(&envelope));
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Resolves when this member has applied all that was committed anywhere when it was called.
    /// Callers that wait at the same time share one round.
    ///
    /// # Errors
    /// [`Error::Timeout`] when no leader confirms itself in time, [`Error::TimeoutWaitApplied`].
    pub async fn read_index(&self) -> Result<(), Error> {
        self.shared.reads.wait().await
    }

    /// Changes who belongs to the cluster and answers the member list after it.
    ///
    /// # Errors
    /// [`Error::Refused`] says why not; after a timeout the change may or may not come.
    pub async fn change(&self, change: Change, condition: Condition) -> Result<Vec<Member>, Error> {
        change::change(&self.shared, &change, condition).await
    }

    /// Moves the leadership to a voter.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::BadTransferee`], [`Error::TimeoutLeaderTransfer`].
    pub async fn move_leader(&self, target: MemberId) -> Result<(), Error> {
        transfer::to(&self.shared, target, self.shared.request_deadline()).await
    }

    pub fn status(&self) -> Status {
        self.shared.status().now(&self.shared)
    }

    /// Follows the status.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// The links to the other members, in order of identity.
    pub fn peers(&self) -> Vec<PeerState> {
        self.shared.peers.states()
    }

    /// How long a request may take here: 5 s and two election timeouts, as in etcd.
    pub fn request_timeout(&self) -> Duration {
        self.shared.request_timeout()
    }

    /// Takes a connection to the peer port over whose next bytes, not read yet, are
    /// [`transport::PREFACE`].
    ///
    /// # Errors
    /// When the connection cannot be moved to the Raft thread.
    pub async fn serve_peer(&self, stream: TcpStream) -> io::Result<()> {
        let stream = stream.into_std()?;
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => transport::serve(shared, stream).await,
                Err(error) => tracing::warn!(%error, "peer connection cannot be served"),
            }
        });
        Ok(())
    }

    /// Resolves when this member has learnt that it was removed from the cluster.
    pub async fn removed(&self) {
        // The sender lives as long as this handle.
        let _ = self.shared.removed.subscribe().wait_for(|removed| *removed).await;
    }

    /// Resolves when this member cannot go on, such as after a failed sync of its log; the process
    /// must stop then.
    pub async fn fault(&self) -> Fault {
        let mut fault = self.shared.fault.subscribe();
        match fault.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            _ => std::future::pending().await,
        }
    }

    /// Hands leadership over, if this member leads and that takes no longer than `hand_over_within`,
    /// then stops. Everybody who waits is answered [`Error::Stopped`].
    pub async fn shutdown(&self, hand_over_within: Duration) {
        let shared = &self.shared;
        if shared.status().is_leader() && shared.state.members().voters().count() > 1 {
            let outcome = transfer::to_best(shared, Instant::now() + hand_over_within).await;
            if let Err(error) = outcome {
                tracing::warn!(%error, "leadership was not handed over");
            }
        }
        shared.stop.cancel();
        shared.stopped.cancelled().await;
    }
}

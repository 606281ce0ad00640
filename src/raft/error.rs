//! Why a call on the [`super::Handle`] did not do what it was asked.

use crate::apply::Rejection;
use crate::membership::Refusal;

/// The variants follow etcd's errors of the same names; `rpc::status` gives them their texts and codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Applied, and the replicated state said no: the same answer on every member.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A change of membership that the rules do not allow now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no leader")]
    NoLeader,
    /// The leader changed and whether the proposal was applied cannot be known here.
    #[error("leader changed")]
    LeaderChanged,
    #[error("not leader")]
    NotLeader,
    #[error("bad leader transferee")]
    BadTransferee,
    #[error("request is too large")]
    TooLarge,
    #[error("too many requests")]
    TooManyRequests,
    #[error("request timed out")]
    Timeout,
    #[error("request timed out, possibly due to previous leader failure")]
    TimeoutLeaderFailure,
    #[error("request timed out, possibly due to connection lost")]
    TimeoutConnectionLost,
    #[error("request timed out, waiting for the applied index took too long")]
    TimeoutWaitApplied,
    #[error("request timed out, leader transfer took too long")]
    TimeoutLeaderTransfer,
    #[error("server stopped")]
    Stopped,
}

/// Why this member cannot go on; it must stop, and its process with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("consensus stopped: {0}")]
pub struct Fault(pub String);

/// Why Raft could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("checkpoint cannot be restored: {0}")]
    Checkpoint(#[source] std::io::Error),
    #[error("log cannot be read: {0}")]
    Log(#[source] std::io::Error),
    #[error("raft thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    #[error(
        "heartbeat interval {heartbeat_ms} ms and election timeout {election_ms} ms do not fit: {reason}"
    )]
    Timing { heartbeat_ms: u64, election_ms: u64, reason: String },
    #[error("raft cannot be started: {0}")]
    Raft(String),
}

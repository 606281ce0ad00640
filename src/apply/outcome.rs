//! What applying one command answers.

use crate::membership::{Alarm, Member};
use crate::mvcc::{self, DeleteResult, PutResult, TxnResult};
use crate::types::Revision;

/// The answer of the replicated state; the same on every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Put(PutResult),
    DeleteRange(DeleteResult),
    Txn(TxnResult),
    /// The store's revision when the compaction was decided.
    Compact {
        revision: Revision,
    },
    /// The alarms that this command raised or cleared.
    Alarms(Vec<Alarm>),
    /// The member list after a change of membership.
    Members(Vec<Member>),
    /// Nothing to tell but that it was applied.
    Applied,
}

/// Why a command changed nothing. Answered to the client; the same on every member.
/// The texts and codes that clients see are `rpc::status`'s matter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("required revision has been compacted")]
    Compacted,
    #[error("required revision is a future revision")]
    FutureRevision,
    #[error("key not found")]
    KeyNotFound,
    #[error("requested lease not found")]
    LeaseNotFound,
    #[error("database space exceeded")]
    NoSpace,
    #[error("corrupt cluster")]
    Corrupt,
    /// This very proposal was applied before; whoever proposed it has its answer.
    #[error("proposal was already applied")]
    AlreadyApplied,
    #[error(transparent)]
    Membership(#[from] crate::membership::Refusal),
}

impl From<mvcc::Error> for Rejection {
    fn from(error: mvcc::Error) -> Self {
        match error {
            mvcc::Error::Compacted => Rejection::Compacted,
            mvcc::Error::FutureRevision => Rejection::FutureRevision,
        }
    }
}

impl From<mvcc::WriteError> for Rejection {
    fn from(error: mvcc::WriteError) -> Self {
        match error {
            mvcc::WriteError::Read(error) => error.into(),
            mvcc::WriteError::KeyNotFound => Rejection::KeyNotFound,
            mvcc::WriteError::LeaseNotFound => Rejection::LeaseNotFound,
        }
    }
}

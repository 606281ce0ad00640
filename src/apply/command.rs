//! What one entry of the log asks of the replicated state, and its encoding.
//!
//! The encoding is made once, by the member that proposes; the same bytes go to the log, to peers
//! and to apply. Everything that could differ between members (time, random numbers) is already in it.

use crate::membership::{Alarm, AlarmKind};
use crate::mvcc::{DeleteOp, PutOp, TxnOp};
use crate::types::{MemberId, Revision};

/// Identity of a proposal: who proposed it, and that member's own counter.
/// It lets the origin recognise the answer, and keeps a proposal from being applied twice: each start of a member
/// counts upwards from a number drawn at random, so that two starts do not meet (see `apply::proposals`).
/// Origin 0: nobody's, may be applied any number of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProposalId {
    pub origin: MemberId,
    pub sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Put(PutOp),
    DeleteRange(DeleteOp),
    Txn(TxnOp),
    Compact {
        revision: Revision,
        physical: bool,
    },
    RaiseAlarm(Alarm),
    /// `kind` None clears nothing, as in etcd, whose clients clear alarm by alarm.
    ClearAlarm {
        member: MemberId,
        kind: Option<AlarmKind>,
    },
    /// A member says its name and client URLs after it started (etcd: publish).
    Publish {
        member: MemberId,
        name: String,
        client_urls: Vec<String>,
    },
    UpdateMember {
        member: MemberId,
        peer_urls: Vec<String>,
    },
    SetClusterVersion(String),
}

/// A command with its proposal's identity, as the log carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub id: ProposalId,
    pub command: Command,
}

#[derive(Debug, thiserror::Error)]
#[error("log entry cannot be decoded: {reason}")]
pub struct DecodeError {
    pub reason: String,
}

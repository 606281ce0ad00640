//! openraft fixed to our types, once. Nothing outside this room names openraft.

use std::fmt;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch};
use openraft::raft::responder::Responder;
use openraft::vote::leader_id_std;
use openraft::{OptionalSend, RaftTypeConfig, TokioRuntime};

use crate::membership::Member;
use crate::types::MemberId;

/// One leader a term, so that a log position is (term, index), which is what etcd's `raft_term` means.
pub(super) type LeaderId = leader_id_std::LeaderId<RaftTerm, MemberId>;
pub(super) type CommittedLeaderId = leader_id_std::CommittedLeaderId<RaftTerm>;
pub(super) type LogId = openraft::LogId<CommittedLeaderId>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type Membership = openraft::Membership<MemberId, Member>;
pub(super) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, MemberId, Member>;
pub(super) type Payload = openraft::EntryPayload<Proposal, MemberId, Member>;
pub(super) type Entry = openraft::Entry<CommittedLeaderId, Payload>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, MemberId, Member>;
pub(super) type Snapshot =
    openraft::Snapshot<CommittedLeaderId, MemberId, Member, super::checkpoint::SnapshotData>;
pub(super) type Metrics = openraft::RaftMetrics<TypeConfig>;
pub(super) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Proposal;
    /// Answers go from the state machine to [`super::proposals`] directly; openraft carries none.
    type R = ();
    type NodeId = MemberId;
    /// What a member was when it was added. It never changes afterwards: names and URLs that do
    /// change live in the replicated state.
    type Node = Member;
    type Term = RaftTerm;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OnAnswer<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// A term as openraft counts it. A cluster's first entry lies at the default term and its first election
/// is for the next ([`super::found`]): 1 and 2, as in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RaftTerm(pub u64);

impl Default for RaftTerm {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for RaftTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl openraft::vote::RaftTerm for RaftTerm {
    fn next(&self) -> Self {
        Self(self.0 + 1)
    }

    fn as_u64(&self) -> Option<u64> {
        Some(self.0)
    }
}

/// An encoded [`crate::apply::Envelope`] as the log, the peers and apply carry it
/// (with the kind byte of [`super::codec`] in front, so that nobody copies it again).
#[derive(Clone, Debug)]
pub(super) struct Proposal(pub Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Calls a closure with openraft's answer to a write. We only want to hear of refusals.
pub(super) struct OnAnswer<T>(Box<dyn FnOnce(T) + Send>);

impl<T> OnAnswer<T> {
    pub(super) fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for OnAnswer<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// The log position as clients see it: the first entry is 1; 0 is before any entry.
pub(super) fn client_index(position: Option<LogId>) -> u64 {
    position.map_or(0, |position| position.index + 1)
}

//! The header of every answer.

use crate::apply::State;
use crate::proto::etcdserverpb as pb;
use crate::raft::Handle;
use crate::types::{ClusterId, MemberId, Revision};

/// What headers are made of.
#[derive(Clone)]
pub(super) struct Headers {
    pub(super) cluster: ClusterId,
    pub(super) me: MemberId,
    pub(super) handle: Handle,
    pub(super) state: State,
}

impl Headers {
    /// At the store's revision now.
    pub(super) fn now(&self) -> Option<pb::ResponseHeader> {
        self.at(self.state.store().revision())
    }

    pub(super) fn at(&self, revision: Revision) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: self.cluster.0,
            member_id: self.me.0,
            revision: revision.0,
            raft_term: self.handle.status().term.0,
        })
    }

    /// As answers about members have it.
    pub(super) fn without_revision(&self) -> Option<pb::ResponseHeader> {
        self.at(Revision(0))
    }
}

/// The header of a part of a transaction: its revision only.
pub(super) fn of_part(revision: Revision) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision: revision.0, ..Default::default() })
}

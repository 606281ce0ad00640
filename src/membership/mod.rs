//! Who belongs to the cluster: replicated state beside the key space, and the rules by which it changes.
//! Pure: no clock, no I/O. Rules and texts as in etcd (`membership/cluster.go`, `etcdserver/server.go`).

mod alarms;
mod members;
pub mod rules;

pub use alarms::Alarms;
pub use members::Members;

use serde::{Deserialize, Serialize};

use crate::types::MemberId;

/// One member as every member knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: MemberId,
    /// Empty until the member has started once and published it.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

impl Member {
    /// Whether the member has ever run (etcd: it has a name).
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    NoSpace,
    Corrupt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    pub member: MemberId,
    pub kind: AlarmKind,
}

/// A change of who belongs to the cluster; one voter at most differs before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Add(Member),
    Promote(MemberId),
    Remove(MemberId),
}

/// Why a change of membership is refused; the texts are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("member not found")]
    NotFound,
    #[error("member ID already exist")]
    IdExists,
    #[error("Peer URLs already exists")]
    PeerUrlsExist,
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    #[error("unhealthy cluster")]
    Unhealthy,
    #[error("can only promote a learner member")]
    NotLearner,
    #[error("can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    #[error("too many learner members in cluster")]
    TooManyLearners,
    /// The membership moved since the caller looked at it (ours: conditional changes).
    #[error("membership has changed since revision {seen}, it is now at {now}")]
    Moved { seen: u64, now: u64 },
}

#[cfg(test)]
mod tests;

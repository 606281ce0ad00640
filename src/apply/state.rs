//! What readers see of the replicated state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::membership::{Alarm, Alarms, Members};
use crate::mvcc::Store;
use crate::types::{LogIndex, Term};

/// The replicated state beside the key space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cluster {
    #[serde(serialize_with = "write_members", deserialize_with = "read_members")]
    pub(super) members: Arc<Members>,
    pub(super) alarms: Alarms,
    pub(super) version: Option<String>,
}

fn write_members<S: Serializer>(members: &Arc<Members>, to: S) -> Result<S::Ok, S::Error> {
    members.as_ref().serialize(to)
}

fn read_members<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Members>, D::Error> {
    Members::deserialize(from).map(Arc::new)
}

/// A handle for readers: cheap to clone, usable from any thread, valid across a restore.
#[derive(Clone)]
pub struct State {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    cluster: ArcSwap<Cluster>,
    applied: Mutex<(LogIndex, Term)>,
}

impl State {
    pub(super) fn new() -> Self {
        let shared = Shared { store: Store::new(), cluster: ArcSwap::default(), applied: Mutex::default() };
        State { shared: Arc::new(shared) }
    }

    /// The key space.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.shared.cluster.load().members)
    }

    /// The alarms that are on, in order of member.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.shared.cluster.load().alarms.to_vec()
    }

    /// The version that all members speak, such as "3.7.0"; None until it was first agreed on.
    pub fn cluster_version(&self) -> Option<String> {
        self.shared.cluster.load().version.clone()
    }

    /// The last log entry that was applied; zeros before the first.
    pub fn applied(&self) -> (LogIndex, Term) {
        *self.shared.applied.lock()
    }

    pub(super) fn cluster(&self) -> Arc<Cluster> {
        self.shared.cluster.load_full()
    }

    pub(super) fn set_cluster(&self, cluster: Cluster) {
        self.shared.cluster.store(Arc::new(cluster));
    }

    pub(super) fn set_applied(&self, index: LogIndex, term: Term) {
        *self.shared.applied.lock() = (index, term);
    }
}

//! What this member says of itself when probes, dashboards and people ask.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::apply::State;
use crate::membership::Alarm;
use crate::raft::{self, Handle};
use crate::telemetry::health::Facts;
use crate::telemetry::metrics::Metrics;
use crate::watch::Hub;

/// Facts of a member whose Raft runs.
pub(super) struct Running {
    pub(super) raft: Handle,
    pub(super) state: State,
    pub(super) hub: Hub,
    /// A linearizable read that takes longer counts as failed.
    pub(super) request_timeout: Duration,
    pub(super) quota_bytes: i64,
}

impl Facts for Running {
    fn has_leader(&self) -> bool {
        self.raft.status().leader.is_some()
    }

    fn is_learner(&self) -> bool {
        self.raft.status().role == raft::Role::Learner
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.state.alarms()
    }

    fn serializable_read(&self) -> Result<(), String> {
        // The store is in memory and always answers; only a corrupt cluster must not.
        Ok(())
    }

    fn linearizable_read(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            match tokio::time::timeout(self.request_timeout, self.raft.read_index()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("request timed out".to_owned()),
            }
        })
    }

    fn cluster_version(&self) -> Option<String> {
        self.state.cluster_version()
    }

    fn refresh(&self, metrics: &Metrics) {
        let status = self.raft.status();
        let gauge = |value: bool| i64::from(value);
        let server = &metrics.server;
        server.has_leader.set(gauge(status.leader.is_some()));
        server.is_leader.set(gauge(status.role == raft::Role::Leader));
        server.is_learner.set(gauge(status.role == raft::Role::Learner));
        server.quota_backend_bytes.set(self.quota_bytes);
        let store = self.state.store();
        let mvcc = &metrics.mvcc;
        mvcc.db_total_size_bytes.set(store.size_in_bytes() as i64);
        mvcc.db_total_size_in_use_bytes.set(store.size_in_use_in_bytes() as i64);
        mvcc.keys.set(store.key_count() as i64);
        mvcc.current_revision.set(store.revision().0);
        mvcc.compact_revision.set(store.compacted_revision().0);
        let counts = self.hub.counts();
        mvcc.watch_streams.set(counts.streams as i64);
        mvcc.watchers.set(counts.watchers as i64);
        mvcc.slow_watchers.set(counts.slow as i64);
    }
}

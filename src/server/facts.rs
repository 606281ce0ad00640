//! What this member says of itself when probes, dashboards and people ask.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::apply::State;
use crate::membership::Alarm;
use crate::mvcc::{Event, EventKind};
use crate::raft::{self, Handle};
use crate::telemetry::health::Facts;
use crate::telemetry::metrics::Metrics;
use crate::types::MemberId;
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
        server.proposals_committed.set(status.committed.0 as i64);
        server.proposals_applied.set(status.applied.0 as i64);
        metrics.set_state(if status.role == raft::Role::Learner { "learner" } else { "voter" });
        if let Some(version) = self.state.cluster_version() {
            metrics.set_cluster_version(&version);
        }
        self.refresh_peers(metrics, status.me);
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

impl Running {
    fn refresh_peers(&self, metrics: &Metrics, me: MemberId) {
        let network = &metrics.network;
        // A member that is gone must not be shown for ever.
        network.known_peers.reset();
        network.active_peers.reset();
        for peer in self.raft.peers() {
            let (local, remote) = (me.to_string(), peer.id.to_string());
            network.known_peers.with_label_values(&[&local, &remote]).set(1);
            let active = i64::from(peer.active_since.is_some());
            network.active_peers.with_label_values(&[&local, &remote]).set(active);
            if let Some(took) = peer.round_trip {
                network.peer_round_trip_time.with_label_values(&[&remote]).observe(took.as_secs_f64());
            }
        }
    }
}

/// Counts every leader that follows another, and the first.
pub(super) async fn count_leader_changes(raft: Handle, metrics: Metrics) {
    let mut status = raft.subscribe();
    let mut last = None;
    loop {
        let leader = status.borrow_and_update().leader;
        if leader.is_some() && leader != last {
            metrics.server.leader_changes_seen.inc();
            last = leader;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Counts what an applied entry wrote.
pub(super) fn count_events(metrics: &Metrics, events: &[Event]) {
    let puts = events.iter().filter(|event| event.kind == EventKind::Put);
    let put_bytes: usize = puts.clone().map(|event| event.kv.key.len() + event.kv.value.len()).sum();
    let puts = puts.count();
    metrics.mvcc.count_write(puts as u64, put_bytes as u64, (events.len() - puts) as u64);
}

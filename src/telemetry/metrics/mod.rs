//! Every metric of the server, registered once and handed around as typed handles.
//!
//! Names, types, labels and buckets are etcd's where we mean the same thing, also where etcd breaks the
//! naming rules (gauges that end in `_total`, counters that do not); ours begin with `kvorum_`.
//! A family exists only when something moves it. Handles are cheap to clone and to move; what is a mere
//! reading of state (revision, sizes, roles) is set just before it is shown, see `health::Facts::refresh`.

mod build;
mod rpc;

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::types::{ETCD_VERSION, KVORUM_VERSION, MemberId};
use build::Build;
pub use rpc::{RpcKind, RpcMetrics};

/// A histogram of times.
#[derive(Clone)]
pub struct Seconds(Histogram);

impl Seconds {
    pub fn observe(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// The server's metrics; a clone is another handle on the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

impl std::ops::Deref for Metrics {
    type Target = Families;
    fn deref(&self) -> &Families {
        &self.0
    }
}

pub struct Families {
    registry: Registry,
    pub server: Server,
    pub network: Network,
    pub mvcc: Mvcc,
    pub disk: Disk,
    pub health: Health,
    pub own: Own,
    grpc: rpc::Families,
}

/// `etcd_server_*`: consensus and requests.
pub struct Server {
    pub has_leader: IntGauge,
    pub is_leader: IntGauge,
    pub is_learner: IntGauge,
    pub leader_changes_seen: IntCounter,
    pub heartbeat_send_failures: IntCounter,
    pub snapshot_apply_in_progress: IntGauge,
    pub proposals_committed: IntGauge,
    pub proposals_applied: IntGauge,
    pub proposals_pending: IntGauge,
    pub proposals_failed: IntCounter,
    pub slow_apply: IntCounter,
    pub slow_read_indexes: IntCounter,
    pub read_indexes_failed: IntCounter,
    pub quota_backend_bytes: IntGauge,
    pub learner_promote_successes: IntCounter,
    /// Label `Reason`.
    pub learner_promote_failures: IntCounterVec,
    /// Labels `type`, `client_api_version`.
    pub client_requests: IntCounterVec,
    /// Labels `type`, `success`.
    pub request_duration: HistogramVec,
    /// Labels `version`, `op`, `success`.
    pub apply_duration: HistogramVec,
    /// Label `success`.
    pub range_duration: HistogramVec,
    version: IntGaugeVec,
    cluster_version: IntGaugeVec,
    id: IntGaugeVec,
    feature_enabled: IntGaugeVec,
}

/// `etcd_network_*`: peers and clients. Labels are member IDs in hex.
pub struct Network {
    /// Label `To`.
    pub peer_round_trip_time: HistogramVec,
    /// Label `To`.
    pub peer_sent_failures: IntCounterVec,
    /// Label `From`.
    pub peer_received_failures: IntCounterVec,
    /// Label `To`.
    pub peer_sent_bytes: IntCounterVec,
    /// Label `From`.
    pub peer_received_bytes: IntCounterVec,
    /// Labels `Local`, `Remote`.
    pub active_peers: IntGaugeVec,
    /// Labels `Local`, `Remote`.
    pub known_peers: IntGaugeVec,
    /// Labels `Local`, `Remote`.
    pub disconnected_peers: IntCounterVec,
    pub client_grpc_sent_bytes: IntCounter,
    pub client_grpc_received_bytes: IntCounter,
    /// Labels `Type`, `API`.
    pub server_stream_failures: IntCounterVec,
    /// Label `To`.
    pub snapshot_send_success: IntCounterVec,
    /// Label `To`.
    pub snapshot_send_failures: IntCounterVec,
    /// Label `To`.
    pub snapshot_send_duration: HistogramVec,
    /// Label `From`.
    pub snapshot_receive_success: IntCounterVec,
    /// Label `From`.
    pub snapshot_receive_failures: IntCounterVec,
    /// Label `From`.
    pub snapshot_receive_duration: HistogramVec,
}

/// `etcd_mvcc_*` and `etcd_debugging_mvcc_*`: the key space and its watchers.
pub struct Mvcc {
    pub db_total_size_bytes: IntGauge,
    pub db_total_size_in_use_bytes: IntGauge,
    pub range: IntCounter,
    pub put: IntCounter,
    pub delete: IntCounter,
    pub txn: IntCounter,
    pub hash_duration: Seconds,
    pub hash_rev_duration: Seconds,
    pub keys: IntGauge,
    pub current_revision: IntGauge,
    pub compact_revision: IntGauge,
    pub db_compaction_keys: IntCounter,
    /// Unix seconds.
    pub db_compaction_last: IntGauge,
    pub total_put_size_bytes: IntGauge,
    pub watch_streams: IntGauge,
    pub watchers: IntGauge,
    pub slow_watchers: IntGauge,
    pub events: IntCounter,
    pub pending_events: IntGauge,
}

/// `etcd_disk_*`, `etcd_snap_*` and `os_fd_*`.
pub struct Disk {
    pub wal_fsync: Seconds,
    pub wal_write: Seconds,
    pub wal_write_bytes: IntGauge,
    /// Here: writing a checkpoint of the key space, the only commit that there is.
    pub backend_commit: Seconds,
    pub snap_save: Seconds,
    pub snap_fsync: Seconds,
    fd_used: IntGauge,
    fd_limit: IntGauge,
}

/// What probes were told.
pub struct Health {
    pub success: IntCounter,
    pub failures: IntCounter,
    check: IntGaugeVec,
    checks: IntCounterVec,
}

/// `kvorum_*`.
pub struct Own {
    pub checkpoints: IntCounter,
    /// Records per synced batch of the log.
    pub wal_batch_records: Histogram,
    /// Bytes of the newest checkpoint.
    pub checkpoint_size_bytes: IntGauge,
    /// Peers that a member which has not started yet waits for.
    pub bootstrap_waiting_for: IntGauge,
    state: IntGaugeVec,
    build_info: IntGaugeVec,
}

impl Metrics {
    /// Registers everything. `extensive` adds the histogram of gRPC handling times.
    pub fn new(extensive: bool) -> Metrics {
        let registry = Registry::new();
        let build = Build::new(&registry);
        let families = Families {
            server: build.server(),
            network: build.network(),
            mvcc: build.mvcc(),
            disk: build.disk(),
            health: build.health(),
            own: build.own(),
            grpc: rpc::Families::new(&build, extensive),
            registry: registry.clone(),
        };
        build.process();
        families.server.version.with_label_values(&[ETCD_VERSION]).set(1);
        families.own.build_info.with_label_values(&[KVORUM_VERSION]).set(1);
        Metrics(Arc::new(families))
    }

    /// The counters of one gRPC method; to be kept by whoever serves it.
    pub fn rpc(&self, kind: RpcKind, service: &'static str, method: &'static str) -> RpcMetrics {
        self.grpc.method(kind, service, method)
    }

    /// From now on unary calls that take longer are logged (`--warning-unary-request-duration`).
    pub fn log_slow_calls(&self, after: Duration) {
        self.grpc.log_slow_calls(after);
    }

    /// Says who this member is.
    pub fn identify(&self, member: MemberId) {
        self.server.id.reset();
        self.server.id.with_label_values(&[&member.to_string()]).set(1);
    }

    /// Says the cluster's version, as etcd does without its patch number.
    pub fn set_cluster_version(&self, version: &str) {
        let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
        self.server.cluster_version.reset();
        self.server.cluster_version.with_label_values(&[minor]).set(1);
    }

    /// Says which feature gates are on: name, stage, state.
    pub fn set_features(&self, gates: &[(&'static str, &'static str, bool)]) {
        for (name, stage, on) in gates {
            self.server.feature_enabled.with_label_values(&[*name, *stage]).set(i64::from(*on));
        }
    }

    /// Says which state the server is in; exactly one is 1.
    pub fn set_state(&self, state: &str) {
        self.own.state.reset();
        self.own.state.with_label_values(&[state]).set(1);
    }

    /// The text that `/metrics` answers.
    pub fn render(&self) -> String {
        self.disk.count_files();
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Disk {
    fn count_files(&self) {
        if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
            self.fd_used.set(i64::try_from(folder.count()).unwrap_or(i64::MAX));
        }
        if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            self.fd_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        }
    }
}

impl Health {
    /// One run of one check of `/livez` or `/readyz`.
    pub fn record(&self, kind: &str, name: &str, ok: bool) {
        self.check.with_label_values(&[kind, name]).set(i64::from(ok));
        let status = if ok { "success" } else { "error" };
        self.checks.with_label_values(&[kind, name, status]).inc();
    }
}

#[cfg(test)]
mod tests;

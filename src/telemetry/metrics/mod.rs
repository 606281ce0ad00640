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
    pub proposals_committed: IntGauge,
    pub proposals_applied: IntGauge,
    pub proposals_pending: IntGauge,
    pub proposals_failed: IntCounter,
    pub read_indexes_failed: IntCounter,
    pub quota_backend_bytes: IntGauge,
    version: IntGaugeVec,
    cluster_version: IntGaugeVec,
    id: IntGaugeVec,
    feature_enabled: IntGaugeVec,
}

/// `etcd_network_*`: peers and clients. Labels are member IDs in hex.
pub struct Network {
    /// Label `To`.
    pub peer_round_trip_time: HistogramVec,
    /// Labels `Local`, `Remote`.
    pub active_peers: IntGaugeVec,
    /// Labels `Local`, `Remote`.
    pub known_peers: IntGaugeVec,
    pub client_grpc_sent_bytes: IntCounter,
    pub client_grpc_received_bytes: IntCounter,
}

/// `etcd_mvcc_*` and `etcd_debugging_mvcc_*`: the key space and its watchers.
pub struct Mvcc {
    pub db_total_size_bytes: IntGauge,
    pub db_total_size_in_use_bytes: IntGauge,
    pub put: IntCounter,
    pub delete: IntCounter,
    pub txn: IntCounter,
    pub range: IntCounter,
    pub keys: IntGauge,
    pub current_revision: IntGauge,
    pub compact_revision: IntGauge,
    pub total_put_size_bytes: IntGauge,
    pub watch_streams: IntGauge,
    pub watchers: IntGauge,
    pub slow_watchers: IntGauge,
}

/// `etcd_disk_*` and `os_fd_*`.
pub struct Disk {
    pub wal_fsync: Seconds,
    wal_write_bytes: IntGauge,
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

impl Mvcc {
    /// One applied write: its puts, their bytes, its deletes.
    pub fn count_write(&self, puts: u64, put_bytes: u64, deletes: u64) {
        self.put.inc_by(puts);
        self.delete.inc_by(deletes);
        self.total_put_size_bytes.add(i64::try_from(put_bytes).unwrap_or(0));
        // etcd counts a transaction where more than one thing was written.
        if puts + deletes > 1 {
            self.txn.inc();
        }
    }
}

impl Disk {
    /// Bytes written to the log.
    pub fn count_written(&self, bytes: u64) {
        self.wal_write_bytes.add(i64::try_from(bytes).unwrap_or(0));
    }

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

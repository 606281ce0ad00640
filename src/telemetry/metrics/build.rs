//! Registration: the one place that spells names, help lines and buckets.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use super::{Disk, Health, Mvcc, Network, Own, Seconds, Server};

/// First bound in seconds, factor, number of bounds; etcd's.
type Buckets = (f64, f64, usize);

const DISK: Buckets = (0.001, 2.0, 14);
const ROUND_TRIP: Buckets = (0.0001, 2.0, 16);

pub(super) struct Build<'a> {
    registry: &'a Registry,
}

impl<'a> Build<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Build { registry }
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let family = made.expect("names and buckets of metrics are constants that fit");
        self.registry.register(Box::new(family.clone())).expect("no two metrics share a name");
        family
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn seconds(&self, name: &str, help: &str, buckets: Buckets) -> Seconds {
        let opts = HistogramOpts::new(name, help).buckets(bounds(buckets));
        Seconds(self.add(Histogram::with_opts(opts)))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
    }

    /// CPU, memory, files and start of the process, under the names that every exporter uses.
    pub(super) fn process(&self) {
        let process = ProcessCollector::for_self();
        self.registry.register(Box::new(process)).expect("no two metrics share a name");
    }

    pub(super) fn server(&self) -> Server {
        Server {
            has_leader: self.gauge("etcd_server_has_leader", "1 if this member knows a leader, else 0."),
            is_leader: self.gauge("etcd_server_is_leader", "1 if this member is the leader, else 0."),
            is_learner: self.gauge("etcd_server_is_learner", "1 if this member is a learner, else 0."),
            leader_changes_seen: self
                .counter("etcd_server_leader_changes_seen_total", "Leader changes seen."),
            proposals_committed: self.gauge(
                "etcd_server_proposals_committed_total",
                "Log position up to which proposals are committed.",
            ),
            proposals_applied: self.gauge(
                "etcd_server_proposals_applied_total",
                "Log position up to which proposals are applied.",
            ),
            proposals_pending: self
                .gauge("etcd_server_proposals_pending", "Proposals that wait to be committed and applied."),
            proposals_failed: self
                .counter("etcd_server_proposals_failed_total", "Proposals that failed or went unanswered."),
            read_indexes_failed: self
                .counter("etcd_server_read_indexes_failed_total", "Linearizable reads that found no leader."),
            quota_backend_bytes: self
                .gauge("etcd_server_quota_backend_bytes", "Size of the key space that the quota allows."),
            version: self.gauges(
                "etcd_server_version",
                "Version that clients are told.",
                &["server_version"],
            ),
            cluster_version: self.gauges(
                "etcd_cluster_version",
                "Version that all members speak.",
                &["cluster_version"],
            ),
            id: self.gauges("etcd_server_id", "Member ID in hex.", &["server_id"]),
            feature_enabled: self.gauges(
                "etcd_server_feature_enabled",
                "1 if the feature gate is on, else 0.",
                &["name", "stage"],
            ),
        }
    }

    pub(super) fn network(&self) -> Network {
        let pair = ["Local", "Remote"];
        Network {
            peer_round_trip_time: self.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Round-trip time to a peer, as it was at each look.",
                &["To"],
                bounds(ROUND_TRIP),
            ),
            active_peers: self.gauges("etcd_network_active_peers", "1 for a peer that is connected.", &pair),
            known_peers: self.gauges("etcd_network_known_peers", "1 for a peer that is known.", &pair),
            client_grpc_sent_bytes: self
                .counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients."),
            client_grpc_received_bytes: self.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes received from gRPC clients.",
            ),
        }
    }

    pub(super) fn mvcc(&self) -> Mvcc {
        Mvcc {
            db_total_size_bytes: self
                .gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the key space with its history."),
            db_total_size_in_use_bytes: self
                .gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "The part of it that is in use."),
            put: self.counter("etcd_mvcc_put_total", "Puts applied."),
            delete: self.counter("etcd_mvcc_delete_total", "Deletes applied."),
            txn: self.counter("etcd_mvcc_txn_total", "Transactions applied."),
            range: self.counter("etcd_mvcc_range_total", "Ranges read by this member's clients."),
            keys: self.gauge("etcd_debugging_mvcc_keys_total", "Keys."),
            current_revision: self.gauge("etcd_debugging_mvcc_current_revision", "Revision of the store."),
            compact_revision: self
                .gauge("etcd_debugging_mvcc_compact_revision", "Revision up to which history is compacted."),
            total_put_size_bytes: self
                .gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of the puts applied."),
            watch_streams: self.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams open."),
            watchers: self.gauge("etcd_debugging_mvcc_watcher_total", "Watchers."),
            slow_watchers: self.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that catch up."),
        }
    }

    pub(super) fn disk(&self) -> Disk {
        Disk {
            wal_fsync: self.seconds("etcd_disk_wal_fsync_duration_seconds", "Time to sync the log.", DISK),
            wal_write_bytes: self.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log."),
            fd_used: self.gauge("os_fd_used", "Open files."),
            fd_limit: self.gauge("os_fd_limit", "Most files that may be open."),
        }
    }

    pub(super) fn health(&self) -> Health {
        Health {
            success: self.counter("etcd_server_health_success", "Answers of /health that said true."),
            failures: self.counter("etcd_server_health_failures", "Answers of /health that said false."),
            check: self.gauges("etcd_server_healthcheck", "Last result of a check.", &["type", "name"]),
            checks: self.counters(
                "etcd_server_healthchecks_total",
                "Results of a check.",
                &["type", "name", "status"],
            ),
        }
    }

    pub(super) fn own(&self) -> Own {
        Own {
            bootstrap_waiting_for: self.gauge(
                "kvorum_bootstrap_waiting_for",
                "Peers that this member waits for before it can start.",
            ),
            state: self.gauges("kvorum_server_state", "1 for the state that the server is in.", &["state"]),
            build_info: self.gauges("kvorum_build_info", "Our own version.", &["version"]),
        }
    }
}

fn bounds((start, factor, count): Buckets) -> Vec<f64> {
    exponential_buckets(start, factor, count).expect("buckets are constants that fit")
}

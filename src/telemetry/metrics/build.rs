//! Registration: the one place that spells names, help lines and buckets.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use super::{Disk, Health, Mvcc, Network, Own, Seconds, Server};

/// First bound in seconds, factor, number of bounds; etcd's.
pub(super) type Buckets = (f64, f64, usize);

const DISK: Buckets = (0.001, 2.0, 14);
const APPLY: Buckets = (0.0001, 2.0, 20);
const ROUND_TRIP: Buckets = (0.0001, 2.0, 16);
const SNAPSHOT: Buckets = (0.1, 2.0, 10);
const HASH: Buckets = (0.01, 2.0, 15);

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

    fn seconds(&self, name: &str, help: &str, (start, factor, count): Buckets) -> Seconds {
        let opts = HistogramOpts::new(name, help).buckets(bounds(start, factor, count));
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

    fn seconds_by(&self, name: &str, help: &str, labels: &[&str], buckets: Buckets) -> HistogramVec {
        self.histograms(name, help, labels, bounds(buckets.0, buckets.1, buckets.2))
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
            heartbeat_send_failures: self.counter(
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats that the leader sent late.",
            ),
            snapshot_apply_in_progress: self.gauge(
                "etcd_server_snapshot_apply_in_progress_total",
                "1 while a peer's snapshot is taken in.",
            ),
            proposals_committed: self.gauge(
                "etcd_server_proposals_committed_total",
                "Log position up to which proposals are committed.",
            ),
            proposals_applied: self.gauge(
                "etcd_server_proposals_applied_total",
                "Log position up to which proposals are applied.",
            ),
            proposals_pending: self.gauge(
                "etcd_server_proposals_pending",
                "Proposals of this member that wait for their commit.",
            ),
            proposals_failed: self.counter("etcd_server_proposals_failed_total", "Proposals that failed."),
            slow_apply: self.counter("etcd_server_slow_apply_total", "Entries that took too long to apply."),
            slow_read_indexes: self
                .counter("etcd_server_slow_read_indexes_total", "Read rounds that were late or timed out."),
            read_indexes_failed: self
                .counter("etcd_server_read_indexes_failed_total", "Read rounds that failed."),
            quota_backend_bytes: self
                .gauge("etcd_server_quota_backend_bytes", "Size of the key space that the quota allows."),
            learner_promote_successes: self
                .counter("etcd_server_learner_promote_successes", "Learners promoted while this member led."),
            learner_promote_failures: self.counters(
                "etcd_server_learner_promote_failures",
                "Promotions refused while this member led.",
                &["Reason"],
            ),
            client_requests: self.counters(
                "etcd_server_client_requests_total",
                "Requests by kind of call and client version.",
                &["type", "client_api_version"],
            ),
            request_duration: self.seconds_by(
                "etcd_server_request_duration_seconds",
                "Time to answer by kind of request.",
                &["type", "success"],
                DISK,
            ),
            apply_duration: self.seconds_by(
                "etcd_server_apply_duration_seconds",
                "Time to apply an entry.",
                &["version", "op", "success"],
                APPLY,
            ),
            range_duration: self.seconds_by(
                "etcd_server_range_duration_seconds",
                "Time to read a range.",
                &["success"],
                APPLY,
            ),
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
        let (to, from, pair) = (["To"], ["From"], ["Local", "Remote"]);
        Network {
            peer_round_trip_time: self.seconds_by(
                "etcd_network_peer_round_trip_time_seconds",
                "Round-trip time to a peer.",
                &to,
                ROUND_TRIP,
            ),
            peer_sent_failures: self.counters(
                "etcd_network_peer_sent_failures_total",
                "Failed sends to a peer.",
                &to,
            ),
            peer_received_failures: self.counters(
                "etcd_network_peer_received_failures_total",
                "Failed receipts from a peer.",
                &from,
            ),
            peer_sent_bytes: self.counters(
                "etcd_network_peer_sent_bytes_total",
                "Bytes sent to a peer.",
                &to,
            ),
            peer_received_bytes: self.counters(
                "etcd_network_peer_received_bytes_total",
                "Bytes received from a peer.",
                &from,
            ),
            active_peers: self.gauges("etcd_network_active_peers", "1 for a peer that is connected.", &pair),
            known_peers: self.gauges("etcd_network_known_peers", "1 for a peer that is known.", &pair),
            disconnected_peers: self.counters(
                "etcd_network_disconnected_peers_total",
                "Lost connections to a peer.",
                &pair,
            ),
            client_grpc_sent_bytes: self
                .counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to gRPC clients."),
            client_grpc_received_bytes: self.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes received from gRPC clients.",
            ),
            server_stream_failures: self.counters(
                "etcd_network_server_stream_failures_total",
                "Streams of clients that failed.",
                &["Type", "API"],
            ),
            snapshot_send_success: self.counters(
                "etcd_network_snapshot_send_success",
                "Snapshots sent to a peer.",
                &to,
            ),
            snapshot_send_failures: self.counters(
                "etcd_network_snapshot_send_failures",
                "Snapshots that did not reach a peer.",
                &to,
            ),
            snapshot_send_duration: self.seconds_by(
                "etcd_network_snapshot_send_total_duration_seconds",
                "Time to send a snapshot.",
                &to,
                SNAPSHOT,
            ),
            snapshot_receive_success: self.counters(
                "etcd_network_snapshot_receive_success",
                "Snapshots received from a peer.",
                &from,
            ),
            snapshot_receive_failures: self.counters(
                "etcd_network_snapshot_receive_failures",
                "Snapshots that broke off.",
                &from,
            ),
            snapshot_receive_duration: self.seconds_by(
                "etcd_network_snapshot_receive_total_duration_seconds",
                "Time to receive a snapshot.",
                &from,
                SNAPSHOT,
            ),
        }
    }

    pub(super) fn mvcc(&self) -> Mvcc {
        Mvcc {
            db_total_size_bytes: self
                .gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the key space with its history."),
            db_total_size_in_use_bytes: self
                .gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "The part of it that is in use."),
            range: self.counter("etcd_mvcc_range_total", "Ranges read."),
            put: self.counter("etcd_mvcc_put_total", "Puts applied."),
            delete: self.counter("etcd_mvcc_delete_total", "Deletes applied."),
            txn: self.counter("etcd_mvcc_txn_total", "Transactions applied."),
            hash_duration: self.seconds("etcd_mvcc_hash_duration_seconds", "Time to hash the store.", HASH),
            hash_rev_duration: self.seconds(
                "etcd_mvcc_hash_rev_duration_seconds",
                "Time to hash it up to a revision.",
                HASH,
            ),
            keys: self.gauge("etcd_debugging_mvcc_keys_total", "Keys."),
            current_revision: self.gauge("etcd_debugging_mvcc_current_revision", "Revision of the store."),
            compact_revision: self
                .gauge("etcd_debugging_mvcc_compact_revision", "Revision up to which history is compacted."),
            db_compaction_keys: self.counter(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Revisions that compaction removed.",
            ),
            db_compaction_last: self
                .gauge("etcd_debugging_mvcc_db_compaction_last", "Unix time of the last compaction."),
            total_put_size_bytes: self
                .gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of the puts applied."),
            watch_streams: self.gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams open."),
            watchers: self.gauge("etcd_debugging_mvcc_watcher_total", "Watchers."),
            slow_watchers: self.gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that catch up."),
            events: self.counter("etcd_debugging_mvcc_events_total", "Events sent to watchers."),
            pending_events: self
                .gauge("etcd_debugging_mvcc_pending_events_total", "Events waiting to be sent."),
        }
    }

    pub(super) fn disk(&self) -> Disk {
        Disk {
            wal_fsync: self.seconds("etcd_disk_wal_fsync_duration_seconds", "Time to sync the log.", DISK),
            wal_write: self.seconds(
                "etcd_disk_wal_write_duration_seconds",
                "Time to write to the log.",
                DISK,
            ),
            wal_write_bytes: self.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log."),
            backend_commit: self.seconds(
                "etcd_disk_backend_commit_duration_seconds",
                "Time to make the key space durable.",
                DISK,
            ),
            snap_save: self.seconds(
                "etcd_snap_db_save_total_duration_seconds",
                "Time to save a peer's snapshot.",
                SNAPSHOT,
            ),
            snap_fsync: self.seconds("etcd_snap_fsync_duration_seconds", "Time to sync a checkpoint.", DISK),
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
        let batch =
            HistogramOpts::new("kvorum_wal_batch_records", "Records that one sync of the log covered.")
                .buckets(bounds(1.0, 2.0, 12));
        Own {
            checkpoints: self.counter("kvorum_checkpoints_total", "Checkpoints written."),
            wal_batch_records: self.add(Histogram::with_opts(batch)),
            checkpoint_size_bytes: self
                .gauge("kvorum_checkpoint_size_bytes", "Size of the newest checkpoint."),
            bootstrap_waiting_for: self.gauge(
                "kvorum_bootstrap_waiting_for",
                "Peers that this member waits for before it can start.",
            ),
            state: self.gauges("kvorum_server_state", "1 for the state that the server is in.", &["state"]),
            build_info: self.gauges("kvorum_build_info", "Our own version.", &["version"]),
        }
    }
}

fn bounds(start: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(start, factor, count).expect("buckets are constants that fit")
}

//! Flags of etcd 3.5 and before that 3.6 dropped, the long-dead ones among them.

use crate::flags::{Flag, Kind, Releases};

const NO_V2: &str = "the v2 API was removed in etcd 3.6";
const NO_PROXY: &str = "the v2 proxy was removed in etcd 3.6";
const PROXY_ONLY: &str = "tune the v2 proxy, which was removed in etcd 3.6";

/// A spelling of 3.5 and 3.6 for a flag that lost its prefix since.
const fn same(name: &'static str, kind: Kind, target: &'static str) -> Flag {
    Flag::new(name, kind, "").same_as(target).releases(Releases::Until36).help("Older spelling.")
}

const fn gate(name: &'static str, default: &'static str, gate: &'static str) -> Flag {
    Flag::bool(name, default).gate(gate).releases(Releases::Until36).help("Older spelling of a feature gate.")
}

const fn proxy(name: &'static str, default: &'static str) -> Flag {
    Flag::uint(name, default).accepted(PROXY_ONLY).releases(Releases::Only35).help("v2 proxy, milliseconds.")
}

pub(super) const FORMER: &[Flag] = &[
    gate("experimental-initial-corrupt-check", "false", "InitialCorruptCheck"),
    gate("experimental-compact-hash-check-enabled", "false", "CompactHashCheck"),
    gate("experimental-enable-lease-checkpoint", "false", "LeaseCheckpoint"),
    gate("experimental-enable-lease-checkpoint-persist", "false", "LeaseCheckpointPersist"),
    gate("experimental-txn-mode-write-with-shared-buffer", "true", "TxnModeWriteWithSharedBuffer"),
    gate("experimental-stop-grpc-service-on-defrag", "false", "StopGRPCServiceOnDefrag"),
    same("experimental-corrupt-check-time", Kind::Duration, "corrupt-check-time"),
    same("experimental-compact-hash-check-time", Kind::Duration, "compact-hash-check-time"),
    same("experimental-compaction-batch-limit", Kind::Int, "compaction-batch-limit"),
    same("experimental-compaction-sleep-interval", Kind::Duration, "compaction-sleep-interval"),
    same("experimental-peer-skip-client-san-verification", Kind::Bool, "peer-skip-client-san-verification"),
    same("experimental-watch-progress-notify-interval", Kind::Duration, "watch-progress-notify-interval"),
    same("experimental-warning-apply-duration", Kind::Duration, "warning-apply-duration"),
    same("experimental-warning-unary-request-duration", Kind::Duration, "warning-unary-request-duration")
        .releases(Releases::Only36),
    same(
        "experimental-bootstrap-defrag-threshold-megabytes",
        Kind::Uint,
        "bootstrap-defrag-threshold-megabytes",
    ),
    same("experimental-downgrade-check-time", Kind::Duration, "downgrade-check-time"),
    same("experimental-memory-mlock", Kind::Bool, "memory-mlock"),
    same("experimental-snapshot-catchup-entries", Kind::Uint, "snapshot-catchup-entries"),
    same("experimental-enable-distributed-tracing", Kind::Bool, "enable-distributed-tracing"),
    same("experimental-distributed-tracing-address", Kind::Text, "distributed-tracing-address"),
    same("experimental-distributed-tracing-service-name", Kind::Text, "distributed-tracing-service-name"),
    same("experimental-distributed-tracing-instance-id", Kind::Text, "distributed-tracing-instance-id"),
    same("experimental-distributed-tracing-sampling-rate", Kind::Int, "distributed-tracing-sampling-rate"),
    Flag::bool("enable-v2", "false").refused(NO_V2).releases(Releases::Only35).help("Serve the v2 API."),
    Flag::text("experimental-enable-v2v3", "")
        .refused(NO_V2)
        .releases(Releases::Only35)
        .help("Serve the v2 API over the v3 store."),
    Flag::new("proxy", Kind::Choice(&["off", "readonly", "on"]), "off")
        .refused(NO_PROXY)
        .releases(Releases::Only35)
        .help("Run as a v2 proxy."),
    proxy("proxy-failure-wait", "5000"),
    proxy("proxy-refresh-interval", "30000"),
    proxy("proxy-dial-timeout", "1000"),
    proxy("proxy-write-timeout", "5000"),
    proxy("proxy-read-timeout", "0"),
    Flag::ignored("cluster-active-size"),
    Flag::ignored("cluster-remove-delay"),
    Flag::ignored("cluster-sync-interval"),
    Flag::ignored("config"),
    Flag::ignored("force"),
    Flag::ignored("max-result-buffer"),
    Flag::ignored("max-retry-attempts"),
    Flag::ignored("peer-heartbeat-interval"),
    Flag::ignored("peer-election-timeout"),
    Flag::ignored("retry-interval"),
    Flag::ignored("snapshot"),
    Flag::ignored("v"),
    Flag::ignored("vv"),
    Flag::ignored("test.coverprofile"),
    Flag::ignored("test.outputdir"),
];

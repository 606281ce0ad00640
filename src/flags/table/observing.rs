//! Metrics, logs and traces.

use crate::flags::{Flag, Releases};

const NO_TRACING: &str = "send spans to a collector; distributed tracing comes in a later release";

pub(super) const MONITORING: &[Flag] = &[
    Flag::bool("enable-pprof", "false")
        .accepted("serve Go's profiles under /debug/pprof; there are none")
        .help("Serve profiles."),
    Flag::text("metrics", "basic")
        .range("basic or extensive")
        .help("extensive adds the histogram of gRPC handling times."),
    Flag::urls("listen-metrics-urls", "")
        .range("IP address or localhost")
        .help("More addresses for /metrics, /health, /livez and /readyz."),
    Flag::duration("warning-unary-request-duration", "300ms")
        .releases(Releases::Since36)
        .help("A unary request that takes longer is logged."),
];

pub(super) const LOGGING: &[Flag] = &[
    Flag::text("logger", "zap").range("zap").help("Shape of log lines; only zap's."),
    Flag::list("log-outputs", "default")
        .range("default, stderr, stdout, or files")
        .help("Where log lines go; default is stderr."),
    Flag::text("log-level", "info")
        .range("debug, info, warn, error, panic or fatal")
        .help("Lowest level that is logged."),
    Flag::text("log-format", "json")
        .releases(Releases::Since36)
        .range("json or console")
        .help("Form of log lines."),
    Flag::bool("enable-log-rotation", "false")
        .accepted("rotate the log file; let the system's log rotation do it")
        .help("Rotate a single log file."),
    Flag::text(
        "log-rotation-config-json",
        r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#,
    )
    .accepted("set how the log file is rotated; let the system's log rotation do it")
    .help("How to rotate it."),
];

pub(super) const TRACING: &[Flag] = &[
    Flag::bool("enable-distributed-tracing", "false")
        .releases(Releases::Since36)
        .accepted(NO_TRACING)
        .help("Send spans by OpenTelemetry."),
    Flag::text("distributed-tracing-address", "localhost:4317")
        .releases(Releases::Since36)
        .accepted(NO_TRACING)
        .help("Address of the collector."),
    Flag::text("distributed-tracing-service-name", "etcd")
        .releases(Releases::Since36)
        .accepted(NO_TRACING)
        .help("Service name in spans."),
    Flag::text("distributed-tracing-instance-id", "")
        .releases(Releases::Since36)
        .accepted(NO_TRACING)
        .help("Instance ID in spans."),
    Flag::int("distributed-tracing-sampling-rate", "0")
        .releases(Releases::Since36)
        .accepted(NO_TRACING)
        .help("Samples per million spans."),
];

//! The counters that every gRPC server exports, under the names that Go's interceptors made common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::build::Build;

/// Shape of a method, as the label `grpc_type` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcKind {
    Unary,
    ClientStream,
    ServerStream,
    BidiStream,
}

impl RpcKind {
    fn label(self) -> &'static str {
        match self {
            RpcKind::Unary => "unary",
            RpcKind::ClientStream => "client_stream",
            RpcKind::ServerStream => "server_stream",
            RpcKind::BidiStream => "bidi_stream",
        }
    }
}

/// Names of the gRPC codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

pub(super) struct Families {
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    /// Only with `--metrics=extensive`.
    handling: Option<HistogramVec>,
    /// Nanoseconds; 0: no call is slow.
    slow_after: Arc<AtomicU64>,
}

impl Families {
    pub(super) fn new(build: &Build<'_>, extensive: bool) -> Families {
        let labels = ["grpc_method", "grpc_service", "grpc_type"];
        let with_code = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
        // Go's client library's default buckets.
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Families {
            started: build.counters("grpc_server_started_total", "Calls begun.", &labels),
            handled: build.counters("grpc_server_handled_total", "Calls ended, by code.", &with_code),
            received: build.counters("grpc_server_msg_received_total", "Messages received.", &labels),
            sent: build.counters("grpc_server_msg_sent_total", "Messages sent.", &labels),
            handling: extensive.then(|| {
                build.histograms("grpc_server_handling_seconds", "Time from begin to end.", &labels, buckets)
            }),
            slow_after: Arc::default(),
        }
    }

    pub(super) fn log_slow_calls(&self, after: Duration) {
        self.slow_after.store(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn method(&self, kind: RpcKind, service: &'static str, method: &'static str) -> RpcMetrics {
        let labels = [method, service, kind.label()];
        RpcMetrics {
            started: self.started.with_label_values(&labels),
            handled: Arc::new(
                CODES.map(|code| self.handled.with_label_values(&[code, method, service, kind.label()])),
            ),
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            handling: self.handling.as_ref().map(|family| family.with_label_values(&labels)),
            name: (service, method),
            slow_after: (kind == RpcKind::Unary).then(|| Arc::clone(&self.slow_after)),
        }
    }
}

/// The counters of one method, looked up once; it also logs the slow unary calls.
#[derive(Clone)]
pub struct RpcMetrics {
    pub started: IntCounter,
    pub received: IntCounter,
    pub sent: IntCounter,
    handled: Arc<[IntCounter; 17]>,
    handling: Option<Histogram>,
    name: (&'static str, &'static str),
    /// None for streams, which last as long as they last.
    slow_after: Option<Arc<AtomicU64>>,
}

impl RpcMetrics {
    /// A call ended with this gRPC code (0 to 16) after this time.
    pub fn handled(&self, code: i32, took: Duration) {
        let unknown = 2;
        let index = usize::try_from(code).ok().filter(|code| *code < CODES.len()).unwrap_or(unknown);
        self.handled[index].inc();
        if let Some(handling) = &self.handling {
            handling.observe(took.as_secs_f64());
        }
        let slow_after = self.slow_after.as_ref().map_or(0, |nanos| nanos.load(Ordering::Relaxed));
        if slow_after > 0 && took.as_nanos() > u128::from(slow_after) {
            let (service, method) = self.name;
            tracing::warn!(service, method, time_spent = ?took, grpc_code = CODES[index], "request stats");
        }
    }
}

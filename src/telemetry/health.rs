//! `/health`, `/livez`, `/readyz`, `/version` and `/metrics`, answered as etcd answers them.
//!
//! The routes know nothing of the server: it lends its facts by [`Facts`].
//! `/livez` asks this member alone, so that no probe kills members because the cluster has lost its quorum.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::json;

use super::http_guard::plain;
use super::metrics::Metrics;
use crate::membership::{Alarm, AlarmKind};
use crate::types::{ETCD_VERSION, KVORUM_VERSION};

/// What the server says about itself when it is asked. Errors are the texts that clients would see.
pub trait Facts: Send + Sync + 'static {
    fn has_leader(&self) -> bool;
    /// What `/health` says without a leader.
    fn leaderless(&self) -> String {
        "RAFT NO LEADER".to_owned()
    }
    fn is_learner(&self) -> bool;
    fn alarms(&self) -> Vec<Alarm>;
    /// Whether this member alone can answer a read; in every held state it can.
    fn serializable_read(&self) -> Result<(), String>;
    /// Whether the cluster can answer a read through this member; bounded by the request timeout.
    fn linearizable_read(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
    /// None until the members agreed on one.
    fn cluster_version(&self) -> Option<String>;
    /// Sets the metrics that are readings of state.
    fn refresh(&self, metrics: &Metrics);
}

#[derive(Clone)]
struct Served {
    facts: Arc<dyn Facts>,
    metrics: Metrics,
}

/// What the client port serves.
pub fn routes(facts: Arc<dyn Facts>, metrics: Metrics) -> Router {
    metrics_routes(facts.clone(), metrics.clone()).merge(version_route(facts, metrics))
}

/// What `--listen-metrics-urls` serves: probes and metrics.
pub fn metrics_routes(facts: Arc<dyn Facts>, metrics: Metrics) -> Router {
    let mut router = Router::new().route("/health", any(health)).route("/metrics", any(show_metrics));
    for probe in [&LIVEZ, &READYZ] {
        router = router.route(
            &format!("/{}", probe.kind),
            any(move |served, method, query| run_probe(probe, None, served, method, query)),
        );
        for name in probe.checks {
            let path = format!("/{}/{}", probe.kind, name.name());
            let run = move |served, method, query| run_probe(probe, Some(*name), served, method, query);
            router = router.route(&path, any(run));
        }
    }
    router.with_state(Served { facts, metrics })
}

/// `/version`; the peer port serves it too.
pub fn version_route(facts: Arc<dyn Facts>, metrics: Metrics) -> Router {
    Router::new().route("/version", any(version)).with_state(Served { facts, metrics })
}

async fn show_metrics(State(served): State<Served>) -> Response {
    served.facts.refresh(&served.metrics);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], served.metrics.render())
        .into_response()
}

async fn version(State(served): State<Served>, method: Method) -> Response {
    if method != Method::GET {
        return method_not_allowed();
    }
    let cluster = served.facts.cluster_version();
    // The storage version follows the cluster's, minor by minor.
    let storage = cluster.clone().unwrap_or_else(|| "unknown".to_owned());
    let cluster = cluster.unwrap_or_else(|| "not_decided".to_owned());
    let body = format!(
        r#"{{"etcdserver":{},"etcdcluster":{},"storage":{},"kvorum":{}}}"#,
        json!(ETCD_VERSION),
        json!(cluster),
        json!(storage),
        json!(KVORUM_VERSION)
    );
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn health(State(served): State<Served>, method: Method, RawQuery(query): RawQuery) -> Response {
    if method != Method::GET {
        return method_not_allowed();
    }
    let query = Query::parse(query);
    let verdict = judge_health(served.facts.as_ref(), &query).await;
    let (word, reason) = match &verdict {
        Ok(()) => ("true", ""),
        Err(reason) => ("false", reason.as_str()),
    };
    let body = format!(r#"{{"health":{},"reason":{}}}"#, json!(word), json!(reason));
    match verdict {
        Ok(()) => {
            served.metrics.health.success.inc();
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
        }
        Err(_) => {
            served.metrics.health.failures.inc();
            tracing::warn!(output = body, status_code = 503, "/health error");
            plain(StatusCode::SERVICE_UNAVAILABLE, body + "\n")
        }
    }
}

/// Alarms, then the leader, then a read.
async fn judge_health(facts: &dyn Facts, query: &Query) -> Result<(), String> {
    for alarm in facts.alarms() {
        let name = alarm_name(alarm.kind);
        if !query.excluded.contains(name) {
            return Err(format!("ALARM {name}"));
        }
    }
    if !query.serializable && !facts.has_leader() {
        return Err(facts.leaderless());
    }
    let read = if query.serializable { facts.serializable_read() } else { facts.linearizable_read().await };
    read.map_err(|error| format!("RANGE ERROR:{error}"))
}

fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// A probe and its checks, in the order in which they are run and shown.
struct Probe {
    kind: &'static str,
    checks: &'static [Check],
}

static LIVEZ: Probe = Probe { kind: "livez", checks: &[Check::SerializableRead] };
static READYZ: Probe = Probe {
    kind: "readyz",
    checks: &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, facts: &dyn Facts) -> Result<(), String> {
        match self {
            Check::DataCorruption if facts.alarms().iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Check::DataCorruption => Ok(()),
            Check::SerializableRead => facts.serializable_read(),
            Check::LinearizableRead => facts.linearizable_read().await,
            Check::NonLearner if facts.is_learner() => Err("not supported for learner".to_owned()),
            Check::NonLearner => Ok(()),
        }
    }
}

/// Runs a probe, or one check of it; only a whole probe heeds `exclude`.
async fn run_probe(
    probe: &'static Probe,
    only: Option<Check>,
    State(served): State<Served>,
    method: Method,
    RawQuery(query): RawQuery,
) -> Response {
    if method != Method::GET {
        return method_not_allowed();
    }
    let query = Query::parse(query);
    let wanted = |check: &Check| match only {
        Some(only) => *check == only,
        None => !query.excluded.contains(check.name()),
    };
    let mut report = String::new();
    let mut failed = false;
    for check in probe.checks.iter().filter(|check| wanted(check)) {
        let result = check.run(served.facts.as_ref()).await;
        served.metrics.health.record(probe.kind, check.name(), result.is_ok());
        failed |= result.is_err();
        let _ = match result {
            Ok(()) => writeln!(report, "[+]{} ok", check.name()),
            Err(error) => writeln!(report, "[-]{} failed: {error}", check.name()),
        };
    }
    if failed {
        tracing::warn!(path = probe.kind, reason = report, status_code = 503, "health check error");
        return plain(StatusCode::SERVICE_UNAVAILABLE, report + "\n");
    }
    plain(StatusCode::OK, if query.verbose { report + "ok\n" } else { "ok\n".to_owned() })
}

/// The parts of a query string that the probes know.
#[derive(Debug, Default)]
struct Query {
    excluded: BTreeSet<String>,
    serializable: bool,
    verbose: bool,
}

impl Query {
    fn parse(text: Option<String>) -> Query {
        let mut query = Query::default();
        let text = text.unwrap_or_default();
        for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match key.as_ref() {
                "exclude" if !value.is_empty() => {
                    query.excluded.insert(value.into_owned());
                }
                "serializable" => query.serializable = value == "true",
                "verbose" => query.verbose = true,
                _ => {}
            }
        }
        query
    }
}

fn method_not_allowed() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

#[cfg(test)]
mod tests;

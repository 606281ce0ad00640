//! What the operator counts: the names that dashboards of other controllers know, and our own.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::api::{Condition, ConditionStatus, ConditionType};
use crate::operator::reconcile::Pass;
use crate::operator::step::Step;

/// The name of the one controller there is, as a label.
const CONTROLLER: &str = "kvorumcluster";

/// As client-go has them, so that dashboards and alerts fit.
const REQUEST_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// A pass asks members and the API server; a change of the membership may take seconds.
const PASS_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0,
    60.0,
];

/// Typed handles; clones share the numbers.
#[derive(Clone)]
pub(super) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    steps: IntCounterVec,
    concurrency: IntGaugeVec,
    passes: IntCounterVec,
    errors: IntCounterVec,
    seconds: HistogramVec,
    active: IntGaugeVec,
    leader: IntGaugeVec,
    ready: IntGaugeVec,
    conditions: IntGaugeVec,
    members: IntGaugeVec,
    applied: IntGaugeVec,
    lag: IntGaugeVec,
}

impl Metrics {
    /// # Errors
    /// When a name is registered twice, which the tests rule out.
    pub(super) fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Metrics {
            requests: counters(
                "rest_client_requests_total",
                "Calls to the API server by how they were answered",
                &["code", "host", "method"],
            )?,
            request_seconds: histograms(
                "rest_client_request_duration_seconds",
                "Time until the API server began to answer",
                &["host", "verb"],
                REQUEST_SECONDS,
            )?,
            steps: counters(
                "kvorum_operator_steps_total",
                "Steps that were performed, by kind",
                &["step", "result"],
            )?,
            concurrency: gauges(
                "controller_runtime_max_concurrent_reconciles",
                "Passes that may be under way at the same time",
                &["controller"],
            )?,
            passes: counters(
                "controller_runtime_reconcile_total",
                "Passes by how they ended",
                &["controller", "result"],
            )?,
            errors: counters(
                "controller_runtime_reconcile_errors_total",
                "Passes that failed",
                &["controller"],
            )?,
            seconds: histograms(
                "controller_runtime_reconcile_time_seconds",
                "Time that a pass took",
                &["controller"],
                PASS_SECONDS,
            )?,
            active: gauges("controller_runtime_active_workers", "Passes under way", &["controller"])?,
            leader: gauges(
                "leader_election_master_status",
                "Whether this replica holds the Lease",
                &["name"],
            )?,
            ready: gauges(
                "kvorum_cluster_ready",
                "Whether a cluster is as its spec says",
                &["namespace", "name"],
            )?,
            conditions: gauges(
                "kvorum_cluster_condition",
                "What a condition of a cluster says: 1 for the status that it has",
                &["namespace", "name", "condition", "status"],
            )?,
            members: gauges(
                "kvorum_cluster_members",
                "Members of a cluster",
                &["namespace", "name", "role", "health"],
            )?,
            applied: gauges(
                "kvorum_member_applied_index",
                "The last entry of the log that a member has applied",
                &["namespace", "name", "member"],
            )?,
            lag: gauges(
                "kvorum_member_lag_entries",
                "Entries that a member has yet to apply, of those that any member has",
                &["namespace", "name", "member"],
            )?,
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        let build = gauges("kvorum_operator_build_info", "The version that runs", &["version"])?;
        build.with_label_values(&[crate::types::KVORUM_VERSION]).set(1);
        self.registry.register(Box::new(build))?;
        self.registry.register(Box::new(self.requests.clone()))?;
        self.registry.register(Box::new(self.request_seconds.clone()))?;
        self.registry.register(Box::new(self.steps.clone()))?;
        self.registry.register(Box::new(self.concurrency.clone()))?;
        self.registry.register(Box::new(self.conditions.clone()))?;
        self.registry.register(Box::new(self.passes.clone()))?;
        self.registry.register(Box::new(self.errors.clone()))?;
        self.registry.register(Box::new(self.seconds.clone()))?;
        self.registry.register(Box::new(self.active.clone()))?;
        self.registry.register(Box::new(self.leader.clone()))?;
        self.registry.register(Box::new(self.ready.clone()))?;
        self.registry.register(Box::new(self.members.clone()))?;
        self.registry.register(Box::new(self.applied.clone()))?;
        self.registry.register(Box::new(self.lag.clone()))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process))
    }

    /// A call to the API server; `code` is its status, or `<error>` when none came.
    pub(super) fn request(&self, host: &str, method: &str, code: &str, took: Duration) {
        self.requests.with_label_values(&[code, host, method]).inc();
        self.request_seconds.with_label_values(&[host, method]).observe(took.as_secs_f64());
    }

    pub(super) fn concurrency(&self, passes: u16) {
        self.concurrency.with_label_values(&[CONTROLLER]).set(passes.into());
    }

    pub(super) fn pass_began(&self) {
        self.active.with_label_values(&[CONTROLLER]).inc();
    }

    /// `result` is `success`, `requeue_after` when more is to be done, or `error`.
    pub(super) fn pass_ended(&self, result: &str, took: Duration) {
        self.active.with_label_values(&[CONTROLLER]).dec();
        self.passes.with_label_values(&[CONTROLLER, result]).inc();
        self.seconds.with_label_values(&[CONTROLLER]).observe(took.as_secs_f64());
        if result == "error" {
            self.errors.with_label_values(&[CONTROLLER]).inc();
        }
    }

    pub(super) fn leads(&self, lease: &str, leads: bool) {
        self.leader.with_label_values(&[lease]).set(i64::from(leads));
    }

    /// What is only numbers, and moves with the load of clients, is here and not in the status.
    pub(super) fn cluster(&self, pass: &Pass) {
        let (cluster, status) = (&pass.observed.cluster, &pass.report.status);
        let of = [cluster.namespace.as_str(), cluster.name.as_str()];
        self.forget(of[0], of[1]);
        let held =
            |held: &Condition| held.kind == ConditionType::Ready && held.status == ConditionStatus::True;
        self.ready.with_label_values(&of).set(i64::from(status.conditions.iter().any(held)));
        for held in &status.conditions {
            let (kind, status) = (format!("{:?}", held.kind), format!("{:?}", held.status));
            self.conditions.with_label_values(&[of[0], of[1], &kind, &status]).set(1);
        }
        self.step(pass);
        for member in &status.members {
            let (role, health) = (format!("{:?}", member.role), format!("{:?}", member.health));
            self.members.with_label_values(&[of[0], of[1], &role, &health]).inc();
        }
        let newest = pass.observed.told().map(|(_, told)| told.last.0).max().unwrap_or_default();
        for (name, told) in pass.observed.told() {
            let labels = [of[0], of[1], &name.to_string()];
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.applied.with_label_values(&labels).set(number(told.applied.0));
            self.lag.with_label_values(&labels).set(number(newest.saturating_sub(told.applied.0)));
        }
    }

    fn step(&self, pass: &Pass) {
        let step = pass.plan.as_ref().map(|plan| &plan.step).filter(|step| **step != Step::Nothing);
        let result = if pass.failure.is_some() { "error" } else { "success" };
        if let Some(step) = step {
            self.steps.with_label_values(&[step.kind(), result]).inc();
        }
    }

    /// Drops all that was told of one cluster: a series that nobody feeds any more would lie.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        for vector in [&self.ready, &self.conditions, &self.members, &self.applied, &self.lag] {
            for family in vector.collect() {
                for metric in family.get_metric() {
                    let labels: HashMap<_, _> =
                        metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
                    if labels.get("namespace") == Some(&namespace) && labels.get("name") == Some(&name) {
                        // It was collected a moment ago and nobody else removes.
                        let _ = vector.remove(&labels);
                    }
                }
            }
        }
    }

    /// All numbers in the text format.
    ///
    /// # Errors
    /// When a collector gives what the format cannot hold.
    pub(super) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn histograms(
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_dashboards_ask_for_are_there() {
        let metrics = Metrics::new().unwrap();
        metrics.pass_began();
        metrics.pass_ended("error", Duration::from_millis(3));
        metrics.leads("kvorum-operator", true);
        metrics.concurrency(8);
        metrics.request("10.0.0.1:443", "PATCH", "200", Duration::from_millis(3));
        metrics.ready.with_label_values(&["prod", "db"]).set(1);
        metrics.ready.with_label_values(&["prod", "gone"]).set(1);
        metrics.forget("prod", "gone");
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "controller_runtime_reconcile_total{controller=\"kvorumcluster\",result=\"error\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"kvorumcluster\"} 1",
            "controller_runtime_active_workers{controller=\"kvorumcluster\"} 0",
            "controller_runtime_max_concurrent_reconciles{controller=\"kvorumcluster\"} 8",
            "rest_client_requests_total{code=\"200\",host=\"10.0.0.1:443\",method=\"PATCH\"} 1",
            "rest_client_request_duration_seconds_count{host=\"10.0.0.1:443\",verb=\"PATCH\"} 1",
            "leader_election_master_status{name=\"kvorum-operator\"} 1",
            "kvorum_cluster_ready{name=\"db\",namespace=\"prod\"} 1",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("gone"), "{text}");
    }
}

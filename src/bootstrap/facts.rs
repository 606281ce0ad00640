//! What probes hear of a member that does not run yet: it lives, it is not ready, and why.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::shared::Shared;
use crate::membership::Alarm;
use crate::telemetry::health::Facts;
use crate::telemetry::metrics::Metrics;

pub(super) struct Starting {
    pub(super) shared: Arc<Shared>,
}

impl Facts for Starting {
    fn has_leader(&self) -> bool {
        false
    }

    /// etcd does not answer at all at this stage, so nobody compares the text.
    fn leaderless(&self) -> String {
        self.shared.own_report().summary()
    }

    fn is_learner(&self) -> bool {
        false
    }

    fn alarms(&self) -> Vec<Alarm> {
        Vec::new()
    }

    /// A member that waits for others must not be killed for it.
    fn serializable_read(&self) -> Result<(), String> {
        Ok(())
    }

    fn linearizable_read(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async { Err(self.shared.own_report().summary()) })
    }

    fn cluster_version(&self) -> Option<String> {
        None
    }

    fn refresh(&self, metrics: &Metrics) {
        let report = self.shared.own_report();
        metrics.set_state(report.state.as_str());
        let waiting = i64::try_from(report.waiting_for.len()).unwrap_or(i64::MAX);
        metrics.own.bootstrap_waiting_for.set(waiting);
    }
}

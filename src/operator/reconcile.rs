//! One pass: observe -> validate -> plan -> perform one step -> report. Holds nothing that a
//! decision depends on.

use std::time::Duration;

use parking_lot::Mutex;

use super::members::Members;
use super::observed::Observed;
use super::plan::{plan, surroundings};
use super::platform::{Platform, PlatformError, Report};
use super::report::{self, Outcome};
use super::step::{Plan, Step};
use super::validate::{Invalid, Validated, validate};

/// After a step that failed: long enough not to hammer whoever refuses, short enough to wait for.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A spec that cannot be carried out waits for an edit.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// Reconciles one cluster on one platform.
pub struct Reconciler<P> {
    pub platform: P,
    members: Members,
    /// The step that failed last and how, to be told until another takes its place.
    failed: Mutex<Option<(Step, String)>>,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Pass {
    pub observed: Observed,
    /// `None` when the spec cannot be carried out.
    pub plan: Option<Plan>,
    pub report: Report,
    /// Why the step failed, if it did.
    pub failure: Option<PlatformError>,
    /// When to pass again even if nothing is heard.
    pub check_again_after: Duration,
}

impl<P: Platform> Reconciler<P> {
    pub fn new(platform: P) -> Self {
        Self { platform, members: Members::default(), failed: Mutex::new(None) }
    }

    /// One pass. The step and its reason are published before it is performed.
    ///
    /// # Errors
    /// When something could not be looked at or published: nothing was performed. A step that
    /// fails is no error here, but [`Pass::failure`].
    pub async fn pass(&self) -> Result<Pass, PlatformError> {
        let (mut observed, found) = self.platform.observe().await?;
        observed.answers = self.members.ask(&observed).await;
        observed.linked = self.members.linked(&observed).await;
        let validated = match validate(&observed) {
            Ok(validated) => validated,
            Err(invalid) => return self.refuse(observed, &invalid).await,
        };
        let wanted = surroundings(&validated, &observed);
        let drifted = self.platform.drifted(&found, &validated, &wanted);
        let plan = plan(&validated, &observed, &drifted);
        let told_before = self.failed.lock().clone().filter(|(step, _)| *step == plan.step);
        let failed = told_before.as_ref().map(|(_, text)| text.as_str());
        let report =
            report::report(&observed, Outcome::Planned { validated: &validated, plan: &plan, failed });
        self.platform.publish(&report, &observed).await?;
        let failure = self.perform(&plan.step, &validated, &observed, &found).await.err();
        *self.failed.lock() = failure.as_ref().map(|failure| (plan.step.clone(), chain(failure)));
        let check_again_after = if failure.is_some() { AFTER_FAILURE } else { plan.check_again_after };
        Ok(Pass { observed, plan: Some(plan), report, failure, check_again_after })
    }

    async fn refuse(&self, observed: Observed, invalid: &Invalid) -> Result<Pass, PlatformError> {
        let report = report::report(&observed, Outcome::Refused { invalid });
        self.platform.publish(&report, &observed).await?;
        Ok(Pass { observed, plan: None, report, failure: None, check_again_after: AFTER_REFUSAL })
    }

    async fn perform(
        &self,
        step: &Step,
        validated: &Validated,
        observed: &Observed,
        found: &P::Found,
    ) -> Result<(), PlatformError> {
        match step {
            Step::Nothing => Ok(()),
            Step::AddLearner { .. }
            | Step::Promote { .. }
            | Step::MoveLeader { .. }
            | Step::Remove { .. } => self.members.change(step, observed).await,
            Step::Apply { .. }
            | Step::Form { .. }
            | Step::Start(_)
            | Step::Stop { .. }
            | Step::ReleaseDisk { .. }
            | Step::Dismantle { .. } => self.platform.perform(step, validated, observed, found).await,
        }
    }
}

/// The error with all that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

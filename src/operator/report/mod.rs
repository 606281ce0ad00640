//! What a pass makes known: status, conditions, and an event. Pure: the same view and plan give
//! the same status, so that a steady cluster causes no writes.

mod conditions;
mod members;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::build::selector;
use super::observed::Observed;
use super::plan::Roster;
use super::platform::{Event, Report};
use super::reason::Reason;
use super::step::{Plan, Step};
use super::validate::{Invalid, Validated};
use crate::api::{
    ConditionStatus, ConditionType, KvorumClusterStatus, Operation, OperationKind, Phase, Replaced,
};

/// What came of planning.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// The spec cannot be carried out.
    Refused { invalid: &'a Invalid },
    /// `failed` is why the same step failed the last time it was tried.
    Planned { validated: &'a Validated, plan: &'a Plan, failed: Option<&'a str> },
}

impl Outcome<'_> {
    fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Refused { .. } => None,
            Self::Planned { plan, .. } => Some(plan),
        }
    }
}

/// The status, and the event if there is news.
pub fn report(observed: &Observed, outcome: Outcome<'_>) -> Report {
    let roster = Roster::of(observed);
    let members = members::members(observed, roster.as_ref());
    let ready = members::in_health(observed, roster.as_ref());
    let pending = match outcome {
        Outcome::Refused { .. } => observed.status.pending_changes.clone(),
        Outcome::Planned { validated, .. } => members::pending_changes(validated, observed),
    };
    let conditions = conditions::conditions(observed, roster.as_ref(), outcome, &pending);
    let operation = operation(observed, outcome);
    let status = KvorumClusterStatus {
        observed_generation: observed.generation,
        phase: Some(phase(&conditions, outcome)),
        cluster_id: observed.cluster_id().map(|id| id.to_string()),
        leader: members.iter().find(|member| member.leader).map(|member| member.name.clone()),
        version: members::common_version(observed),
        replicas: members::voters(&members),
        ready_members: Some(format!("{ready}/{}", observed.spec.replicas)),
        selector: Some(selector(&observed.cluster.name)),
        next_ordinal: i32::try_from(observed.next_ordinal()).unwrap_or(i32::MAX),
        pending_changes: pending,
        operation,
        replaced: replaced(observed, outcome),
        members,
        conditions,
    };
    let event = event(observed, &status, outcome);
    Report { status, event }
}

fn operation(observed: &Observed, outcome: Outcome<'_>) -> Option<Operation> {
    let Outcome::Planned { plan, failed, .. } = outcome else { return None };
    let kind = plan.operation?;
    let before = observed.status.operation.as_ref().filter(|before| before.kind == kind);
    let started_at = before.and_then(|before| before.started_at.clone());
    let step = match &plan.step {
        Step::Nothing => format!("wait: {}", plan.reason),
        step => step.to_string(),
    };
    let waiting_on = plan.waiting_on.as_ref().map(ToString::to_string);
    Some(Operation {
        kind,
        member: plan.member.as_ref().map(ToString::to_string),
        step: bounded(step),
        reason: bounded(plan.reason.to_string()),
        waiting_on: failed
            .map(|failed| failed.strip_prefix(&format!("{}: ", plan.step)).unwrap_or(failed))
            .map(|failed| format!("another try, since the last one failed: {failed}"))
            .or(waiting_on)
            .map(bounded),
        started_at: started_at.or(Some(Time(observed.now))),
    })
}

/// With the removal that this plan begins; one that is tried again is not told twice.
fn replaced(observed: &Observed, outcome: Outcome<'_>) -> Vec<Replaced> {
    let mut all = observed.status.replaced.clone();
    let removal = match outcome.plan() {
        Some(Plan { step: Step::Remove { member, .. }, reason, .. }) => Some((member, reason)),
        _ => None,
    };
    // One that moves because a person asked has not failed.
    if let Some((member, reason @ Reason::MemberFailed { .. })) = removal {
        let member = member.to_string();
        if all.iter().all(|told| told.member != member) {
            all.push(Replaced { member, because: bounded(reason.to_string()), at: Time(observed.now) });
        }
    }
    let over = all.len().saturating_sub(REPLACED_MAX);
    all.split_off(over)
}

/// As the schema bounds `status.replaced`.
const REPLACED_MAX: usize = 16;

/// As the schema bounds the texts of an operation.
const TEXT_CHARACTERS_MAX: usize = 1024;

fn bounded(text: String) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

fn phase(conditions: &[crate::api::Condition], outcome: Outcome<'_>) -> Phase {
    let is = |kind, status| conditions.iter().any(|held| held.kind == kind && held.status == status);
    let Some(plan) = outcome.plan() else { return Phase::Refused };
    match (&plan.reason, plan.operation) {
        (Reason::Deleting, _) => Phase::Deleting,
        (Reason::Paused, _) => Phase::Paused,
        (Reason::ForeignDisks { .. } | Reason::SplitIdentity { .. }, _) => Phase::Refused,
        (_, Some(OperationKind::Form)) => Phase::Forming,
        _ if is(ConditionType::Available, ConditionStatus::Unknown) => Phase::Pending,
        _ if is(ConditionType::Available, ConditionStatus::False) => Phase::Unavailable,
        _ if is(ConditionType::Degraded, ConditionStatus::True) => Phase::Degraded,
        (_, Some(_)) => Phase::Changing,
        _ => Phase::Running,
    }
}

/// News: a step that was not the one before, another thing that is waited for, or Ready that has
/// changed.
fn event(observed: &Observed, status: &KvorumClusterStatus, outcome: Outcome<'_>) -> Option<Event> {
    let before = observed.status.operation.as_ref();
    let now = status.operation.as_ref();
    let told = |operation: Option<&Operation>| {
        operation.map(|told| (told.member.clone(), told.step.clone(), told.waiting_on.clone()))
    };
    if let (Some(plan), Some(operation)) = (outcome.plan(), now) {
        if told(before) == told(now) {
            return None;
        }
        let waits =
            operation.waiting_on.as_ref().map(|waits| format!("; waits for {waits}")).unwrap_or_default();
        let (reason, note) = match &plan.step {
            Step::Nothing => ("Waiting".to_owned(), format!("{}{waits}", plan.reason)),
            step => (step.kind().to_owned(), format!("{step}: {}{waits}", plan.reason)),
        };
        return Some(Event { warning: false, reason, note });
    }
    let ready = |status: &KvorumClusterStatus| {
        let held = status.conditions.iter().find(|held| held.kind == ConditionType::Ready);
        held.map(|held| (held.status, held.reason, held.message.clone()))
    };
    let (held, reason, message) = ready(status)?;
    let unchanged = ready(&observed.status).is_some_and(|(was, why, _)| (was, why) == (held, reason));
    // Upkeep that nobody asked for is no news once it is done.
    if unchanged && before.is_none_or(|before| before.kind == OperationKind::Maintain) {
        return None;
    }
    Some(Event { warning: held != ConditionStatus::True, reason: format!("{reason:?}"), note: message })
}

#[cfg(test)]
mod tests;

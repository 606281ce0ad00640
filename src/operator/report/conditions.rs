//! The conditions, each with a reason of the closed list and the same in words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Outcome;
use crate::api::{Condition, ConditionReason, ConditionStatus, ConditionType, OperationKind, PendingChange};
use crate::operator::observed::{Observed, ProcessState};
use crate::operator::plan::Roster;
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::Plan;

/// Whether, why, and the same in words.
type Verdict = (ConditionStatus, ConditionReason, String);

/// As the schema bounds a message.
const MESSAGE_CHARACTERS_MAX: usize = 4096;

pub(super) fn conditions(
    observed: &Observed,
    roster: Option<&Roster<'_>>,
    outcome: Outcome<'_>,
    pending: &[PendingChange],
) -> Vec<Condition> {
    let available = available(observed, roster, outcome);
    let progressing = progressing(outcome);
    let degraded = degraded(roster, outcome, &available);
    let ready = ready(observed, roster, outcome, pending, [&available, &progressing, &degraded]);
    let verdicts = [
        (ConditionType::Ready, ready),
        (ConditionType::Available, available),
        (ConditionType::Progressing, progressing),
        (ConditionType::Degraded, degraded),
    ];
    verdicts.into_iter().map(|(kind, verdict)| condition(observed, kind, verdict)).collect()
}

/// The time of the last change stays while the status does.
fn condition(observed: &Observed, kind: ConditionType, (status, reason, message): Verdict) -> Condition {
    let before = observed.status.conditions.iter().find(|before| before.kind == kind);
    let since =
        before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    Condition {
        kind,
        status,
        reason,
        message: message.chars().take(MESSAGE_CHARACTERS_MAX).collect(),
        last_transition_time: since.unwrap_or(Time(observed.now)),
        observed_generation: observed.generation,
    }
}

fn available(observed: &Observed, roster: Option<&Roster<'_>>, outcome: Outcome<'_>) -> Verdict {
    use ConditionReason::{NotFormed, QuorumHealthy, QuorumLost, StaleView};
    if let Some(roster) = roster {
        let (healthy, voters) = (roster.healthy_voters(), roster.voters());
        return (ConditionStatus::True, QuorumHealthy, format!("{healthy} of {voters} voters serve"));
    }
    if observed.cluster_id().is_none() {
        return (ConditionStatus::False, NotFormed, "the cluster has not formed".to_owned());
    }
    if outcome.plan().is_some_and(|plan| plan.operation == Some(OperationKind::Form)) {
        return (ConditionStatus::False, NotFormed, "the first leader has yet to be elected".to_owned());
    }
    let running = observed.processes.values().any(|process| process.state == ProcessState::Running);
    if running && observed.told().next().is_none() {
        let message = "members run, and none of them answers the operator".to_owned();
        return (ConditionStatus::Unknown, StaleView, message);
    }
    (ConditionStatus::False, QuorumLost, "no member has heard from a majority".to_owned())
}

fn progressing(outcome: Outcome<'_>) -> Verdict {
    let settled = |message: &str| (ConditionStatus::False, ConditionReason::Settled, message.to_owned());
    let Outcome::Planned { plan, failed, .. } = outcome else {
        return settled("the spec cannot be carried out");
    };
    if plan.reason == Reason::Paused {
        return (ConditionStatus::False, ConditionReason::Paused, plan.reason.to_string());
    }
    let Some(kind) = plan.operation else { return settled("nothing is in progress") };
    let mut message = plan.reason.to_string();
    if let Some(waiting_on) = &plan.waiting_on {
        message.push_str(&format!("; waits for {waiting_on}"));
    }
    if let Some(failed) = failed {
        message.push_str(&format!("; the last try failed: {failed}"));
    }
    let reason = match (kind, &plan.waiting_on) {
        (_, Some(WaitingOn::Health { .. } | WaitingOn::Successor { .. })) => {
            ConditionReason::WaitingForSafety
        }
        (OperationKind::Form, _) => ConditionReason::Forming,
        (OperationKind::ScaleOut, _) => ConditionReason::ScalingOut,
        (OperationKind::ScaleIn, _) => ConditionReason::ScalingIn,
        (OperationKind::Roll, _) => ConditionReason::Rolling,
        (OperationKind::Restore, _) => ConditionReason::RestoringMember,
        (OperationKind::Replace, _) => ConditionReason::Replacing,
        (OperationKind::Maintain, _) => ConditionReason::Maintaining,
        (OperationKind::Delete, _) => ConditionReason::Deleting,
    };
    (ConditionStatus::True, reason, message)
}

fn degraded(roster: Option<&Roster<'_>>, outcome: Outcome<'_>, available: &Verdict) -> Verdict {
    let degraded = |reason, message: String| (ConditionStatus::True, reason, message);
    let plan = match outcome {
        Outcome::Refused { invalid } => return degraded(ConditionReason::InvalidSpec, invalid.to_string()),
        Outcome::Planned { plan, .. } => plan,
    };
    match &plan.reason {
        Reason::ForeignDisks { .. } => {
            return degraded(ConditionReason::ForeignDisks, plan.reason.to_string());
        }
        Reason::SplitIdentity { .. } => {
            return degraded(ConditionReason::MembershipDrift, plan.reason.to_string());
        }
        Reason::StaleView { .. } => return degraded(ConditionReason::StaleView, plan.reason.to_string()),
        _ => {}
    }
    let Some(roster) = roster else {
        return match available.1 {
            ConditionReason::QuorumLost | ConditionReason::StaleView => {
                degraded(available.1, available.2.clone())
            }
            _ => nothing_wrong(),
        };
    };
    of_members(roster, plan)
}

fn of_members(roster: &Roster<'_>, plan: &Plan) -> Verdict {
    let degraded = |reason, message: String| (ConditionStatus::True, reason, message);
    if let Some(seat) = roster.seats.iter().find(|seat| seat.disk.is_none() && seat.listed.started()) {
        return degraded(ConditionReason::DiskMissing, format!("the disk of {} is not there", seat.name));
    }
    if !roster.foreign.is_empty() {
        let count = roster.foreign.len();
        let message =
            format!("{count} members were not made by the operator; they are counted and left alone");
        return degraded(ConditionReason::MembershipDrift, message);
    }
    let unhealthy = roster.unhealthy_voters();
    // A member that is being restarted on purpose is no fault.
    let on_purpose = plan.operation == Some(OperationKind::Roll);
    if unhealthy.is_empty() || on_purpose {
        return nothing_wrong();
    }
    degraded(ConditionReason::MemberUnhealthy, Reason::MemberUnhealthy { members: unhealthy }.to_string())
}

fn nothing_wrong() -> Verdict {
    (ConditionStatus::False, ConditionReason::Settled, "nothing needs attention".to_owned())
}

/// Ready says in one word what matters most: what is broken before what is in progress.
fn ready(
    observed: &Observed,
    roster: Option<&Roster<'_>>,
    outcome: Outcome<'_>,
    pending: &[PendingChange],
    [available, progressing, degraded]: [&Verdict; 3],
) -> Verdict {
    let not_ready = |(_, reason, message): &Verdict| (ConditionStatus::False, *reason, message.clone());
    let plan = match outcome {
        Outcome::Refused { .. } => return not_ready(degraded),
        Outcome::Planned { plan, .. } => plan,
    };
    if plan.reason == Reason::Deleting {
        return (ConditionStatus::False, ConditionReason::Deleting, plan.reason.to_string());
    }
    if available.0 == ConditionStatus::Unknown {
        return available.clone();
    }
    if degraded.0 == ConditionStatus::True {
        return not_ready(degraded);
    }
    if progressing.0 == ConditionStatus::True {
        return not_ready(progressing);
    }
    if available.0 != ConditionStatus::True {
        return not_ready(available);
    }
    let wanted = usize::try_from(observed.spec.replicas).unwrap_or_default();
    let complete =
        roster.is_some_and(|roster| roster.healthy_voters() == wanted && roster.voters() == wanted);
    match complete && pending.is_empty() {
        true => (
            ConditionStatus::True,
            ConditionReason::AsSpecified,
            format!("all {wanted} members serve as specified"),
        ),
        false => not_ready(progressing),
    }
}

//! What to do next: a pure function from what was observed to at most one step.
//!
//! [`plan`] asks its questions in a fixed order and the first answer wins. A question that finds
//! its step unsafe answers with `Nothing` and what it waits for, so that nothing further down is
//! begun in the middle of something. Every step that touches the membership or a running member
//! first asks `safety`.
//!
//! Nothing is remembered between two passes: a member that was added and never started is found
//! in the list by its peer URL, a process without a member is found without anybody knowing
//! which removal it was left from.

mod bootstrap;
mod drift;
mod evidence;
mod replace;
mod restore;
mod rollout;
mod roster;
mod safety;
mod scale;

use std::time::Duration;

pub use drift::surroundings;
pub(super) use evidence::unreachable_since;
pub(super) use roster::{Roster, Seat};

use super::names::MemberName;
use super::observed::Observed;
use super::reason::{Reason, WaitingOn};
use super::step::{Plan, Step};
use super::validate::Validated;
use crate::api::{OperationKind, RetentionPolicy};

/// While something is waited for that no watch tells of, such as a learner catching up.
const CHECK_WAITING_AFTER: Duration = Duration::from_millis(500);

/// With nothing to do: health is asked for, nobody tells of it.
const CHECK_STEADY_AFTER: Duration = Duration::from_secs(10);

/// Objects that were looked at longer ago than this say nothing about now.
const OBJECTS_AGE_MAX: Duration = Duration::from_secs(30);

/// The step to take now. `drifted` names what the platform found to differ from
/// [`surroundings`].
pub fn plan(validated: &Validated, observed: &Observed, drifted: &[String]) -> Plan {
    if observed.objects_age > OBJECTS_AGE_MAX {
        return wait(Reason::StaleView { age: observed.objects_age }, Some(WaitingOn::Answers), None, None);
    }
    let first = deletion(validated, observed)
        .or_else(|| paused(validated))
        .or_else(|| bootstrap::plan(validated, observed, drifted))
        .or_else(|| drift::plan(validated, observed, drifted));
    if let Some(plan) = first {
        return plan;
    }
    let Some(roster) = Roster::of(observed) else {
        return restore::without_list(validated, observed);
    };
    restore::processes(validated, &roster)
        .or_else(|| restore::quorum(&roster))
        .or_else(|| restore::leftovers(validated, &roster))
        .or_else(|| replace::plan(validated, &roster))
        .or_else(|| scale::plan(validated, &roster))
        .or_else(|| rollout::plan(validated, &roster))
        .unwrap_or_else(|| restore::health(validated, &roster))
}

fn deletion(validated: &Validated, observed: &Observed) -> Option<Plan> {
    if !observed.deleting {
        return None;
    }
    let policy = validated.retention.on_delete;
    let ours = |owner: &str| owner == observed.cluster.uid;
    let processes = &observed.processes;
    let running = processes.values().any(|process| !process.state.is_stopping());
    let disks = policy == RetentionPolicy::Delete
        && processes.is_empty()
        && observed
            .disks
            .values()
            .any(|disk| !disk.is_leaving() && disk.mark.as_ref().is_some_and(|mark| ours(&mark.owner)));
    if running || disks {
        return Some(act(Step::Dismantle { policy }, Reason::Deleting, OperationKind::Delete, None));
    }
    let stopping: Vec<_> = processes.keys().cloned().collect();
    let waiting_on = (!stopping.is_empty()).then_some(WaitingOn::Stopping { members: stopping });
    Some(wait(Reason::Deleting, waiting_on, Some(OperationKind::Delete), None))
}

fn paused(validated: &Validated) -> Option<Plan> {
    validated.paused.then(|| rest(Reason::Paused))
}

/// A step to perform now.
fn act(step: Step, reason: Reason, operation: OperationKind, member: Option<&MemberName>) -> Plan {
    Plan {
        step,
        reason,
        waiting_on: None,
        operation: Some(operation),
        member: member.cloned(),
        check_again_after: Duration::ZERO,
    }
}

/// Something is to be done and has to wait.
fn wait(
    reason: Reason,
    waiting_on: Option<WaitingOn>,
    operation: Option<OperationKind>,
    member: Option<&MemberName>,
) -> Plan {
    Plan {
        step: Step::Nothing,
        reason,
        waiting_on,
        operation,
        member: member.cloned(),
        check_again_after: CHECK_WAITING_AFTER,
    }
}

/// Nothing is to be done.
fn rest(reason: Reason) -> Plan {
    Plan {
        step: Step::Nothing,
        reason,
        waiting_on: None,
        operation: None,
        member: None,
        check_again_after: CHECK_STEADY_AFTER,
    }
}

#[cfg(test)]
mod tests;

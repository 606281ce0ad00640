//! Has a member failed? It leaves, and the question after this one finds the cluster too small and
//! brings a new member with a new name and a new disk.
//!
//! In that order, for the servers' own checks take nobody new while a voter is down; and a failed
//! voter that has left no longer counts against the majority. What is removed is only what does not
//! serve, so a removal spends nothing; that the rest can do without it, `safety` sees to.

use jiff::{SignedDuration, Timestamp};

use super::evidence::{self, Evidence};
use super::roster::{Roster, Seat};
use super::{act, safety, wait};
use crate::api::OperationKind;
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::{Plan, Step};
use crate::operator::validate::Validated;

/// The span over which `spec.replacement.maxPerHour` counts.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Without contact for no longer than this a member may just be starting.
const RESTARTED_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// A member that has failed, and what shows it.
pub(super) struct Failed<'r, 'o> {
    pub(super) seat: &'r Seat<'o>,
    why: String,
}

pub(super) fn plan(validated: &Validated, roster: &Roster<'_>) -> Option<Plan> {
    let Failed { seat, why } = failed(validated, roster)?;
    let member = &seat.name;
    let reason = Reason::MemberFailed { member: member.clone(), why };
    let operation = Some(OperationKind::Replace);
    if let Some(again_at) = spent_until(validated, roster, seat) {
        let waiting_on = WaitingOn::Budget { per_hour: validated.spec.replacement.max_per_hour, again_at };
        return Some(wait(reason, Some(waiting_on), operation, Some(member)));
    }
    if let Some(waiting_on) = safety::against_removing(roster, seat) {
        return Some(wait(reason, Some(waiting_on), operation, Some(member)));
    }
    let step = Step::Remove { member: member.clone(), id: seat.listed.id };
    Some(act(step, reason, OperationKind::Replace, Some(member)))
}

/// The member that is to be replaced next. A learner that is on its way goes first: promoted it
/// makes the cluster stronger at once.
pub(super) fn failed<'r, 'o>(validated: &Validated, roster: &'r Roster<'o>) -> Option<Failed<'r, 'o>> {
    let finishing = roster.learners().any(|learner| learner.healthy() && roster.in_step(learner));
    // Two hands at the membership are one too many; and a smaller cluster drops who is down first.
    let others_turn = finishing || !roster.foreign.is_empty() || roster.seats.len() > validated.replicas;
    let asked = |seat: &Seat<'_>| roster.observed.asked_to_move.as_ref() == Some(&seat.name);
    let judged = |seat: &'r Seat<'o>| {
        let allowed = validated.spec.replacement.enabled || asked(seat);
        let why = allowed.then(|| why_failed(validated, roster, seat))??;
        Some(Failed { seat, why })
    };
    if others_turn { None } else { roster.seats.iter().find_map(judged) }
}

fn why_failed(validated: &Validated, roster: &Roster<'_>, seat: &Seat<'_>) -> Option<String> {
    match evidence::of(roster, seat) {
        Evidence::DiskLost { detail } | Evidence::Corrupt { detail } => Some(detail),
        Evidence::Unreachable { since } => {
            let overdue = roster.observed.now >= fails_at(validated, since);
            overdue.then(|| format!("the leader has had no contact with it since {}", seconds(since)))
        }
        Evidence::Running | Evidence::Restarting | Evidence::Unknown => None,
    }
}

/// What is waited for while a member is away, for longer than a restart takes, and has not failed yet.
pub(super) fn return_of(validated: &Validated, roster: &Roster<'_>) -> Option<WaitingOn> {
    if !validated.spec.replacement.enabled || !roster.foreign.is_empty() {
        return None;
    }
    roster.seats.iter().find_map(|seat| match evidence::of(roster, seat) {
        Evidence::Unreachable { since } if roster.observed.now.duration_since(since) > RESTARTED_WITHIN => {
            Some(WaitingOn::Return { member: seat.name.clone(), replaced_at: fails_at(validated, since) })
        }
        _ => None,
    })
}

fn fails_at(validated: &Validated, since: Timestamp) -> Timestamp {
    let after = SignedDuration::from_secs(validated.spec.replacement.unhealthy_after_seconds.into());
    since.saturating_add(after).unwrap_or(Timestamp::MAX)
}

/// When the next replacement may be; `None` when it may be now. One that is tried again is not
/// counted twice.
fn spent_until(validated: &Validated, roster: &Roster<'_>, seat: &Seat<'_>) -> Option<Timestamp> {
    let name = seat.name.to_string();
    let now = roster.observed.now;
    let counted = roster.observed.status.replaced.iter().filter(|replaced| replaced.member != name);
    let lately: Vec<_> =
        counted.map(|replaced| replaced.at.0).filter(|at| now.duration_since(*at) < HOUR).collect();
    let budget = usize::try_from(validated.spec.replacement.max_per_hour).unwrap_or_default();
    let over = lately.len().checked_sub(budget)?;
    lately.get(over).map(|at| at.saturating_add(HOUR).unwrap_or(Timestamp::MAX))
}

/// To the second: people compare it with their clocks.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

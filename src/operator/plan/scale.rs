//! Are there as many members as wanted? One joins or leaves at a time.
//!
//! Out: add as learner, start it, promote it when it is in step, then the next. In: first members
//! that are down, then learners, then the newest; the leader last of those, after handing over.
//! Clients are led away from a member before it leaves.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::roster::{Roster, Seat};
use super::{act, safety, wait};
use crate::api::OperationKind;
use crate::operator::names::MemberName;
use crate::operator::observed::{Process, ProcessState};
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::{Plan, Step};
use crate::operator::validate::Validated;

/// A member stays this long after clients are led away from it, until whoever leads them has heard:
/// in Kubernetes each node within about a second.
const LED_AWAY_FOR: SignedDuration = SignedDuration::from_millis(1_500);

pub(super) fn plan(validated: &Validated, roster: &Roster<'_>) -> Option<Plan> {
    // Somebody changes the membership by hand: two hands at it are one too many.
    if !roster.foreign.is_empty() {
        return None;
    }
    let (have, want) = (roster.seats.len(), wanted(validated, roster));
    if have > want {
        let reason = Reason::TooMany { have, want: validated.replicas };
        return Some(leave(roster, &departing(validated, roster), reason, OperationKind::ScaleIn));
    }
    if let Some(learner) = roster.learners().next() {
        return Some(promote(roster, learner));
    }
    let moving = moving(roster).map(|seat| seat.name.clone());
    if have < want {
        let reason = match moving {
            Some(member) if have >= validated.replicas => Reason::AskedToMove { member },
            _ => Reason::TooFew { have, want: validated.replicas },
        };
        return Some(scale_out(roster, reason));
    }
    let member = moving?;
    let reason = Reason::AskedToMove { member };
    Some(leave(roster, &departing(validated, roster), reason, OperationKind::Replace))
}

/// While a member moves there is one more, so that the cluster is never smaller.
fn wanted(validated: &Validated, roster: &Roster<'_>) -> usize {
    validated.replicas + usize::from(moving(roster).is_some())
}

/// The member that a person asks to be moved, as long as it is one.
fn moving<'r, 'o>(roster: &'r Roster<'o>) -> Option<&'r Seat<'o>> {
    let asked = roster.observed.asked_to_move.as_ref()?;
    roster.seat(asked).filter(|seat| !seat.listed.learner)
}

/// What adds a member goes on under the name that it began with.
fn growing(roster: &Roster<'_>) -> OperationKind {
    let last = roster.observed.status.operation.as_ref().map(|last| last.kind);
    let replacing = last == Some(OperationKind::Replace) || moving(roster).is_some();
    if replacing { OperationKind::Replace } else { OperationKind::ScaleOut }
}

fn scale_out(roster: &Roster<'_>, reason: Reason) -> Plan {
    let observed = roster.observed;
    let operation = growing(roster);
    if let Some(waiting_on) = safety::against_adding(roster) {
        return wait(reason, Some(waiting_on), Some(operation), None);
    }
    let member = observed.member(observed.next_ordinal());
    let peer_url = observed.addressing.peer_url(&member);
    let step = Step::AddLearner { member: member.clone(), peer_url };
    act(step, reason, operation, Some(&member))
}

fn promote(roster: &Roster<'_>, learner: &Seat<'_>) -> Plan {
    let member = &learner.name;
    let catching_up = Reason::LearnerCatchesUp { member: member.clone() };
    let operation = Some(growing(roster));
    if let Some(waiting_on) = not_yet(roster, learner) {
        return wait(catching_up, Some(waiting_on), operation, Some(member));
    }
    let reason = Reason::LearnerInStep { member: member.clone() };
    if let Some(waiting_on) = safety::against_promoting(roster, learner) {
        return wait(reason, Some(waiting_on), operation, Some(member));
    }
    let step = Step::Promote { member: member.clone(), id: learner.listed.id };
    act(step, reason, growing(roster), Some(member))
}

fn not_yet(roster: &Roster<'_>, learner: &Seat<'_>) -> Option<WaitingOn> {
    let member = learner.name.clone();
    match learner.process.map(|process| &process.state) {
        Some(ProcessState::Failing { detail } | ProcessState::Ended { detail }) => {
            Some(WaitingOn::Process { member, detail: detail.clone() })
        }
        Some(ProcessState::Stopping) => Some(WaitingOn::Stopping { members: vec![member] }),
        None | Some(ProcessState::Starting { .. }) => Some(WaitingOn::Starting { members: vec![member] }),
        Some(ProcessState::Running) if learner.told.is_none() => {
            Some(WaitingOn::Starting { members: vec![member] })
        }
        Some(ProcessState::Running) => {
            let ready = learner.healthy() && roster.in_step(learner);
            (!ready).then_some(WaitingOn::CatchUp { member })
        }
    }
}

/// The first of these leaves, if that is safe.
fn leave(roster: &Roster<'_>, victims: &[MemberName], reason: Reason, kind: OperationKind) -> Plan {
    let operation = Some(kind);
    let Some(victim) = victims.first().and_then(|name| roster.seat(name)) else {
        return wait(reason, None, operation, None);
    };
    let member = &victim.name;
    if let Some(waiting_on) = safety::against_removing(roster, victim) {
        return wait(reason, Some(waiting_on), operation, Some(member));
    }
    let still_led: Vec<_> = victims.iter().filter(|name| still_led(roster, name)).cloned().collect();
    if still_led.contains(member) {
        let waiting_on = WaitingOn::LedAway { members: still_led };
        return wait(reason, Some(waiting_on), operation, Some(member));
    }
    if roster.is_leader(victim.listed.id) {
        return hand_over(roster, victim, victims, kind);
    }
    let step = Step::Remove { member: member.clone(), id: victim.listed.id };
    act(step, reason, kind, Some(member))
}

/// The voters that are about to leave; none as long as the first of them may not.
pub(super) fn leaving(validated: &Validated, roster: &Roster<'_>) -> BTreeSet<MemberName> {
    let victims = departing(validated, roster);
    let first = victims.first().and_then(|name| roster.seat(name));
    if first.is_none_or(|first| safety::against_removing(roster, first).is_some()) {
        return BTreeSet::new();
    }
    victims.into_iter().filter(|name| serves_clients(roster, name).is_some()).collect()
}

/// Which members are to leave now, in the order in which they do.
fn departing(validated: &Validated, roster: &Roster<'_>) -> Vec<MemberName> {
    let (have, want) = (roster.seats.len(), wanted(validated, roster));
    if !roster.foreign.is_empty() || have < want {
        return Vec::new();
    }
    let moves = moving(roster).filter(|_| roster.learners().next().is_none());
    match have - want {
        0 => moves.map(|seat| seat.name.clone()).into_iter().collect(),
        over => victims(roster, over),
    }
}

/// The process of a member to which clients could be led: a voter that is ready.
fn serves_clients<'a>(roster: &Roster<'a>, name: &MemberName) -> Option<&'a Process> {
    let seat = roster.seat(name).filter(|seat| !seat.listed.learner)?;
    seat.process.filter(|process| process.ready)
}

/// Whether a client on a fresh connection may still be led to the member.
fn still_led(roster: &Roster<'_>, name: &MemberName) -> bool {
    let Some(process) = serves_clients(roster, name) else { return false };
    let now = roster.observed.now;
    process.led_away_since.is_none_or(|since| now.duration_since(since) < LED_AWAY_FOR)
}

/// So many of the members that the cluster can best do without, in the order in which they leave.
fn victims(roster: &Roster<'_>, count: usize) -> Vec<MemberName> {
    let mut seats: Vec<_> = roster.seats.iter().collect();
    seats.sort_by_key(|seat| (seat.healthy(), !seat.listed.learner, Reverse(seat.name.ordinal())));
    seats.truncate(count);
    seats.sort_by_key(|seat| roster.is_leader(seat.listed.id));
    seats.into_iter().map(|seat| seat.name.clone()).collect()
}

/// The leader hands over to a member that stays.
pub(super) fn hand_over(
    roster: &Roster<'_>,
    leader: &Seat<'_>,
    leaving: &[MemberName],
    operation: OperationKind,
) -> Plan {
    let reason = Reason::LeaderGoesLast { member: leader.name.clone() };
    match roster.successor(leaving) {
        Some(to) => {
            let step =
                Step::MoveLeader { from: leader.name.clone(), to: to.name.clone(), to_id: to.listed.id };
            act(step, reason, operation, Some(&leader.name))
        }
        None => {
            let waiting_on = WaitingOn::Successor { leader: leader.name.clone() };
            wait(reason, Some(waiting_on), Some(operation), Some(&leader.name))
        }
    }
}

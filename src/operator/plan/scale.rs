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
    let (have, want) = (roster.seats.len(), validated.replicas);
    if have > want {
        return Some(scale_in(roster, have, want));
    }
    if let Some(learner) = roster.learners().next() {
        return Some(promote(roster, learner));
    }
    (have < want).then(|| scale_out(roster, have, want))
}

fn scale_out(roster: &Roster<'_>, have: usize, want: usize) -> Plan {
    let observed = roster.observed;
    let reason = Reason::TooFew { have, want };
    if let Some(waiting_on) = safety::against_adding(roster) {
        return wait(reason, Some(waiting_on), Some(OperationKind::ScaleOut), None);
    }
    let member = observed.member(observed.next_ordinal());
    let peer_url = observed.addressing.peer_url(&member);
    let step = Step::AddLearner { member: member.clone(), peer_url };
    act(step, reason, OperationKind::ScaleOut, Some(&member))
}

fn promote(roster: &Roster<'_>, learner: &Seat<'_>) -> Plan {
    let member = &learner.name;
    let catching_up = Reason::LearnerCatchesUp { member: member.clone() };
    let operation = Some(OperationKind::ScaleOut);
    if let Some(waiting_on) = not_yet(roster, learner) {
        return wait(catching_up, Some(waiting_on), operation, Some(member));
    }
    let reason = Reason::LearnerInStep { member: member.clone() };
    if let Some(waiting_on) = safety::against_promoting(roster, learner) {
        return wait(reason, Some(waiting_on), operation, Some(member));
    }
    let step = Step::Promote { member: member.clone(), id: learner.listed.id };
    act(step, reason, OperationKind::ScaleOut, Some(member))
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

fn scale_in(roster: &Roster<'_>, have: usize, want: usize) -> Plan {
    let reason = Reason::TooMany { have, want };
    let operation = Some(OperationKind::ScaleIn);
    let victims = victims(roster, have - want);
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
        return hand_over(roster, victim, &victims, OperationKind::ScaleIn);
    }
    let step = Step::Remove { member: member.clone(), id: victim.listed.id };
    act(step, reason, OperationKind::ScaleIn, Some(member))
}

/// The voters that are about to leave; none as long as the first of them may not.
pub(super) fn leaving(validated: &Validated, roster: &Roster<'_>) -> BTreeSet<MemberName> {
    let (have, want) = (roster.seats.len(), validated.replicas);
    if have <= want || !roster.foreign.is_empty() {
        return BTreeSet::new();
    }
    let victims = victims(roster, have - want);
    let first = victims.first().and_then(|name| roster.seat(name));
    if first.is_none_or(|first| safety::against_removing(roster, first).is_some()) {
        return BTreeSet::new();
    }
    victims.into_iter().filter(|name| serves_clients(roster, name).is_some()).collect()
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

/// Which members leave, in the order in which they do.
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

//! Does every member run with the settings of the spec? They are restarted one at a time, in the
//! order of their ordinals, the leader last after handing over. The next goes only when the last
//! one serves again with the new settings, so settings that break a member break one.

use super::roster::{Roster, Seat};
use super::{act, restore, safety, scale, wait};
use crate::api::OperationKind;
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::{Plan, Step};
use crate::operator::validate::Validated;

pub(super) fn plan(validated: &Validated, roster: &Roster<'_>) -> Option<Plan> {
    let wanted = &validated.settings;
    let mut behind: Vec<_> =
        roster.seats.iter().filter(|seat| seat.running() && !seat.outdated(wanted).is_empty()).collect();
    // Those that are of no use as they are first, the leader last.
    behind.sort_by_key(|seat| (roster.is_leader(seat.listed.id), seat.healthy(), seat.name.ordinal()));
    let next = *behind.first()?;
    let reason = Reason::SettingsDiffer { member: next.name.clone(), fields: next.outdated(wanted) };
    let operation = Some(OperationKind::Roll);
    if let Some(waiting_on) = last_one_back(validated, roster) {
        return Some(wait(reason, Some(waiting_on), operation, Some(&next.name)));
    }
    if let Some(waiting_on) = safety::against_stopping(roster, next) {
        return Some(wait(reason, Some(waiting_on), operation, Some(&next.name)));
    }
    if roster.is_leader(next.listed.id) && roster.voters() > 1 {
        let leaving = [next.name.clone()];
        return Some(scale::hand_over(roster, next, &leaving, OperationKind::Roll));
    }
    Some(act(Step::Stop { member: next.name.clone() }, reason, OperationKind::Roll, Some(&next.name)))
}

/// A member that has the new settings, or is on its way to them, and does not serve yet.
fn last_one_back(validated: &Validated, roster: &Roster<'_>) -> Option<WaitingOn> {
    let changed = |seat: &&Seat<'_>| seat.process.is_none() || seat.outdated(&validated.settings).is_empty();
    // One that clients are not led to yet: if all were restarted meanwhile, clients would find none.
    let ready = |seat: &Seat<'_>| seat.process.is_none_or(|process| process.ready);
    let back = move |seat: &Seat<'_>| seat.healthy() && roster.in_step(seat) && ready(seat);
    let away = |seat: &&Seat<'_>| changed(seat) && !back(seat);
    // One whose disk is gone does not come back; safety counts it as missing.
    let comes_back = |seat: &&Seat<'_>| seat.disk.is_some();
    let seats = roster.voting_seats().filter(away).filter(comes_back);
    let members: Vec<_> = seats.map(|seat| seat.name.clone()).collect();
    if members.is_empty() {
        return None;
    }
    Some(restore::unhealthy_waits(roster, &members).unwrap_or(WaitingOn::Starting { members }))
}

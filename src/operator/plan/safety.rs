//! May this be done now? Every voluntary step asks here first.
//!
//! The rule: before the step one more voter than a quorum is healthy, so that an accident in the
//! middle of it costs nothing; after the step the healthy voters are a quorum of the next set.
//! Three exemptions, without which some clusters could never be changed: clusters of one and two
//! have no voter to spare; a step that takes away only what is broken spends nothing; and a
//! learner has no vote.

use super::roster::{Roster, Seat};
use crate::operator::reason::WaitingOn;

/// Voters that have to agree.
pub(in crate::operator) fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Why no learner may be added now.
pub(super) fn against_adding(roster: &Roster<'_>) -> Option<WaitingOn> {
    spare_missing(roster)
}

/// Why this learner may not be promoted now.
pub(super) fn against_promoting(roster: &Roster<'_>, learner: &Seat<'_>) -> Option<WaitingOn> {
    let after = quorum(roster.voters() + 1);
    let healthy_after = roster.healthy_voters() + usize::from(learner.healthy());
    spare_missing(roster).or_else(|| (healthy_after < after).then(|| missing(roster, after)))
}

/// Why this member may not be removed now.
pub(super) fn against_removing(roster: &Roster<'_>, member: &Seat<'_>) -> Option<WaitingOn> {
    if member.listed.learner {
        return None;
    }
    let after = quorum(roster.voters() - 1);
    let healthy_after = roster.healthy_voters() - usize::from(member.healthy());
    let spare = if member.healthy() { spare_missing(roster) } else { None };
    spare.or_else(|| (healthy_after < after).then(|| missing(roster, after)))
}

/// Why this member's running process may not be stopped now.
pub(super) fn against_stopping(roster: &Roster<'_>, member: &Seat<'_>) -> Option<WaitingOn> {
    if member.listed.learner {
        return None;
    }
    if !member.healthy() {
        let needed = quorum(roster.voters());
        return (roster.healthy_voters() < needed).then(|| missing(roster, needed));
    }
    spare_missing(roster)
}

fn spare_missing(roster: &Roster<'_>) -> Option<WaitingOn> {
    let voters = roster.voters();
    let needed = if voters <= 2 { voters } else { quorum(voters) + 1 };
    (roster.healthy_voters() < needed).then(|| missing(roster, needed))
}

fn missing(roster: &Roster<'_>, needed: usize) -> WaitingOn {
    WaitingOn::Health { members: roster.unhealthy_voters(), healthy: roster.healthy_voters(), needed }
}

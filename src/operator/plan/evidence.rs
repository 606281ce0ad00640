//! What is known of a member that does not serve, and from whom.
//!
//! Silence towards the operator is no evidence: it may be the operator that is cut off. What counts
//! is whether the leader has contact with the member, and what a member says of its own disk.

use jiff::Timestamp;

use super::roster::{Roster, Seat};
use crate::operator::observed::{Answer, DiskFault, ProcessState};

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operator) enum Evidence {
    /// It serves, or as a learner follows.
    Running,
    /// It does not serve and may do so soon: the leader has contact with it, or it runs, for the
    /// first time, with settings that others have yet to get.
    Restarting,
    /// The leader has had no contact with it since then.
    Unreachable { since: Timestamp },
    /// Its disk is gone, or another one stands in its place.
    DiskLost { detail: String },
    /// Its disk cannot be read as it was written.
    Corrupt { detail: String },
    /// Nobody has told.
    Unknown,
}

/// How this member stands.
pub(in crate::operator) fn of(roster: &Roster<'_>, seat: &Seat<'_>) -> Evidence {
    if seat.healthy() {
        return Evidence::Running;
    }
    if seat.disk.is_none() && seat.listed.started() {
        return Evidence::DiskLost { detail: "its disk is not there".to_owned() };
    }
    match roster.observed.answers.get(&seat.name) {
        Some(Answer::Unfit { fault: DiskFault::Lost, detail }) => {
            return Evidence::DiskLost { detail: detail.clone() };
        }
        Some(Answer::Unfit { fault: DiskFault::Corrupt, detail }) => {
            return Evidence::Corrupt { detail: detail.clone() };
        }
        Some(Answer::Told(_) | Answer::Silent { .. }) | None => {}
    }
    match (is_linked(roster, seat), unreachable_since(roster, seat)) {
        (Some(false), _) if is_on_trial(roster, seat) => Evidence::Restarting,
        (Some(false), Some(since)) => Evidence::Unreachable { since },
        (Some(true), _) => Evidence::Restarting,
        (Some(false) | None, _) => Evidence::Unknown,
    }
}

/// Since when the leader has had no contact with the member: from this look on if the last status
/// did not know of it. A look that tells nothing changes nothing.
pub(in crate::operator) fn unreachable_since(roster: &Roster<'_>, seat: &Seat<'_>) -> Option<Timestamp> {
    let observed = roster.observed;
    let name = seat.name.to_string();
    let before = observed.status.members.iter().find(|before| before.name == name);
    let before = before.and_then(|before| before.unreachable_since.as_ref()).map(|since| since.0);
    match is_linked(roster, seat) {
        _ if seat.healthy() => None,
        Some(true) => None,
        Some(false) => Some(before.unwrap_or(observed.now)),
        None => before,
    }
}

fn is_linked(roster: &Roster<'_>, seat: &Seat<'_>) -> Option<bool> {
    roster.observed.linked.as_ref().map(|linked| linked.contains(&seat.listed.id))
}

/// It does not come up and has settings that members which run do not have: then the settings are
/// to blame, and a new member would do no better.
fn is_on_trial(roster: &Roster<'_>, seat: &Seat<'_>) -> bool {
    let Some(process) = seat.process else { return false };
    let comes_up = matches!(process.state, ProcessState::Running | ProcessState::Stopping);
    let others = roster.voting_seats().filter(|other| other.name != seat.name && other.healthy());
    let differs = |other: &Seat<'_>| other.process.is_some_and(|held| held.settings != process.settings);
    !comes_up && others.into_iter().any(differs)
}

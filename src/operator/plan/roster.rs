//! The members as the cluster lists them, each with what is known of it from all sides.

use std::time::Duration;

use crate::operator::names::MemberName;
use crate::operator::observed::{Disk, Listed, Observed, Process, ProcessState, Told};
use crate::operator::settings::Settings;
use crate::types::MemberId;

/// A member that lacks no more than this many entries is in step: what a loaded cluster writes
/// in the moments between asking the leader and asking the member.
pub(in crate::operator) const IN_STEP_ENTRIES_MAX: u64 = 1_000;

/// An answer older than this says nothing about now.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(10);

/// The list of members, joined with processes, disks and answers.
pub(in crate::operator) struct Roster<'a> {
    pub(in crate::operator) observed: &'a Observed,
    /// Members that the operator made, in the order of their ordinals.
    pub(in crate::operator) seats: Vec<Seat<'a>>,
    /// Members with a peer URL that is not ours.
    pub(in crate::operator) foreign: Vec<&'a Listed>,
}

/// One member.
pub(in crate::operator) struct Seat<'a> {
    pub(in crate::operator) name: MemberName,
    pub(in crate::operator) listed: &'a Listed,
    pub(in crate::operator) process: Option<&'a Process>,
    pub(in crate::operator) disk: Option<&'a Disk>,
    /// What it said, if that was lately and by the very member of the list.
    pub(in crate::operator) told: Option<&'a Told>,
}

impl<'a> Roster<'a> {
    /// `None` when no member vouches for a list.
    pub(in crate::operator) fn of(observed: &'a Observed) -> Option<Self> {
        let list = observed.list()?;
        let mut roster = Roster { observed, seats: Vec::new(), foreign: Vec::new() };
        for listed in &list.members {
            match observed.name_of(listed) {
                Some(name) => roster.seats.push(Seat::of(observed, name, listed)),
                None => roster.foreign.push(listed),
            }
        }
        roster.seats.sort_by(|a, b| a.name.cmp(&b.name));
        Some(roster)
    }

    /// Voters of the list, foreign ones included.
    pub(in crate::operator) fn voters(&self) -> usize {
        self.voting_seats().count() + self.foreign.iter().filter(|listed| !listed.learner).count()
    }

    pub(in crate::operator) fn voting_seats(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.seats.iter().filter(|seat| !seat.listed.learner)
    }

    pub(in crate::operator) fn learners(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.seats.iter().filter(|seat| seat.listed.learner)
    }

    /// Voters that serve. Foreign ones are not asked and do not count.
    pub(in crate::operator) fn healthy_voters(&self) -> usize {
        self.voting_seats().filter(|seat| seat.healthy()).count()
    }

    pub(in crate::operator) fn unhealthy_voters(&self) -> Vec<MemberName> {
        self.voting_seats().filter(|seat| !seat.healthy()).map(|seat| seat.name.clone()).collect()
    }

    pub(in crate::operator) fn seat(&self, name: &MemberName) -> Option<&Seat<'a>> {
        self.seats.iter().find(|seat| seat.name == *name)
    }

    /// The member that says it leads; the one with the greater log, should two say so.
    pub(in crate::operator) fn leader(&self) -> Option<&Seat<'a>> {
        let leading = self.voting_seats().filter(|seat| seat.leads());
        leading.max_by_key(|seat| seat.told.map(|told| told.last))
    }

    pub(in crate::operator) fn is_leader(&self, id: MemberId) -> bool {
        self.leader().is_some_and(|leader| leader.listed.id == id)
    }

    /// Whether the member has all but the leader's last few entries. The server promotes a
    /// learner at nine tenths of the leader's log, which for a long log may still be far.
    pub(in crate::operator) fn in_step(&self, seat: &Seat<'_>) -> bool {
        let (Some(told), Some(leader)) = (seat.told, self.leader().and_then(|leader| leader.told)) else {
            return false;
        };
        let (has, needs) = (told.applied.0, leader.applied.0);
        has + IN_STEP_ENTRIES_MAX >= needs && has * 10 >= needs * 9
    }

    /// The member to hand leadership to: healthy, in step, not one of `except`; of those the one
    /// with most of the log, then the oldest.
    pub(in crate::operator) fn successor(&self, except: &[MemberName]) -> Option<&Seat<'a>> {
        let fit = |seat: &&Seat<'a>| {
            seat.healthy()
                && self.in_step(seat)
                && !except.contains(&seat.name)
                && !self.is_leader(seat.listed.id)
        };
        let mut fit: Vec<_> = self.voting_seats().filter(fit).collect();
        fit.sort_by_key(|seat| (std::cmp::Reverse(seat.told.map(|told| told.last)), seat.name.ordinal()));
        fit.first().copied()
    }
}

impl<'a> Seat<'a> {
    fn of(observed: &'a Observed, name: MemberName, listed: &'a Listed) -> Self {
        let told = observed.told_by(&name);
        let told = told.filter(|told| told.member == listed.id && told.age <= ANSWER_AGE_MAX);
        Seat { process: observed.processes.get(&name), disk: observed.disks.get(&name), told, listed, name }
    }

    /// It serves, or as a learner follows.
    pub(in crate::operator) fn healthy(&self) -> bool {
        self.told.is_some_and(|told| told.healthy)
    }

    fn leads(&self) -> bool {
        self.told.is_some_and(|told| told.leader == Some(told.member))
    }

    /// The fields in which its process differs from what is wanted; none without a process.
    pub(in crate::operator) fn outdated(&self, wanted: &Settings) -> Vec<String> {
        self.process.map(|process| outdated(process, wanted)).unwrap_or_default()
    }

    /// Its process runs, whatever the member says.
    pub(in crate::operator) fn running(&self) -> bool {
        self.process.is_some_and(|process| process.state == ProcessState::Running)
    }
}

/// The fields in which a process differs from what is wanted.
pub(in crate::operator) fn outdated(process: &Process, wanted: &Settings) -> Vec<String> {
    wanted.differences(&process.settings).into_keys().map(str::to_owned).collect()
}

//! The part of the status that speaks of single members.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{MemberHealth, MemberRole, MemberState, MemberStatus, PendingChange};
use crate::operator::names::MemberName;
use crate::operator::observed::{Observed, ProcessState, Told};
use crate::operator::plan::{Roster, Seat, unreachable_since};
use crate::operator::validate::Validated;

/// Every member that is listed, runs, or ran and may come back. Without a list, what was last
/// published of role and identity stands: not to be heard is not to be gone.
pub(super) fn members(observed: &Observed, roster: Option<&Roster<'_>>) -> Vec<MemberStatus> {
    let kept = observed.disks.iter().filter(|(_, disk)| disk.mark.as_ref().is_some_and(|mark| !mark.retired));
    let mut names: BTreeSet<_> = kept.map(|(name, _)| name.clone()).collect();
    names.extend(observed.processes.keys().cloned());
    names.extend(roster.iter().flat_map(|roster| &roster.seats).map(|seat| seat.name.clone()));
    names.into_iter().map(|name| member(observed, roster, &name)).collect()
}

fn member(observed: &Observed, roster: Option<&Roster<'_>>, name: &MemberName) -> MemberStatus {
    let text = name.to_string();
    let before = observed.status.members.iter().find(|before| before.name == text);
    let seat = roster.and_then(|roster| roster.seat(name));
    let (role, id) = match (roster, seat) {
        (_, Some(seat)) if seat.listed.learner => (MemberRole::Learner, Some(seat.listed.id.to_string())),
        (_, Some(seat)) => (MemberRole::Voter, Some(seat.listed.id.to_string())),
        (Some(_), None) => (MemberRole::Unlisted, None),
        (None, None) => (
            before.map_or(MemberRole::Unlisted, |before| before.role),
            before.and_then(|before| before.id.clone()),
        ),
    };
    let told = observed.told_by(name);
    let process = observed.processes.get(name);
    MemberStatus {
        role,
        id,
        leader: roster.and_then(Roster::leader).is_some_and(|leader| leader.name == *name),
        health: health(process.map(|process| &process.state), told),
        state: state(process.map(|process| &process.state), told, roster.zip(seat)),
        version: told.map(|told| told.version.clone()),
        node: process.and_then(|process| process.node.clone()),
        unreachable_since: match roster.zip(seat) {
            Some((roster, seat)) => unreachable_since(roster, seat).map(Time),
            None => before.and_then(|before| before.unreachable_since.clone()),
        },
        claim: observed.disks.contains_key(name).then(|| text.clone()),
        name: text,
    }
}

fn health(process: Option<&ProcessState>, told: Option<&Told>) -> MemberHealth {
    match (process, told) {
        (_, Some(told)) if told.healthy => MemberHealth::Healthy,
        (_, Some(_)) => MemberHealth::Unhealthy,
        (Some(ProcessState::Running | ProcessState::Stopping), None) => MemberHealth::Unknown,
        (_, None) => MemberHealth::Unhealthy,
    }
}

fn state(
    process: Option<&ProcessState>,
    told: Option<&Told>,
    seat: Option<(&Roster<'_>, &Seat<'_>)>,
) -> MemberState {
    match process {
        None | Some(ProcessState::Ended { .. } | ProcessState::Failing { .. }) => MemberState::Stopped,
        Some(ProcessState::Stopping) => MemberState::Stopping,
        Some(ProcessState::Starting { .. }) => MemberState::Starting,
        Some(ProcessState::Running) => match (told, seat) {
            (None, _) => MemberState::Starting,
            // A healthy voter has heard from a majority and applied what it committed: it is in
            // step, however the positions happened to be read.
            (Some(told), Some((_, seat))) if told.healthy && !seat.listed.learner => MemberState::InStep,
            (Some(_), Some((roster, seat))) if roster.in_step(seat) => MemberState::InStep,
            (Some(_), _) => MemberState::CatchingUp,
        },
    }
}

/// Voters that serve.
pub(super) fn in_health(observed: &Observed, roster: Option<&Roster<'_>>) -> usize {
    match roster {
        Some(roster) => roster.healthy_voters(),
        None => observed.told().filter(|(_, told)| told.healthy && !told.learner).count(),
    }
}

pub(super) fn voters(members: &[MemberStatus]) -> i32 {
    let voters = members.iter().filter(|member| member.role == MemberRole::Voter).count();
    i32::try_from(voters).unwrap_or(i32::MAX)
}

/// The version that all members which answered run.
pub(super) fn common_version(observed: &Observed) -> Option<String> {
    let versions: BTreeSet<_> = observed.told().map(|(_, told)| told.version.as_str()).collect();
    match versions.len() {
        1 => versions.first().map(|version| (*version).to_owned()),
        _ => None,
    }
}

/// Field by field, who does not have it yet.
pub(super) fn pending_changes(validated: &Validated, observed: &Observed) -> Vec<PendingChange> {
    let mut changes: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (name, process) in &observed.processes {
        if process.state.is_stopping() {
            continue;
        }
        for (field, wanted) in validated.settings.differences(&process.settings) {
            changes.entry((field, wanted)).or_default().push(name.to_string());
        }
    }
    let changes = changes.into_iter().map(|((field, wanted), members)| PendingChange {
        field: field.to_owned(),
        wanted: wanted.chars().take(WANTED_CHARACTERS_MAX).collect(),
        members,
    });
    changes.collect()
}

/// As the schema bounds `status.pendingChanges[].wanted`.
const WANTED_CHARACTERS_MAX: usize = 1024;

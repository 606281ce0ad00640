//! Is everything there that belongs to the members, and nothing else? A member whose process is
//! gone gets it again on the same disk; a process or disk whose member has left goes.
//!
//! A member that has lost its disk is not started from an empty one, for it would have forgotten
//! what it voted for; `replace` puts a new member in its place.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::roster::{Roster, Seat, outdated};
use super::{act, replace, rest, safety, wait};
use crate::api::{OperationKind, RetentionPolicy};
use crate::operator::names::MemberName;
use crate::operator::observed::{DiskMark, Observed, Process, ProcessState};
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::{Birth, Launch, Plan, Step};
use crate::operator::validate::Validated;

/// A restarted member is not reported as a fault for this long: it looks for the leader, and it
/// may be the one that was to lead.
const COMES_UP_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// No member vouches for a list: a majority is away, or all of it has yet to start. Every
/// process that a disk of the cluster calls for is made again; that alone ends nearly every such
/// incident.
pub(super) fn without_list(validated: &Validated, observed: &Observed) -> Plan {
    let disks = observed.disks.iter().filter_map(|(name, disk)| Some((name, disk, disk.mark.as_ref()?)));
    let members: Vec<_> =
        disks.filter(|(_, disk, mark)| !disk.is_leaving() && observed.is_in_use(mark)).collect();
    for (name, _, mark) in &members {
        let process = observed.processes.get(*name);
        let launch = || resume(validated, observed, name, mark);
        if let Some(plan) = made_again(validated, name, process, launch) {
            return plan;
        }
    }
    let voters = members.first().map_or(0, |(_, _, mark)| mark.voters.len());
    let waiting_on = without_list_waits(observed, &members);
    if observed.status.operation.as_ref().is_some_and(|last| last.kind == OperationKind::Form) {
        return first_election(voters, waiting_on);
    }
    let healthy = observed.told().filter(|(_, told)| told.healthy).count();
    let reason = Reason::QuorumLost { healthy, voters };
    wait(reason, Some(waiting_on), Some(OperationKind::Restore), None)
}

/// Until its first leader is elected a cluster forms, by the last status: no majority was lost.
fn first_election(voters: usize, waiting_on: WaitingOn) -> Plan {
    let waiting_on = if waiting_on == WaitingOn::Quorum { WaitingOn::Leader } else { waiting_on };
    wait(Reason::Form { members: voters }, Some(waiting_on), Some(OperationKind::Form), None)
}

fn without_list_waits(
    observed: &Observed,
    members: &[(&MemberName, &crate::operator::Disk, &DiskMark)],
) -> WaitingOn {
    let failing =
        members.iter().find_map(|(name, _, _)| Some((name, observed.processes.get(*name)?.down()?)));
    if let Some((name, detail)) = failing {
        return WaitingOn::Process { member: (*name).clone(), detail: detail.to_owned() };
    }
    let silent = members.iter().map(|(name, _, _)| *name).filter(|name| observed.told_by(name).is_none());
    let silent: Vec<_> = silent.cloned().collect();
    match silent.is_empty() {
        true => WaitingOn::Quorum,
        false => WaitingOn::Starting { members: silent },
    }
}

/// Members of the list whose process has to be made, or made again.
pub(super) fn processes(validated: &Validated, roster: &Roster<'_>) -> Option<Plan> {
    roster.seats.iter().find_map(|seat| {
        // A disk that is gone from under a member that has once started stays gone.
        if seat.disk.is_none() && seat.listed.started() {
            return None;
        }
        if seat.disk.is_some_and(|disk| disk.is_leaving()) {
            return None;
        }
        made_again(validated, &seat.name, seat.process, || join(validated, roster, seat))
    })
}

fn made_again(
    validated: &Validated,
    name: &MemberName,
    process: Option<&Process>,
    launch: impl Fn() -> Launch,
) -> Option<Plan> {
    let start = |reason| act(Step::Start(launch()), reason, OperationKind::Restore, Some(name));
    let Some(process) = process else {
        return Some(start(Reason::MemberWithoutProcess { member: name.clone() }));
    };
    let detail = match &process.state {
        ProcessState::Ended { detail } => {
            return Some(start(Reason::ProcessEnded { member: name.clone(), detail: detail.clone() }));
        }
        ProcessState::Starting { detail } | ProcessState::Failing { detail } => detail.clone(),
        ProcessState::Running | ProcessState::Stopping => return None,
    };
    // It does not run, so stopping it takes nothing away, and the spec may be what mends it.
    let outdated = !outdated(process, &validated.settings).is_empty();
    let reason = Reason::ProcessOutdated { member: name.clone(), detail };
    outdated.then(|| act(Step::Stop { member: name.clone() }, reason, OperationKind::Roll, Some(name)))
}

/// How a listed member is started, for the first time or again. The list is handed to it as it is
/// now; a disk that holds data makes the server ignore it.
fn join(validated: &Validated, roster: &Roster<'_>, seat: &Seat<'_>) -> Launch {
    let observed = roster.observed;
    let ours =
        roster.seats.iter().map(|seat| (seat.name.to_string(), observed.addressing.peer_url(&seat.name)));
    let foreign = roster.foreign.iter().flat_map(|listed| {
        let name = if listed.started() { listed.name.clone() } else { listed.id.to_string() };
        listed.peer_urls.iter().map(move |url| (name.clone(), url.clone()))
    });
    Launch {
        member: seat.name.clone(),
        birth: Birth::Join,
        initial_cluster: ours.chain(foreign).collect(),
        token: validated.uid.clone(),
        settings: validated.settings.clone(),
        mark: DiskMark {
            owner: validated.uid.clone(),
            cluster_id: observed.cluster_id(),
            member_id: Some(seat.listed.id),
            voters: roster.voting_seats().map(|seat| seat.name.ordinal()).collect(),
            next_ordinal: observed.next_ordinal(),
            quarantined: false,
            retired: false,
        },
    }
}

fn resume(validated: &Validated, observed: &Observed, name: &MemberName, mark: &DiskMark) -> Launch {
    let mut all = mark.voters.clone();
    all.insert(name.ordinal());
    let all = all.into_iter().map(|ordinal| observed.member(ordinal));
    Launch {
        member: name.clone(),
        birth: Birth::Join,
        initial_cluster: all.map(|name| (name.to_string(), observed.addressing.peer_url(&name))).collect(),
        token: validated.uid.clone(),
        settings: validated.settings.clone(),
        mark: DiskMark { owner: validated.uid.clone(), ..mark.clone() },
    }
}

/// With fewer healthy voters than a quorum nothing is begun, whatever else is to be done.
pub(super) fn quorum(roster: &Roster<'_>) -> Option<Plan> {
    let (healthy, voters) = (roster.healthy_voters(), roster.voters());
    if healthy < safety::quorum(voters) && roster.foreign.is_empty() {
        let reason = Reason::QuorumLost { healthy, voters };
        return Some(wait(reason, Some(WaitingOn::Quorum), Some(OperationKind::Restore), None));
    }
    if roster.leader().is_none() && roster.foreign.is_empty() {
        let reason = Reason::MemberUnhealthy { members: roster.unhealthy_voters() };
        return Some(wait(reason, Some(WaitingOn::Leader), None, None));
    }
    None
}

/// What is left of members that have gone. A process that is stopping holds nothing up: on a
/// dead node it may be so for long.
pub(super) fn leftovers(validated: &Validated, roster: &Roster<'_>) -> Option<Plan> {
    let observed = roster.observed;
    let gone = |name: &MemberName| roster.seat(name).is_none();
    for (name, process) in &observed.processes {
        if gone(name) && !process.state.is_stopping() {
            let reason = Reason::ProcessWithoutMember { member: name.clone() };
            return Some(act(
                Step::Stop { member: name.clone() },
                reason,
                OperationKind::ScaleIn,
                Some(name),
            ));
        }
    }
    for (name, disk) in &observed.disks {
        let unused = gone(name) && !observed.processes.contains_key(name) && !disk.is_leaving();
        if unused && disk.mark.as_ref().is_some_and(|mark| observed.is_in_use(mark)) {
            let reason = Reason::DiskWithoutMember { member: name.clone() };
            let kept = disk.mark.as_ref().is_some_and(|mark| mark.quarantined);
            let policy = if kept { RetentionPolicy::Retain } else { validated.retention.on_scale_in };
            let step = Step::ReleaseDisk { member: name.clone(), policy };
            return Some(act(step, reason, OperationKind::ScaleIn, Some(name)));
        }
    }
    None
}

/// Nothing is to be done: is all well?
pub(super) fn health(validated: &Validated, roster: &Roster<'_>) -> Plan {
    if let Some(seat) = roster.seats.iter().find(|seat| seat.disk.is_none() && seat.listed.started()) {
        let what = format!("remove {} from the members, or bring its disk back", seat.name);
        let reason = Reason::DiskMissing { member: seat.name.clone() };
        return wait(reason, Some(WaitingOn::Person { what }), None, Some(&seat.name));
    }
    if !roster.foreign.is_empty() {
        let names = roster.foreign.iter();
        let names =
            names.map(|listed| if listed.started() { listed.name.clone() } else { listed.id.to_string() });
        return rest(Reason::ForeignMembers { names: names.collect() });
    }
    let members = roster.unhealthy_voters();
    if !members.is_empty() {
        let (healthy, needed) = (roster.healthy_voters(), roster.voters());
        let waiting_on = replace::return_of(validated, roster)
            .or_else(|| unhealthy_waits(roster, &members))
            .unwrap_or(WaitingOn::Health { members: members.clone(), healthy, needed });
        let operation = under_way(roster, &members);
        return wait(Reason::MemberUnhealthy { members }, Some(waiting_on), operation, None);
    }
    let stopping = roster.observed.processes.iter().filter(|(_, process)| process.state.is_stopping());
    let stopping: Vec<_> = stopping.map(|(name, _)| name.clone()).collect();
    if let Some(first) = stopping.first() {
        let reason = Reason::ProcessWithoutMember { member: first.clone() };
        return wait(reason, Some(WaitingOn::Stopping { members: stopping.clone() }), None, None);
    }
    rest(Reason::AsSpecified)
}

/// A member that is on its way is the end of something; one that runs for a while and says that
/// it is not well is a fault. Told from the last status, for display only.
fn under_way(roster: &Roster<'_>, members: &[MemberName]) -> Option<OperationKind> {
    let observed = roster.observed;
    let lately = |began: &Time| observed.now.duration_since(began.0) < COMES_UP_WITHIN;
    let last = observed.status.operation.as_ref();
    let last = last.filter(|last| last.started_at.as_ref().is_some_and(lately)).map(|last| last.kind);
    if let Some(kind @ (OperationKind::Roll | OperationKind::Restore)) = last {
        return Some(kind);
    }
    let faulty =
        |name: &MemberName| roster.seat(name).is_some_and(|seat| seat.running() && seat.told.is_some());
    (!members.iter().any(faulty)).then_some(OperationKind::Restore)
}

pub(super) fn unhealthy_waits(roster: &Roster<'_>, members: &[MemberName]) -> Option<WaitingOn> {
    let mut seats = members.iter().filter_map(|name| roster.seat(name));
    seats.find_map(|seat| {
        let member = seat.name.clone();
        match &seat.process?.state {
            ProcessState::Starting { detail } | ProcessState::Failing { detail } => {
                Some(WaitingOn::Process { member, detail: detail.clone() })
            }
            ProcessState::Stopping => Some(WaitingOn::Stopping { members: vec![member] }),
            ProcessState::Running if seat.told.is_none() => {
                Some(WaitingOn::Starting { members: vec![member] })
            }
            ProcessState::Running | ProcessState::Ended { .. } => None,
        }
    })
}

//! Is the cluster formed? Until it is, its first members start together, each with the full list
//! of all of them: nothing is at risk while the cluster is empty, and it is the fastest way.
//!
//! The list is latched on the disks from the first one that is made, so formation goes on with
//! it whatever happens to the operator or to `replicas` meanwhile. The cluster counts as formed
//! when the status, a disk or any member's answer says so, and never again as not formed.

use std::collections::BTreeSet;

use super::roster::outdated;
use super::{act, drift, wait};
use crate::api::OperationKind;
use crate::operator::names::MemberName;
use crate::operator::observed::{DiskMark, Observed, ProcessState};
use crate::operator::reason::{Reason, WaitingOn};
use crate::operator::step::{Birth, Launch, Plan, Step};
use crate::operator::validate::Validated;

pub(super) fn plan(validated: &Validated, observed: &Observed, drifted: &[String]) -> Option<Plan> {
    if let Some(detail) = split_identity(observed) {
        let what = "find out which cluster is the right one, and stop the members of the other".to_owned();
        let person = Some(WaitingOn::Person { what });
        return Some(wait(Reason::SplitIdentity { detail }, person, None, None));
    }
    if formed(observed) {
        return None;
    }
    if let Some(detail) = foreign_disks(observed) {
        let what = "delete those disks, or bring back the missing ones".to_owned();
        let person = Some(WaitingOn::Person { what });
        return Some(wait(Reason::ForeignDisks { detail }, person, None, None));
    }
    if adoptable(observed).is_some() {
        return None;
    }
    Some(form(validated, observed, drifted))
}

/// The members that form the cluster: those that are latched on the disks; before there is one,
/// as many as wanted, with names that were never used.
pub(super) fn founders(validated: &Validated, observed: &Observed) -> BTreeSet<u32> {
    let ours = observed.disks.values().filter_map(|disk| disk.mark.as_ref());
    let mut ours = ours.filter(|mark| mark.owner == observed.cluster.uid && !mark.retired);
    if let Some(mark) = ours.next() {
        return mark.voters.clone();
    }
    let first = observed.next_ordinal();
    (first..).take(validated.replicas).collect()
}

fn form(validated: &Validated, observed: &Observed, drifted: &[String]) -> Plan {
    let founders = founders(validated, observed);
    let names: Vec<_> = founders.iter().map(|ordinal| observed.member(*ordinal)).collect();
    let reason = Reason::Form { members: names.len() };
    if let Some(stuck) = names.iter().find(|name| stuck_outdated(validated, observed, name)) {
        return act(Step::Stop { member: stuck.clone() }, reason, OperationKind::Form, Some(stuck));
    }
    let absent = |name: &&MemberName| {
        observed.processes.get(name).is_none_or(|process| matches!(process.state, ProcessState::Ended { .. }))
            || !observed.disks.contains_key(name)
    };
    if names.iter().any(|name| absent(&name)) {
        let launches = names.iter().filter(absent);
        let launches = launches.map(|name| launch(validated, observed, name, &founders)).collect();
        let surroundings = drift::surroundings(validated, observed);
        return act(Step::Form { surroundings, launches }, reason, OperationKind::Form, None);
    }
    if !drifted.is_empty() {
        let surroundings = drift::surroundings(validated, observed);
        let step = Step::Apply { surroundings, drifted: drifted.to_vec() };
        return act(step, Reason::Drift, OperationKind::Form, None);
    }
    wait(reason, Some(waits_for(observed, &names)), Some(OperationKind::Form), None)
}

/// It was made from an earlier spec and does not run: nothing is lost by making it again.
fn stuck_outdated(validated: &Validated, observed: &Observed, name: &MemberName) -> bool {
    observed.processes.get(name).is_some_and(|process| {
        matches!(process.state, ProcessState::Starting { .. } | ProcessState::Failing { .. })
            && !outdated(process, &validated.settings).is_empty()
    })
}

fn waits_for(observed: &Observed, names: &[MemberName]) -> WaitingOn {
    let failing = names.iter().find_map(|name| match &observed.processes.get(name)?.state {
        ProcessState::Failing { detail } => {
            Some(WaitingOn::Process { member: name.clone(), detail: detail.clone() })
        }
        _ => None,
    });
    failing.unwrap_or_else(|| {
        let silent = names.iter().filter(|name| observed.told_by(name).is_none());
        WaitingOn::Starting { members: silent.cloned().collect() }
    })
}

fn launch(validated: &Validated, observed: &Observed, name: &MemberName, founders: &BTreeSet<u32>) -> Launch {
    let all = founders.iter().map(|ordinal| observed.member(*ordinal));
    Launch {
        member: name.clone(),
        birth: Birth::Found,
        initial_cluster: all.map(|name| (name.to_string(), observed.addressing.peer_url(&name))).collect(),
        token: validated.uid.clone(),
        settings: validated.settings.clone(),
        mark: DiskMark {
            owner: validated.uid.clone(),
            cluster_id: None,
            member_id: None,
            voters: founders.clone(),
            next_ordinal: founders.last().map_or(0, |last| last + 1).max(observed.next_ordinal()),
            quarantined: false,
            retired: false,
        },
    }
}

/// By anything that remembers: the status, a disk of ours, a member.
fn formed(observed: &Observed) -> bool {
    let ours =
        |mark: &DiskMark| mark.owner == observed.cluster.uid && mark.cluster_id.is_some() && !mark.retired;
    observed.status.cluster_id.is_some()
        || observed.told().next().is_some()
        || observed.disks.values().filter_map(|disk| disk.mark.as_ref()).any(ours)
}

/// The marks of an earlier cluster of this name whose disks are all there.
pub(super) fn adoptable(observed: &Observed) -> Option<Vec<(&MemberName, &DiskMark)>> {
    let marks: Vec<_> = earlier(observed);
    let (_, first) = marks.first()?;
    let whole = |mark: &DiskMark| {
        mark.cluster_id.is_some()
            && mark.cluster_id == first.cluster_id
            && mark.voters.iter().all(|ordinal| marks.iter().any(|(name, _)| name.ordinal() == *ordinal))
    };
    marks.iter().all(|(_, mark)| whole(mark)).then_some(marks)
}

/// Why the disks that are there hinder a new cluster.
fn foreign_disks(observed: &Observed) -> Option<String> {
    if let Some((name, _)) = observed.disks.iter().find(|(_, disk)| disk.mark.is_none()) {
        return Some(format!("a disk named {name} is there that the operator did not make"));
    }
    if earlier(observed).is_empty() || adoptable(observed).is_some() {
        return None;
    }
    let marks = earlier(observed);
    if let Some((name, _)) = marks.iter().find(|(_, mark)| mark.cluster_id.is_none()) {
        return Some(format!(
            "the disk of {name} is of an earlier cluster of this name, and nothing tells whether it holds data"
        ));
    }
    let missing: BTreeSet<_> = marks
        .iter()
        .flat_map(|(_, mark)| mark.voters.iter())
        .filter(|ordinal| !marks.iter().any(|(name, _)| name.ordinal() == **ordinal))
        .map(|ordinal| observed.member(*ordinal).to_string())
        .collect();
    if missing.is_empty() {
        return Some("disks of more than one earlier cluster of this name are there".to_owned());
    }
    let missing: Vec<_> = missing.into_iter().collect();
    Some(format!(
        "disks of an earlier cluster of this name are there, but not those of {}",
        missing.join(", ")
    ))
}

fn earlier(observed: &Observed) -> Vec<(&MemberName, &DiskMark)> {
    let marks = observed.disks.iter().filter_map(|(name, disk)| Some((name, disk.mark.as_ref()?)));
    marks.filter(|(_, mark)| mark.owner != observed.cluster.uid && !mark.retired).collect()
}

fn split_identity(observed: &Observed) -> Option<String> {
    let mut told = observed.told().map(|(name, told)| (name, told.cluster));
    let (first, cluster) = told.next()?;
    if let Some((other, differs)) = told.find(|(_, id)| *id != cluster) {
        return Some(format!("{first} belongs to cluster {cluster}, {other} to cluster {differs}"));
    }
    let known = observed.status.cluster_id.as_deref()?;
    (cluster.to_string() != known)
        .then(|| format!("{first} belongs to cluster {cluster}, status.clusterId is {known}"))
}

/// Adoption is under way as long as a disk carries the mark of its earlier owner.
pub(super) fn adopting(observed: &Observed) -> bool {
    observed.status.cluster_id.is_none() && !earlier(observed).is_empty()
}

//! Are the objects around the members what they should be? What they should be is a pure
//! function of what was observed; whether they are, the platform finds out.

use std::collections::{BTreeMap, BTreeSet};

use super::{act, bootstrap, replace, roster::Roster, safety, scale};
use crate::api::{MemberRole, OperationKind, RetentionPolicy};
use crate::operator::names::MemberName;
use crate::operator::observed::{DiskMark, Observed};
use crate::operator::reason::Reason;
use crate::operator::step::{Plan, Step, Surroundings};
use crate::operator::validate::Validated;

pub(super) fn plan(validated: &Validated, observed: &Observed, drifted: &[String]) -> Option<Plan> {
    if drifted.is_empty() {
        return None;
    }
    let step = Step::Apply { surroundings: surroundings(validated, observed), drifted: drifted.to_vec() };
    let reason = match bootstrap::adopting(observed) {
        true => Reason::Adopt { members: observed.disks.len() },
        false => Reason::Drift,
    };
    Some(act(step, reason, OperationKind::Maintain, None))
}

/// What should stand around the members.
pub fn surroundings(validated: &Validated, observed: &Observed) -> Surroundings {
    let voters = voters(validated, observed);
    Surroundings {
        finalizer: validated.retention.on_delete == RetentionPolicy::Delete,
        leaving: Roster::of(observed).map(|roster| scale::leaving(validated, &roster)).unwrap_or_default(),
        min_available: min_available(voters.len(), validated.replicas),
        marks: marks(validated, observed),
        voters,
    }
}

/// How many voters must stay in a voluntary disruption: a quorum of the larger of today's and
/// tomorrow's set, and never more than one away. An integer, because Kubernetes counts a
/// percentage or a maxUnavailable from the size in the spec, which in the middle of a scale-in
/// is not the size of the cluster. One member has none to spare, and holding it would hold the
/// node for ever.
fn min_available(voters: usize, wanted: usize) -> u32 {
    if voters <= 1 {
        return 0;
    }
    let least = safety::quorum(voters.max(wanted)).max(voters - 1);
    u32::try_from(least).unwrap_or(u32::MAX)
}

/// As listed; as last published when nobody vouches for a list; the founders before that.
fn voters(validated: &Validated, observed: &Observed) -> BTreeSet<MemberName> {
    if let Some(roster) = Roster::of(observed) {
        return roster.voting_seats().map(|seat| seat.name.clone()).collect();
    }
    let published = observed.status.members.iter().filter(|member| member.role == MemberRole::Voter);
    let published: BTreeSet<_> =
        published.filter_map(|member| MemberName::parse(&observed.cluster.name, &member.name)).collect();
    if !published.is_empty() || observed.status.cluster_id.is_some() {
        return published;
    }
    bootstrap::founders(validated, observed).into_iter().map(|ordinal| observed.member(ordinal)).collect()
}

/// The disks of listed members carry all that is known of them. Without a list marks stay as
/// they are, but for the cluster they belong to and the owner of one that is taken over.
fn marks(validated: &Validated, observed: &Observed) -> BTreeMap<MemberName, DiskMark> {
    let Some(roster) = Roster::of(observed) else {
        let kept = observed.disks.iter().filter_map(|(name, disk)| Some((name, disk.mark.clone()?)));
        let kept = kept.filter(|(_, mark)| observed.is_in_use(mark));
        let cluster_id = observed.cluster_id();
        return kept
            .map(|(name, mark)| (name.clone(), DiskMark { owner: validated.uid.clone(), cluster_id, ..mark }))
            .collect();
    };
    let voters: BTreeSet<_> = roster.voting_seats().map(|seat| seat.name.ordinal()).collect();
    let failed = replace::failed(validated, &roster).map(|failed| failed.seat.name.clone());
    let seats = roster.seats.iter().filter(|seat| seat.disk.is_some());
    let marks = seats.map(|seat| {
        let mark = DiskMark {
            owner: validated.uid.clone(),
            cluster_id: observed.cluster_id(),
            member_id: Some(seat.listed.id),
            voters: voters.clone(),
            next_ordinal: observed.next_ordinal(),
            quarantined: failed.as_ref() == Some(&seat.name),
            retired: false,
        };
        (seat.name.clone(), mark)
    });
    marks.collect()
}

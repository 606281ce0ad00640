//! Which of the objects around the members are not what they should be. Pure: it compares.
//!
//! An object is right when it holds all that we want of it; what others, or defaults, put beside
//! it is theirs.

use std::fmt;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use super::Found;
use crate::operator::build::{
    FINALIZER, LEARNER, LEAVING, ROLE_LABEL, VOTER, budget, client_service, headless_service, led_away_since,
    mark_of,
};
use crate::operator::names::MemberName;
use crate::operator::observed::DiskMark;
use crate::operator::step::Surroundings;
use crate::operator::validate::Validated;

/// One thing to bring up to date.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Drift {
    Finalizer { wanted: bool },
    Service(Box<Service>),
    Budget(Box<PodDisruptionBudget>),
    Role { member: MemberName, role: &'static str },
    Mark { member: MemberName, mark: DiskMark },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finalizer { .. } => f.write_str("the finalizer"),
            Self::Service(service) => write!(f, "Service {}", service.name_any()),
            Self::Budget(budget) => write!(f, "PodDisruptionBudget {}", budget.name_any()),
            Self::Role { member, role } => write!(f, "{member} as {role}"),
            Self::Mark { member, .. } => write!(f, "the mark of claim {member}"),
        }
    }
}

/// In the order in which they are to be brought up to date.
pub(super) fn drifted(found: &Found, validated: &Validated, wanted: &Surroundings) -> Vec<Drift> {
    let mut drifts = Vec::new();
    let has_finalizer = found.cluster.finalizers().iter().any(|held| held == FINALIZER);
    if has_finalizer != wanted.finalizer {
        drifts.push(Drift::Finalizer { wanted: wanted.finalizer });
    }
    for service in [headless_service(validated), client_service(validated)] {
        if !is_held(found.services.get(&service.name_any()), &service) {
            drifts.push(Drift::Service(Box::new(service)));
        }
    }
    let budget = budget(validated, wanted.min_available);
    if !is_held(found.budgets.get(&budget.name_any()), &budget) {
        drifts.push(Drift::Budget(Box::new(budget)));
    }
    drifts.extend(roles(found, validated, wanted));
    drifts.extend(marks(found, wanted));
    drifts
}

fn roles<'a>(
    found: &'a Found,
    validated: &'a Validated,
    wanted: &'a Surroundings,
) -> impl Iterator<Item = Drift> + 'a {
    let staying = found.pods.iter().filter(|(_, pod)| {
        let ours = pod.owner_references().iter().any(|reference| reference.uid == validated.uid);
        ours && pod.metadata.deletion_timestamp.is_none()
    });
    staying.filter_map(|(member, pod)| {
        let role = match (wanted.voters.contains(member), wanted.leaving.contains(member)) {
            (true, true) => LEAVING,
            (true, false) => VOTER,
            (false, _) => LEARNER,
        };
        let labelled = pod.labels().get(ROLE_LABEL).is_some_and(|held| held == role);
        let right = labelled && (role != LEAVING || led_away_since(pod).is_some());
        (!right).then(|| Drift::Role { member: member.clone(), role })
    })
}

fn marks<'a>(found: &'a Found, wanted: &'a Surroundings) -> impl Iterator<Item = Drift> + 'a {
    wanted.marks.iter().filter_map(|(member, mark)| {
        let claim = found.claims.get(member)?;
        let stays = claim.metadata.deletion_timestamp.is_none();
        (stays && !is_marked(claim, mark)).then(|| Drift::Mark { member: member.clone(), mark: mark.clone() })
    })
}

/// Whether the claim carries this mark, and nothing of another.
pub(super) fn is_marked(claim: &PersistentVolumeClaim, mark: &DiskMark) -> bool {
    mark_of(claim.annotations()).is_ok_and(|held| held.as_ref() == Some(mark))
}

fn is_held<K: Serialize>(live: Option<&K>, wanted: &K) -> bool {
    let Some(live) = live else { return false };
    match (serde_json::to_value(live), serde_json::to_value(wanted)) {
        (Ok(live), Ok(wanted)) => holds(&live, &wanted),
        _ => false,
    }
}

/// Whether all of `wanted` is in `live`.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| live.get(key).is_some_and(|held| holds(held, value)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            wanted.iter().all(|value| live.iter().any(|held| holds(held, value)))
        }
        (live, wanted) => live == wanted,
    }
}

//! How many voters a drain or another eviction has to leave.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CLUSTER_LABEL, LEAVING, ROLE_LABEL, VOTER, labels, match_labels, owned};
use crate::operator::validate::Validated;

/// An integer `minAvailable` over the Pods of voters.
///
/// Never `maxUnavailable`: Kubernetes counts that from `spec.replicas` of the resource, and in the
/// middle of a scale-in it would let the voters fall below their quorum.
pub fn budget(validated: &Validated, min_available: u32) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owned(validated.name.clone(), validated, labels(&validated.name)),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(min_available.try_into().unwrap_or(i32::MAX))),
            selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: ROLE_LABEL.to_owned(),
                    operator: "In".to_owned(),
                    // One that is about to leave votes until it has left.
                    values: Some(vec![LEAVING.to_owned(), VOTER.to_owned()]),
                }]),
                ..match_labels(&[(CLUSTER_LABEL, &validated.name)])
            }),
            // A voter that is not ready may be what the quorum waits for: it goes only if the
            // others are enough.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

//! What the objects of a cluster should be. Pure: the same spec and step give the same objects,
//! so that "is there anything to write?" is a comparison.
//!
//! One Pod and one claim for each member, two Services, one disruption budget. Pods, Services and
//! budget belong to the resource and go with it; claims belong to nobody and stay, because a
//! cascade must never reach the data.

mod budget;
mod claim;
mod marks;
mod pod;
mod services;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

pub use budget::budget;
pub use claim::claim;
pub use marks::{MarkError, annotations_of, mark_of};
pub use pod::{Image, LED_AWAY_SINCE, METRICS_PORT, SETTINGS, USER, led_away_since, pod};
pub use services::{client_service, headless_service};

use super::names::Addressing;
use super::validate::Validated;
use crate::api::{GROUP, VERSION};

#[cfg(test)]
mod tests;

/// The name under which all our writes are known to Kubernetes.
pub const FIELD_MANAGER: &str = "kvorum-operator";

/// The finalizer that holds a resource back until its disks have been dealt with.
pub const FINALIZER: &str = "kvorum.dev/dismantle";

/// Label of every object of a cluster; its value is the cluster's name.
pub const CLUSTER_LABEL: &str = "kvorum.dev/cluster";

/// Label of Pods and claims; its value is the member's name.
pub const MEMBER_LABEL: &str = "kvorum.dev/member";

/// Label of Pods; its value is [`VOTER`], [`LEAVING`] or [`LEARNER`].
pub const ROLE_LABEL: &str = "kvorum.dev/role";

/// The role of a member that counts for a majority.
pub const VOTER: &str = "voter";

/// The role of a voter that is about to leave, and to which clients are no longer led.
pub const LEAVING: &str = "leaving";

/// The role of a member that does not count yet, or any more.
pub const LEARNER: &str = "learner";

/// How the members of a cluster are addressed.
pub fn addressing(name: &str, namespace: &str) -> Addressing {
    Addressing::Service { service: headless_name(name), namespace: namespace.to_owned() }
}

/// The Service under which each member has a name of its own.
pub fn headless_name(cluster: &str) -> String {
    format!("{cluster}-members")
}

/// The Service that clients use.
pub fn client_name(cluster: &str) -> String {
    format!("{cluster}-client")
}

/// The selector of everything that belongs to the cluster, as `kubectl --selector` takes it.
pub fn selector(cluster: &str) -> String {
    format!("{CLUSTER_LABEL}={cluster}")
}

fn labels(cluster: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("app.kubernetes.io/name", "kvorum"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/part-of", "kvorum"),
        ("app.kubernetes.io/managed-by", FIELD_MANAGER),
        (CLUSTER_LABEL, cluster),
    ];
    pairs.map(|(label, value)| (label.to_owned(), value.to_owned())).into()
}

fn match_labels(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: Some(map(pairs)), ..LabelSelector::default() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Metadata of an object that goes when the resource goes.
fn owned(name: String, validated: &Validated, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![owner(validated)]),
        ..ObjectMeta::default()
    }
}

fn owner(validated: &Validated) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "KvorumCluster".to_owned(),
        name: validated.name.clone(),
        uid: validated.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

//! From a spec as somebody wrote it to one that can be carried out. After this no step may find
//! bad input.
//!
//! The rules are those of the CRD, whose texts are used: Kubernetes enforces them on writing,
//! this module wherever there is no Kubernetes.

use super::settings::Settings;
use crate::api::{KvorumClusterSpec, Retention};

/// A spec that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Voting members wanted; at least one.
    pub replicas: usize,
    pub paused: bool,
    pub retention: Retention,
    /// What processes are to be started with.
    pub settings: Settings,
    /// The spec itself, for what only a platform needs.
    pub spec: KvorumClusterSpec,
}

/// Why a spec cannot be carried out: field, value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

//! The seam between deciding and the place where members run. Both platforms carry out the same
//! [`Step`]s; which step that is, no platform decides.

pub mod kubernetes;
pub mod local;

use std::future::Future;

use super::observed::Observed;
use super::step::{Step, Surroundings};
use super::validate::Validated;
use crate::api::KvorumClusterStatus;

/// Where members run.
///
/// Changing the membership itself (add, promote, remove, move the leader) is the same everywhere
/// and goes through `super::members`; a platform never gets those steps.
pub trait Platform: Send + Sync {
    /// What only this platform needs of its last look, such as live Kubernetes objects.
    type Found: Send + Sync;

    /// Gathers all but the members' answers.
    ///
    /// # Errors
    /// When anything could not be looked at. What is not in the result is not there.
    fn observe(&self) -> impl Future<Output = Result<(Observed, Self::Found), PlatformError>> + Send;

    /// Names the objects around the members that are not what `wanted` says. Pure.
    fn drifted(&self, found: &Self::Found, validated: &Validated, wanted: &Surroundings) -> Vec<String>;

    /// Performs a step: Apply, Form, Start, Stop, ReleaseDisk or Dismantle. Returns when it is
    /// under way; the next look shows how far it came. Performing it again does no harm.
    ///
    /// # Errors
    /// When it could not be brought under way; it may have been done in part.
    fn perform(
        &self,
        step: &Step,
        validated: &Validated,
        observed: &Observed,
        found: &Self::Found,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Makes status and event known. Writes nothing when the status is the one that was observed.
    ///
    /// # Errors
    /// When it could not be written; the pass is then repeated.
    fn publish(
        &self,
        report: &Report,
        observed: &Observed,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;
}

/// What a pass makes known.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub status: KvorumClusterStatus,
    /// One for each step, and one whenever the reason to wait changes.
    pub event: Option<Event>,
}

/// A line of the cluster's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Something needs attention.
    pub warning: bool,
    /// One word: the kind of step, or why there is none.
    pub reason: String,
    pub note: String,
}

/// What went wrong while looking or acting.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct PlatformError {
    /// What was being done, such as `list Pods`.
    pub doing: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl PlatformError {
    pub fn new(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }
}

//! The resources of `kvorum.dev`: what people write, what the operator answers.
//! Types with their schema and its rules; no behaviour beyond accessors.
//!
//! Every field says in its documentation how a change of it reaches a cluster that runs:
//!
//! - **Live**: at once, no member is touched.
//! - **Rolling**: members are restarted one at a time, the leader last.
//! - **NewMembersOnly**: members that join from now on have it.
//! - **Immutable**: fixed when the cluster is created.

mod cluster;
mod crds;
mod status;

pub use cluster::*;
pub use crds::{crds, crds_yaml};
pub use status::*;

#[cfg(test)]
mod tests;

/// The API group of all our kinds, and the prefix of our labels and annotations.
pub const GROUP: &str = "kvorum.dev";

/// The version in which the kinds are stored.
pub const VERSION: &str = "v1alpha1";

//! From a spec as somebody wrote it to one that can be carried out. After this no step may find
//! bad input.
//!
//! There is one table of rules, the schema of the CRD. Kubernetes enforces it on every write;
//! where there is no Kubernetes, [`document`] does: bounds and unknown fields straight from the
//! schema (`schema`), and the few rules that the schema holds as CEL by a twin of each in Rust
//! (`rules`), word for word. A test holds the twins together.

mod rules;
mod schema;

use serde_json::Value;

use super::observed::{Identity, Observed};
use super::settings::Settings;
use crate::api::{KvorumCluster, KvorumClusterSpec, Retention};

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

/// Makes of the observed spec one that can be carried out.
///
/// # Errors
/// What is wrong with it. Kubernetes lets no such spec in, but a CRD may have been edited, or
/// become stricter. A spec that is wrong does not hold up the deletion of its resource.
pub fn validate(observed: &Observed) -> Result<Validated, Invalid> {
    let Identity { name, namespace, uid } = &observed.cluster;
    let spec = &observed.spec;
    let mut wrong = schema::check_spec(spec);
    wrong.extend(rules::name(name));
    wrong.extend(rules::spec(spec));
    let replicas = usize::try_from(spec.replicas).unwrap_or_default();
    if !wrong.is_empty() && !observed.deleting {
        return Err(Invalid(wrong));
    }
    Ok(Validated {
        name: name.clone(),
        namespace: namespace.clone(),
        uid: uid.clone(),
        replicas,
        paused: spec.paused,
        retention: spec.storage.retention.clone(),
        settings: Settings::of(spec),
        spec: spec.clone(),
    })
}

/// Reads a document as Kubernetes would: unknown fields are refused, defaults filled in, all
/// rules applied, and, given the spec that it replaces, those that hold for changes.
///
/// # Errors
/// Everything that is wrong with it.
pub fn document(text: &str, old: Option<&KvorumClusterSpec>) -> Result<KvorumCluster, Invalid> {
    let value: Value = serde_yaml::from_str(text)
        .map_err(|error| Invalid(vec![format!("the document is not YAML: {error}")]))?;
    let wrong = schema::check_document(&value);
    if !wrong.is_empty() {
        return Err(Invalid(wrong));
    }
    let cluster: KvorumCluster = serde_json::from_value(value)
        .map_err(|error| Invalid(vec![format!("the document is not a KvorumCluster: {error}")]))?;
    let mut wrong = rules::name(cluster.metadata.name.as_deref().unwrap_or_default());
    wrong.extend(rules::spec(&cluster.spec));
    wrong.extend(old.map(|old| rules::change(&cluster.spec, old)).unwrap_or_default());
    if wrong.is_empty() { Ok(cluster) } else { Err(Invalid(wrong)) }
}

#[cfg(test)]
mod tests;

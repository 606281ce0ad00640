//! What is written on a claim, so that it can be understood when nothing else is left: each part
//! of a [`DiskMark`] as an annotation that people can read.

use std::collections::{BTreeMap, BTreeSet};

use crate::operator::observed::DiskMark;

const OWNER: &str = "kvorum.dev/owner-uid";
const CLUSTER_ID: &str = "kvorum.dev/cluster-id";
const MEMBER_ID: &str = "kvorum.dev/member-id";
const VOTERS: &str = "kvorum.dev/voters";
const NEXT_ORDINAL: &str = "kvorum.dev/next-ordinal";
const QUARANTINED: &str = "kvorum.dev/quarantined";
const RETIRED: &str = "kvorum.dev/retired";

/// An annotation that is not what we write. It is never overlooked: a disk whose mark cannot be
/// read may be the only one that knows to which cluster it belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation} is {value:?}: must be {right}")]
pub struct MarkError {
    pub annotation: &'static str,
    pub value: String,
    pub right: &'static str,
}

/// The mark as annotations.
pub fn annotations_of(mark: &DiskMark) -> BTreeMap<String, String> {
    let voters: Vec<_> = mark.voters.iter().map(u32::to_string).collect();
    let pairs = [
        (OWNER, Some(mark.owner.clone())),
        (CLUSTER_ID, mark.cluster_id.map(|id| id.to_string())),
        (MEMBER_ID, mark.member_id.map(|id| id.to_string())),
        (VOTERS, Some(voters.join(","))),
        (NEXT_ORDINAL, (mark.next_ordinal > 0).then(|| mark.next_ordinal.to_string())),
        (QUARANTINED, mark.quarantined.then(|| "true".to_owned())),
        (RETIRED, mark.retired.then(|| "true".to_owned())),
    ];
    pairs.into_iter().filter_map(|(annotation, value)| Some((annotation.to_owned(), value?))).collect()
}

/// The mark in these annotations; `None` where nobody wrote one.
///
/// # Errors
/// When one of ours holds something that we never write.
pub fn mark_of(annotations: &BTreeMap<String, String>) -> Result<Option<DiskMark>, MarkError> {
    let Some(owner) = annotations.get(OWNER) else { return Ok(None) };
    Ok(Some(DiskMark {
        owner: owner.clone(),
        cluster_id: read(annotations, CLUSTER_ID, "an identity in hex", |text| text.parse().ok())?,
        member_id: read(annotations, MEMBER_ID, "an identity in hex", |text| text.parse().ok())?,
        voters: read(annotations, VOTERS, "ordinals with commas between them", ordinals)?.unwrap_or_default(),
        next_ordinal: read(annotations, NEXT_ORDINAL, "an ordinal", |text| text.parse().ok())?
            .unwrap_or_default(),
        quarantined: read(annotations, QUARANTINED, "true, or absent", only_true)?.unwrap_or_default(),
        retired: read(annotations, RETIRED, "true, or absent", only_true)?.unwrap_or_default(),
    }))
}

fn read<T>(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    right: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, MarkError> {
    let Some(value) = annotations.get(annotation) else { return Ok(None) };
    match parse(value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(MarkError { annotation, value: value.clone(), right }),
    }
}

fn only_true(text: &str) -> Option<bool> {
    (text == "true").then_some(true)
}

fn ordinals(text: &str) -> Option<BTreeSet<u32>> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.parse().ok()).collect()
}

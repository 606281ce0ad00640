//! The twins of the CEL rules in `api::cluster`, word for word.

use crate::api::{AutoCompactionMode, HEARTBEATS_PER_ELECTION_MIN, KvorumClusterSpec, NAME_CHARACTERS_MAX};

/// The rules for `metadata.name`.
pub(super) fn name(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let characters = name.chars().count();
    if characters > NAME_CHARACTERS_MAX {
        wrong.push(format!(
            "metadata.name is {name}, {characters} characters: must be at most {NAME_CHARACTERS_MAX}, since members \
             and Services are named after it"
        ));
    }
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inside)
        && !name.ends_with('-');
    if !label {
        wrong.push(format!(
            "metadata.name is {name}: must begin with a letter and hold only lower-case letters, digits and dashes, \
             since it becomes a DNS label"
        ));
    }
    wrong
}

/// The rules for a spec by itself.
pub(super) fn spec(spec: &KvorumClusterSpec) -> Vec<String> {
    let mut wrong = Vec::new();
    let (heartbeat, election) = (spec.timing.heartbeat_interval_ms, spec.timing.election_timeout_ms);
    let least = heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION_MIN);
    if election < least {
        wrong.push(format!(
            "spec.timing.electionTimeoutMs is {election}: must be at least five times \
             spec.timing.heartbeatIntervalMs, which is {heartbeat}, so {least} or more"
        ));
    }
    let retention = &spec.auto_compaction.retention;
    let number = !retention.is_empty() && retention.chars().all(|c| c.is_ascii_digit());
    match spec.auto_compaction.mode {
        AutoCompactionMode::Revision if !number => wrong.push(format!(
            "spec.autoCompaction.retention is {retention}: with mode Revision it must be a number of revisions, \
             such as 10000"
        )),
        AutoCompactionMode::Periodic if !number && !is_span(retention) => wrong.push(format!(
            "spec.autoCompaction.retention is {retention}: must be a number of hours, or a span such as 30m or 8h"
        )),
        AutoCompactionMode::Revision | AutoCompactionMode::Periodic => {}
    }
    let size = &spec.storage.size;
    match quantity(size) {
        None => wrong.push(format!("spec.storage.size is {size}: must be a quantity such as 8Gi")),
        Some(bytes) if bytes <= 0.0 => {
            wrong.push(format!("spec.storage.size is {size}: must be more than nothing, such as 8Gi"));
        }
        Some(_) => {}
    }
    if spec.bootstrap.static_list.is_none() {
        wrong.push(
            "spec.bootstrap names no way to form the cluster: must hold exactly one, such as static: {}"
                .to_owned(),
        );
    }
    wrong
}

/// The rules for a spec that replaces another.
pub(super) fn change(spec: &KvorumClusterSpec, old: &KvorumClusterSpec) -> Vec<String> {
    let mut wrong = Vec::new();
    let (size, old_size) = (&spec.storage.size, &old.storage.size);
    if let (Some(bytes), Some(old_bytes)) = (quantity(size), quantity(old_size))
        && bytes < old_bytes
    {
        wrong.push(format!(
            "spec.storage.size is {size}: a disk cannot shrink; it must be {old_size} or more"
        ));
    }
    if spec.storage.class_name != old.storage.class_name {
        let is = spec.storage.class_name.as_deref().unwrap_or("not set");
        let was = old.storage.class_name.as_deref().unwrap_or("no value");
        wrong
            .push(format!("spec.storage.className is {is}: it cannot change after creation; put back {was}"));
    }
    if spec.bootstrap != old.bootstrap {
        wrong.push(
            "spec.bootstrap was changed: it cannot change after creation, since it only matters while the cluster \
             forms; put back what it was"
                .to_owned(),
        );
    }
    wrong
}

/// Bytes of a quantity as the schema's pattern allows it. Rounded, which is of no matter in
/// comparing the sizes of disks.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power: u32 = match &text[digits.len()..] {
        "" => 0,
        "k" | "Ki" => 1,
        "M" | "Mi" => 2,
        "G" | "Gi" => 3,
        "T" | "Ti" => 4,
        "P" | "Pi" => 5,
        "E" | "Ei" => 6,
        _ => return None,
    };
    let base: f64 = if text.ends_with('i') { 1024.0 } else { 1000.0 };
    let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.starts_with(|c: char| c.is_ascii_digit());
    let number: f64 = plain.then(|| digits.parse().ok())??;
    Some(number * base.powi(power.try_into().ok()?))
}

/// `1h30m`, `1.5h`, `100ms`: numbers, each with its unit.
fn is_span(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = &rest[..rest.len() - number.len()];
        let Some(after) = ["ms", "s", "m", "h"].iter().find_map(|unit| number.strip_prefix(unit)) else {
            return false;
        };
        if digits.parse::<f64>().is_err() {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

//! Feature gates: the names that `--feature-gates` knows, and its notation.

use std::collections::BTreeMap;

use super::number;

/// One gate of etcd 3.7.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    pub name: &'static str,
    /// ALPHA or BETA, as `etcd_server_feature_enabled` shows it.
    pub stage: &'static str,
    pub default: bool,
    /// What turning it away from its default would do, were it not without effect.
    pub would: &'static str,
}

/// Every gate, in alphabetical order. None has an effect yet.
pub const GATES: &[Gate] = &[
    gate("AllAlpha", "ALPHA", false, "turn on every gate of stage ALPHA"),
    gate("AllBeta", "BETA", false, "turn on every gate of stage BETA"),
    gate("CompactHashCheck", "ALPHA", false, "compare the members' hashes at compacted revisions"),
    gate("FastLeaseKeepAlive", "BETA", true, "renew leases without waiting for the applied index"),
    gate("InitialCorruptCheck", "ALPHA", false, "compare this member's data with its peers' before serving"),
    gate("LeaseCheckpoint", "ALPHA", false, "send the remaining time of leases to the other members"),
    gate("LeaseCheckpointPersist", "ALPHA", false, "keep the remaining time of leases on disk"),
    gate("PriorityRequest", "ALPHA", false, "let lease revocations through when the server is overloaded"),
    gate(
        "SetMemberLocalAddr",
        "ALPHA",
        false,
        "dial peers from the address of --initial-advertise-peer-urls",
    ),
    gate("StopGRPCServiceOnDefrag", "ALPHA", false, "report not serving while the store is defragmented"),
    gate("TxnModeWriteWithSharedBuffer", "BETA", true, "share the read buffer of write transactions"),
];

const fn gate(name: &'static str, stage: &'static str, default: bool, would: &'static str) -> Gate {
    Gate { name, stage, default, would }
}

/// Reads `Name=bool,...`; the error is etcd's text.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, bool>, String> {
    let mut set = BTreeMap::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let Some((name, value)) = item.split_once('=') else {
            return Err(format!("missing bool value for {}", item.trim()));
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(value) = number::bool(value) else {
            let cause = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
            return Err(format!("invalid value of {name}={value}, err: {cause}"));
        };
        if !GATES.iter().any(|gate| gate.name == name) {
            return Err(format!("unrecognized feature gate: {name}"));
        }
        set.insert(name.to_owned(), value);
    }
    Ok(set)
}

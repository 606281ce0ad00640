//! The command line of a member: etcd's own flags, the same on every platform. Pure.

use super::names::Addressing;
use super::step::Launch;
use crate::api::{AutoCompactionMode, KvorumClusterSpec};

/// Where a member finds things on its platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder of its data.
    pub data: String,
    /// The address that it listens on with its own ports; `None` for the one it is known by.
    pub listen_on: Option<String>,
    /// Where it gives metrics and health in plain HTTP, beside its client port.
    pub metrics_url: Option<String>,
}

/// The flags of `launch`; the user's own come last and so win.
pub fn arguments(
    addressing: &Addressing,
    place: &Place,
    spec: &KvorumClusterSpec,
    launch: &Launch,
) -> Vec<String> {
    let member = &launch.member;
    let (client_url, peer_url) = (addressing.client_url(member), addressing.peer_url(member));
    let host = addressing.host(member);
    let listen = |url: &str| match &place.listen_on {
        Some(address) => url.replace(&host, address),
        None => url.to_owned(),
    };
    let mode = match spec.auto_compaction.mode {
        AutoCompactionMode::Periodic => "periodic",
        AutoCompactionMode::Revision => "revision",
    };
    let flags = [
        ("name", Some(member.to_string())),
        ("data-dir", Some(place.data.clone())),
        ("listen-client-urls", Some(listen(&client_url))),
        ("advertise-client-urls", Some(client_url)),
        ("listen-peer-urls", Some(listen(&peer_url))),
        ("initial-advertise-peer-urls", Some(peer_url)),
        ("listen-metrics-urls", place.metrics_url.clone()),
        ("initial-cluster", Some(launch.initial_cluster_flag())),
        ("initial-cluster-state", Some(launch.initial_cluster_state_flag().to_owned())),
        ("initial-cluster-token", Some(launch.token.clone())),
        ("heartbeat-interval", Some(spec.timing.heartbeat_interval_ms.to_string())),
        ("election-timeout", Some(spec.timing.election_timeout_ms.to_string())),
        ("snapshot-count", Some(spec.snapshot_count.to_string())),
        ("auto-compaction-mode", Some(mode.to_owned())),
        ("auto-compaction-retention", Some(spec.auto_compaction.retention.clone())),
    ];
    let flags = flags.into_iter().filter_map(|(flag, value)| Some(format!("--{flag}={}", value?)));
    flags.chain(spec.pod.extra_args.iter().cloned()).collect()
}

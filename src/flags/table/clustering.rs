//! Who the members are and how they find each other.

use super::TLS_LATER;
use crate::flags::{Flag, Kind, Releases};

pub(super) const CLUSTERING: &[Flag] = &[
    Flag::urls("initial-advertise-peer-urls", "http://localhost:2380")
        .help("This member's peer URLs as the other members know them."),
    Flag::text("initial-cluster", "")
        .range("NAME=URL,...; empty means this member alone; a name may stand several times")
        .help("The members of the cluster at its founding, or as they are when this one joins."),
    Flag::new("initial-cluster-state", Kind::Choice(&["new", "existing"]), "new")
        .help("Found a new cluster, or join an existing one; without effect once the member has started."),
    Flag::text("initial-cluster-token", "etcd-cluster")
        .help("Word that keeps clusters apart; part of every member ID and of the cluster ID."),
    Flag::urls("advertise-client-urls", "http://localhost:2379")
        .help("This member's client URLs as clients are told."),
    Flag::bool("strict-reconfig-check", "true")
        .help("Refuse changes of membership that would endanger quorum."),
    Flag::bool("pre-vote", "true")
        .help("Ask before campaigning, so that a member that comes back disturbs nobody."),
    Flag::text("auto-compaction-retention", "0")
        .range("0 turns it off; hours, a duration, or a number of revisions")
        .help("How much history compaction leaves."),
    Flag::text("auto-compaction-mode", "periodic")
        .range("periodic or revision")
        .help("Whether that is a time or a number of revisions."),
    Flag::uint("max-learners", "1")
        .releases(Releases::Since36)
        .help("Most learners in the cluster at a time."),
    Flag::text("discovery", "")
        .releases(Releases::Until36)
        .range("http://HOST:PORT/PATH/TOKEN")
        .help("URL of a v2 discovery service, token included; becomes the cluster's token."),
    Flag::new("discovery-fallback", Kind::Choice(&["exit", "proxy"]), "exit")
        .refused("the v2 proxy was removed in etcd 3.6; exit is the only way to fail")
        .help("What to do when discovery fails; see --kvorum-hold-when-refused."),
    Flag::text("discovery-proxy", "")
        .releases(Releases::Until36)
        .range("http://HOST:PORT")
        .help("HTTP proxy on the way to the v2 discovery service."),
    Flag::text("discovery-srv", "")
        .range("a domain; see --kvorum-discovery-srv-size")
        .help("Domain whose SRV records list the members: _etcd-server-ssl._tcp and _etcd-server._tcp."),
    Flag::text("discovery-srv-name", "").help("Suffix of the SRV service name: _etcd-server-SUFFIX._tcp."),
    Flag::text("discovery-token", "")
        .releases(Releases::Since36)
        .help("Token of the cluster at a v3 discovery service."),
    Flag::list("discovery-endpoints", "")
        .releases(Releases::Since36)
        .help("Endpoints of a v3 discovery service."),
    Flag::duration("discovery-dial-timeout", "2s")
        .releases(Releases::Since36)
        .help("Dial timeout towards the v3 discovery service."),
    Flag::duration("discovery-request-timeout", "5s")
        .releases(Releases::Since36)
        .help("Request timeout towards the v3 discovery service."),
    Flag::duration("discovery-keepalive-time", "2s")
        .releases(Releases::Since36)
        .accepted("set how a silent connection to the discovery service is noticed; here pings go out every 10s, answered within 6s")
        .help("Time between pings of the v3 discovery service."),
    Flag::duration("discovery-keepalive-timeout", "6s")
        .releases(Releases::Since36)
        .accepted("set how a silent connection to the discovery service is noticed; here pings go out every 10s, answered within 6s")
        .help("Time to wait for the answer to such a ping."),
    Flag::bool("discovery-insecure-transport", "true")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("Speak to the v3 discovery service without TLS."),
    Flag::bool("discovery-insecure-skip-tls-verify", "false")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("Trust any certificate of the v3 discovery service."),
    Flag::text("discovery-cert", "")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("Client certificate for the v3 discovery service."),
    Flag::text("discovery-key", "")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("Key of that certificate."),
    Flag::text("discovery-cacert", "")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("CA of the v3 discovery service."),
    Flag::text("discovery-user", "")
        .releases(Releases::Since36)
        .refused("users and passwords come in a later release")
        .help("User at the v3 discovery service."),
    Flag::text("discovery-password", "")
        .releases(Releases::Since36)
        .refused("users and passwords come in a later release")
        .help("Password of that user."),
    Flag::new(
        "v2-deprecation",
        Kind::Choices(&["write-only", "write-only-skip-check", "write-only-drop-data", "gone"]),
        "write-only",
    )
    .accepted("choose a phase of removing the v2 store; there is none here")
    .help("Phase of removing the v2 store; etcd 3.7 ignores it too."),
];

//! TLS, auth and whom to let in.

use super::TLS_LATER;
use crate::flags::{Flag, Kind, Releases};

pub(super) const SECURITY: &[Flag] = &[
    Flag::text("cert-file", "").refused(TLS_LATER).help("Server certificate of the client port."),
    Flag::text("key-file", "").refused(TLS_LATER).help("Key of that certificate."),
    Flag::bool("client-cert-auth", "false").refused(TLS_LATER).help("Demand certificates of clients."),
    Flag::text("client-cert-file", "")
        .refused(TLS_LATER)
        .help("Certificate for the server's own calls to its client port."),
    Flag::text("client-key-file", "").refused(TLS_LATER).help("Key of that certificate."),
    Flag::text("client-crl-file", "").refused(TLS_LATER).help("Revocation list for client certificates."),
    Flag::list("client-cert-allowed-hostname", "")
        .refused(TLS_LATER)
        .help("Names of which a client certificate must hold one."),
    Flag::text("trusted-ca-file", "").refused(TLS_LATER).help("CA of client certificates."),
    Flag::bool("auto-tls", "false").refused(TLS_LATER).help("Make a certificate for the client port."),
    Flag::text("peer-cert-file", "").refused(TLS_LATER).help("Certificate of the peer port."),
    Flag::text("peer-key-file", "").refused(TLS_LATER).help("Key of that certificate."),
    Flag::bool("peer-client-cert-auth", "false").refused(TLS_LATER).help("Demand certificates of peers."),
    Flag::text("peer-client-cert-file", "").refused(TLS_LATER).help("Certificate for calls to peers."),
    Flag::text("peer-client-key-file", "").refused(TLS_LATER).help("Key of that certificate."),
    Flag::text("peer-trusted-ca-file", "").refused(TLS_LATER).help("CA of peer certificates."),
    Flag::list("peer-cert-allowed-cn", "")
        .refused(TLS_LATER)
        .help("Common names of which a peer certificate must hold one."),
    Flag::list("peer-cert-allowed-hostname", "")
        .refused(TLS_LATER)
        .help("Names of which a peer certificate must hold one."),
    Flag::bool("peer-auto-tls", "false").refused(TLS_LATER).help("Make a certificate for the peer port."),
    Flag::uint("self-signed-cert-validity", "1")
        .accepted("set the life of self-made certificates; none are made yet")
        .help("Life of self-made certificates, in years."),
    Flag::text("peer-crl-file", "").refused(TLS_LATER).help("Revocation list for peer certificates."),
    Flag::bool("peer-skip-client-san-verification", "false")
        .releases(Releases::Since36)
        .refused(TLS_LATER)
        .help("Do not check the names in certificates of calling peers."),
    Flag::list("cipher-suites", "").refused(TLS_LATER).help("Cipher suites of both ports."),
    Flag::text("tls-min-version", "TLS1.2")
        .range("TLS1.2 or TLS1.3")
        .refused(TLS_LATER)
        .help("Lowest TLS version."),
    Flag::text("tls-max-version", "")
        .range("TLS1.2 or TLS1.3")
        .refused(TLS_LATER)
        .help("Highest TLS version."),
    Flag::new("cors", Kind::Origins, "*").help("Origins that browsers may call from; * allows all."),
    Flag::list("host-whitelist", "*")
        .help("Host names under which HTTP requests are accepted; * or empty allows all."),
];

pub(super) const AUTH: &[Flag] = &[
    Flag::text("auth-token", "simple")
        .range("simple")
        .refused("users, roles and tokens come in a later release; only the default, simple, is taken")
        .help("Kind of authentication token and its options."),
    Flag::uint("bcrypt-cost", "10")
        .range("4 to 31")
        .accepted("set the cost of password hashes; users and roles come in a later release")
        .help("Cost of password hashes."),
    Flag::uint("auth-token-ttl", "300")
        .range("seconds")
        .accepted("set the life of tokens; users and roles come in a later release")
        .help("Life of simple tokens, in seconds."),
];

//! The table itself, a file per kind of question. Nothing else names a flag's default.
//!
//! Checked against the flags that etcd 3.7, 3.6 and 3.5 register; `tests.rs` holds their names.

mod clustering;
mod former;
mod member;
mod observing;
mod security;
mod serving;

use super::{Flag, Group};

/// Why everything that would need TLS is refused. The one place to change when TLS is served.
pub const TLS_LATER: &str =
    "TLS comes in a later release; until then it is refused instead of serving plain text";

/// The table, in the order of the help text.
pub const SECTIONS: &[(Group, &[Flag])] = &[
    (Group::Usage, member::USAGE),
    (Group::Kvorum, member::KVORUM),
    (Group::Member, member::MEMBER),
    (Group::Clustering, clustering::CLUSTERING),
    (Group::Security, security::SECURITY),
    (Group::Auth, security::AUTH),
    (Group::Monitoring, observing::MONITORING),
    (Group::Logging, observing::LOGGING),
    (Group::Tracing, observing::TRACING),
    (Group::Features, serving::FEATURES),
    (Group::Unsafe, serving::UNSAFE),
    (Group::Former, former::FORMER),
];

/// Every flag.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    SECTIONS.iter().flat_map(|(_, flags)| flags.iter())
}

/// The flag of that name (without dashes).
pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

//! `kvorumctl discovery serve`: a registry where members of a new cluster find each other; and endpoints by SRV.
//!
//! request -> `request` (what is asked, pure) -> `registry` (the keys, pure) -> `store` (on disk before the
//! answer) -> `serve` (HTTP). It speaks as much of etcd's v2 keys API as clients of discovery need.

mod registry;
mod request;
mod serve;
mod srv;
mod store;

pub(super) use serve::serve;
pub(super) use srv::{endpoints, names};

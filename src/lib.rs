//! Kvorum: an etcd-v3-compatible Raft key-value server and the Kubernetes operator that manages it.
//!
//! The modules in reading order; ARCHITECTURE.md tells the two flows that run through them.

pub mod types;
pub mod proto;
pub mod membership;
pub mod mvcc;
pub mod apply;
pub mod client;
pub mod api;
pub mod operator;

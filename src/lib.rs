//! Kvorum: an etcd-v3-compatible Raft key-value server and the Kubernetes operator that manages it.
//!
//! The modules in reading order; ARCHITECTURE.md tells the two flows that run through them.

pub mod types;
// --- the server, bottom up ---
pub mod storage;
pub mod mvcc;
pub mod membership;
pub mod apply;
pub mod proto;
// --- the operator ---
pub mod client;
pub mod api;
pub mod operator;

//! Kvorum: an etcd-v3-compatible Raft key-value server and the Kubernetes operator that manages it.
//!
//! The modules in reading order; ARCHITECTURE.md tells the two flows that run through them.

pub mod types;
pub mod clock;
// --- what server and operator share ---
pub mod flags;
// --- the server, bottom up ---
pub mod telemetry;
pub mod storage;
pub mod mvcc;
pub mod membership;
pub mod apply;
pub mod raft;
pub mod watch;
pub mod bootstrap;
pub mod proto;
pub mod rpc;
pub mod server;
pub mod ctl;
// --- the operator ---
pub mod client;
pub mod api;
pub mod operator;

//! Framed TCP between members.
//!
//! A leader has three connections to each follower: **append** (entries, several frames under way),
//! **control** (everything small: heartbeats, votes, read indexes, membership changes, pings; kept
//! up between all members) and, when needed, **snapshot** (one checkpoint). A follower with
//! proposals has **forward** to the leader instead of append. So a heartbeat never queues behind
//! entries, and entries never behind a snapshot.
//!
//! ```text
//! dialler: PREFACE, Hello (cluster, who I am, whom I mean, which link)
//! other:   Welcome (come | other cluster | not me | you were removed)
//! then frames: requests from the dialler, answers to it
//! ```

mod append;
mod control;
mod dial;
mod forward;
mod frame;
mod message;
mod names;
mod network;
mod serve;
mod snapshot;

pub(super) use self::control::Control;
pub(super) use self::forward::Forward;
pub(super) use self::message::{Reply, Request};
pub use self::names::Names;
pub(super) use self::network::Network;
pub(super) use self::serve::{serve, write};

/// The first bytes of every connection between members; no HTTP request begins like this.
pub const PREFACE: &[u8] = b"KVORUM1\n";

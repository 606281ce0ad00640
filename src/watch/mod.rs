//! Watching the key space: who wants to know of which keys, and in what order they learn it.
//!
//! The pipeline: `apply` tells the [`Hub`] of each revision -> the hub finds the watchers in step with the
//! store (synced) and puts the shared batch into their streams' queues -> the stream hands out messages.
//! A watcher that is behind (it starts in the past, or its stream did not keep up) is not known to the hub:
//! its stream reads the history until it has caught up, then joins. So no queue grows without bound.
//!
//! Rules and texts as etcd's (docs/compatibility.md). No async and no clock here: the caller polls, and says
//! when a progress tick is due.

mod groups;
mod hub;
mod stream;
mod watcher;

#[cfg(test)]
mod tests;

pub use hub::{Counts, Hub};
pub use stream::{CatchUp, CaughtUp, Next, Requests, Stream};
pub use watcher::{CloseReason, Create, Filters, Message, Refused, Told, WatchId};

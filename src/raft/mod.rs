//! Consensus: openraft behind one [`Handle`]. The only room that names openraft.
//!
//! **A proposal**, in this room's own names. `Handle::propose` encodes the command once, with the
//! identity (this member, a sequence of its own), puts it into `proposals::Proposals` and waits. On
//! the Raft thread `submit` takes all that is queued: if we lead, `transport::write` hands each to
//! openraft for the log of this term only; if not, `transport::forward` carries the batch to the
//! leader, which does the same and gives back what it refuses. openraft calls `log_store` (append
//! and go on; the WAL's thread tells it when a batch is durable) and replicates over
//! `transport::append` meanwhile. Once a quorum has it, every member's `state_machine` applies it,
//! and the one whose member proposed it answers through `Proposals::answer`. So leader and follower
//! answer in the same way, and an answer always means that a read here sees the write.
//!
//! Answers to many cross to the callers' thread together, by `courier`.
//!
//! A proposal is sent once a term, and anew only when it is certain that it is in no log: the leader
//! refused it, or the first entry of a later term was applied here without it.
//!
//! **A linearizable read** joins `read_index`: one round to the leader for all who wait (`leadership`
//! says what the leader may answer), then `applied` lets them go on. **A change of membership** goes through `change` to the leader, is held
//! against the rules, and is one log entry. **A checkpoint** is due after so many entries; the state
//! machine freezes a view, `checkpoint` writes it on another thread, and openraft drops log behind it.
//!
//! **A new cluster** is founded by `found`: all first members take in the same entry, and one campaigns.
//!
//! **A leader that dies** breaks every follower's link in the same moment; `failover` asks the others
//! and campaigns at once when a quorum lost it. A leader that falls silent is noticed by openraft's
//! timer one to two election timeouts after its last heartbeat.
//!
//! **Threads.** Everything here runs on one thread with a runtime of its own, so that no work for
//! clients can delay a heartbeat; handles talk to it through a table, a list and watches.
//!
//! **Positions.** Inside, openraft's: the first entry is 0. Outside ([`Status`], [`Proposed`]) the
//! clients': the first entry is 1.

mod admit;
mod applied;
mod change;
mod checkpoint;
mod codec;
mod courier;
mod error;
mod failover;
mod found;
mod handle;
mod leadership;
mod log_store;
mod peers;
mod proposals;
mod read_index;
mod shared;
mod start;
mod state_machine;
mod status;
mod submit;
#[cfg(test)]
mod tests;
mod transfer;
mod transport;
mod types;

pub use self::change::Condition;
pub use self::error::{Error, Fault, StartError};
pub use self::handle::Handle;
pub use self::peers::PeerState;
pub use self::proposals::Proposed;
pub use self::shared::OnApplied;
pub use self::start::{Start, Timing, start};
pub use self::status::{Role, Status};
pub use self::transport::{Names, PREFACE};

//! The key space with its history: revisions, reads at any of them, transactions, compaction, events.
//! Pure: no clock, no randomness, no I/O, no async.

//!
//! `op` says what can be asked. `store` is the handle; `range`, `txn`, `write_txn` answer; `events` and `hash` walk
//! history; `compaction` gives history up. Below them lie the `log` of encoded `record`s and the `key_index` (`ordered`) over it,
//! the seam behind which the log may move to disk.

mod op;
mod store;
mod range;
mod txn;
mod write_txn;
mod events;
mod hash;
mod compaction;
mod frozen;
mod key_index;
mod ordered;
mod log;
mod record;
mod revision;

pub use events::History;
pub(crate) use frozen::{Frozen, Rebuilt};
pub use hash::HashKv;
pub(crate) use store::WriteError;
pub use store::{Error, Store};
pub use write_txn::Leases;
pub(crate) use write_txn::WriteTxn;

pub use op::{
    Compare, CompareResult, CompareTarget, DeleteOp, DeleteResult, Event, EventKind, KeyRange, KeyValue, Op,
    OpResult, PutOp, PutResult, RangeOp, RangeResult, Sort, SortTarget, TxnOp, TxnResult,
};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

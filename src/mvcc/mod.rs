//! The key space with its history: revisions, reads at any of them, transactions, compaction, events.
//! Pure: no clock, no randomness, no I/O, no async.

mod op;

pub use op::{
    Compare, CompareResult, CompareTarget, DeleteOp, DeleteResult, Event, EventKind, KeyRange, KeyValue, Op,
    OpResult, PutOp, PutResult, RangeOp, RangeResult, Sort, SortTarget, TxnOp, TxnResult,
};

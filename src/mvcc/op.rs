//! The operations a client can ask of the key space, checked, and what they answer.
//!
//! `rpc::parse` makes them from proto messages; after it every field can be trusted:
//! keys are not empty, unions are set, a transaction obeys etcd's limits.

use bytes::Bytes;

use crate::types::{LeaseId, Revision};

/// One key at one revision, with its whole bookkeeping (etcd's `mvccpb.KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    /// Revision of the put that made the key after it was absent.
    pub create_revision: Revision,
    /// Revision of the put that wrote this value.
    pub mod_revision: Revision,
    /// Number of puts since the key was made; 1 for the first.
    pub version: i64,
    pub lease: LeaseId,
}

/// A set of keys: etcd's `key` and `range_end` with their three special cases resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// Just this key (empty `range_end`).
    One(Bytes),
    /// `start <= key < end`; empty when `end <= start`.
    Span(Bytes, Bytes),
    /// Every key not below this one (`range_end` is one zero byte).
    From(Bytes),
}

/// What to sort a range's answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortTarget {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Sort of a range's answer; `None` in [`RangeOp::sort`] is key order, which needs no sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub target: SortTarget,
    pub descending: bool,
    /// The limit cuts before the sort, so that only what it let through is sorted: etcd does so when
    /// `sort_order` is NONE and `sort_target` is not KEY (`etcdserver/txn/range.go`, `rangeLimit`).
    pub after_limit: bool,
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeOp {
    pub range: KeyRange,
    /// At most so many keys; 0 is no limit.
    pub limit: i64,
    /// Read at this revision; 0 or less is now.
    pub revision: Revision,
    pub sort: Option<Sort>,
    pub keys_only: bool,
    pub count_only: bool,
    /// Bounds on the fetched keys' revisions; 0 is unset.
    pub min_mod_revision: Revision,
    pub max_mod_revision: Revision,
    pub min_create_revision: Revision,
    pub max_create_revision: Revision,
    /// Answered locally, without asking the leader (the store itself does not care).
    pub serializable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOp {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOp {
    pub range: KeyRange,
    pub prev_kv: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// The field compared, with the value it is compared to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(i64),
    Create(Revision),
    Mod(Revision),
    Value(Bytes),
    Lease(LeaseId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub result: CompareResult,
    pub target: CompareTarget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Range(RangeOp),
    Put(PutOp),
    Delete(DeleteOp),
    Txn(TxnOp),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnOp {
    pub compares: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

/// Answer to a read. `revision` is the store's at the time of the read, never the requested one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResult {
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// Keys in range at that revision, whatever the limit.
    pub count: i64,
    pub more: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutResult {
    pub revision: Revision,
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteResult {
    pub revision: Revision,
    pub deleted: i64,
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    Range(RangeResult),
    Put(PutResult),
    Delete(DeleteResult),
    Txn(TxnResult),
}

/// Answer to a transaction. The header revisions of the parts follow etcd: a part that comes after
/// a write of the same transaction already shows the transaction's own revision;
/// a nested transaction's own header shows none (0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResult {
    pub revision: Revision,
    pub succeeded: bool,
    pub results: Vec<OpResult>,
}

/// One change of one key, as watchers see it. A delete's `kv` holds key and mod_revision only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub kv: KeyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

impl KeyRange {
    /// Resolves etcd's pair of fields.
    pub fn of(key: Bytes, range_end: Bytes) -> Self {
        match range_end.as_ref() {
            [] => KeyRange::One(key),
            [0] => KeyRange::From(key),
            _ => KeyRange::Span(key, range_end),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => one == key,
            KeyRange::Span(start, end) => start.as_ref() <= key && key < end.as_ref(),
            KeyRange::From(start) => start.as_ref() <= key,
        }
    }
}

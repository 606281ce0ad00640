//! Requests become checked operations; every check, its order and its answer are etcd's
//! (its `v3rpc/key.go`). After this file no field is doubtful.

use std::collections::HashSet;

use bytes::Bytes;

use crate::apply::codec;
use crate::flags::HostUrl;
use crate::mvcc::{DeleteOp, KeyRange, Op, PutOp, RangeOp, Sort, SortTarget, TxnOp};
use crate::proto::etcdserverpb as pb;
use crate::types::Revision;
use crate::watch;

/// Why a request is refused before anything is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("key is not provided")]
    EmptyKey,
    #[error("value is provided")]
    ValueProvided,
    #[error("lease is provided")]
    LeaseProvided,
    #[error("too many operations in txn request")]
    TooManyOps,
    #[error("duplicate key given in txn request")]
    DuplicateKey,
    #[error("invalid sort option")]
    SortOption,
    /// An operation of a transaction that says nothing; etcd's words for it.
    #[error("key not found")]
    EmptyOp,
    /// Ours: etcd takes a comparison with a result it does not know for true.
    #[error("invalid compare option")]
    CompareOption,
    #[error("given member URLs are invalid")]
    MemberUrls,
}

pub(super) fn range(request: pb::RangeRequest) -> Result<RangeOp, Invalid> {
    check_key(&request.key)?;
    codec::range_from_proto(request).map_err(|_| Invalid::SortOption)
}

/// RangeStream serves keys in order and nothing else.
pub(super) fn range_is_streamable(op: &RangeOp) -> Result<(), &'static str> {
    let in_key_order = |sort: &Sort| sort.after_limit || sort.target == SortTarget::Key && !sort.descending;
    if !op.sort.as_ref().is_none_or(in_key_order) {
        return Err("RangeStream does not support custom sort orders");
    }
    let filters = [op.min_mod_revision, op.max_mod_revision, op.min_create_revision, op.max_create_revision];
    if filters.iter().any(|revision| *revision != Revision(0)) {
        return Err("RangeStream does not support revision filters");
    }
    Ok(())
}

pub(super) fn put(request: pb::PutRequest) -> Result<PutOp, Invalid> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Invalid::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Invalid::LeaseProvided);
    }
    Ok(codec::put_from_proto(request))
}

pub(super) fn delete_range(request: pb::DeleteRangeRequest) -> Result<DeleteOp, Invalid> {
    check_key(&request.key)?;
    Ok(codec::delete_from_proto(request))
}

/// `ops_max` bounds the longest of the three lists; what they leave of it bounds nested transactions.
pub(super) fn txn(request: pb::TxnRequest, ops_max: usize) -> Result<TxnOp, Invalid> {
    let txn = txn_parts(request, ops_max)?;
    check_overlaps(&txn.success)?;
    check_overlaps(&txn.failure)?;
    Ok(txn)
}

fn txn_parts(request: pb::TxnRequest, ops_max: usize) -> Result<TxnOp, Invalid> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = ops_max.checked_sub(ops).ok_or(Invalid::TooManyOps)?;
    for compare in &request.compare {
        check_key(&compare.key)?;
    }
    let branch = |ops: Vec<pb::RequestOp>| -> Result<Vec<Op>, Invalid> {
        ops.into_iter().map(|op| self::op(op, left)).collect()
    };
    let success = branch(request.success)?;
    let failure = branch(request.failure)?;
    let compares = request.compare.into_iter().map(codec::compare_from_proto);
    let compares = compares.collect::<Result<_, _>>().map_err(|_| Invalid::CompareOption)?;
    Ok(TxnOp { compares, success, failure })
}

fn op(op: pb::RequestOp, ops_max: usize) -> Result<Op, Invalid> {
    use pb::request_op::Request;
    match op.request {
        Some(Request::RequestRange(request)) => range(request).map(Op::Range),
        Some(Request::RequestPut(request)) => put(request).map(Op::Put),
        Some(Request::RequestDeleteRange(request)) => delete_range(request).map(Op::Delete),
        Some(Request::RequestTxn(request)) => txn_parts(request, ops_max).map(Op::Txn),
        None => Err(Invalid::EmptyOp),
    }
}

fn check_key(key: &Bytes) -> Result<(), Invalid> {
    if key.is_empty() { Err(Invalid::EmptyKey) } else { Ok(()) }
}

/// What the operations of one branch write, nested transactions included.
#[derive(Default)]
struct Writes<'a> {
    puts: HashSet<&'a Bytes>,
    /// Ranges of deletes; a delete of one key ends just behind it.
    deletes: Vec<&'a KeyRange>,
}

impl Writes<'_> {
    /// etcd leaves "every key from this one on" out of the check, and so do we.
    fn deletes(&self, key: &Bytes) -> bool {
        self.deletes.iter().any(|range| !matches!(range, KeyRange::From(_)) && range.contains(key))
    }
}

/// No key may be put twice, or put and deleted, in one branch and what is nested in it. The two branches of
/// a nested transaction exclude each other and may share keys.
fn check_overlaps(ops: &[Op]) -> Result<Writes<'_>, Invalid> {
    let mut writes = Writes::default();
    for op in ops {
        if let Op::Delete(delete) = op {
            writes.deletes.push(&delete.range);
        }
    }
    for op in ops {
        let Op::Txn(txn) = op else { continue };
        let success = check_overlaps(&txn.success)?;
        let failure = check_overlaps(&txn.failure)?;
        for key in &success.puts {
            if writes.deletes(key) || !writes.puts.insert(*key) {
                return Err(Invalid::DuplicateKey);
            }
        }
        for key in &failure.puts {
            let new = writes.puts.insert(*key);
            if writes.deletes(key) || (!new && !success.puts.contains(key)) {
                return Err(Invalid::DuplicateKey);
            }
        }
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Op::Put(put) = op
            && (writes.deletes(&put.key) || !writes.puts.insert(&put.key))
        {
            return Err(Invalid::DuplicateKey);
        }
    }
    Ok(writes)
}

/// Only ranges, so that nothing has to go through the log. A nested transaction counts as a write.
pub(super) fn txn_is_read_only(txn: &TxnOp) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, Op::Range(_)))
}

/// For a read-only transaction: every part of it may be answered locally.
pub(super) fn txn_is_serializable(txn: &TxnOp) -> bool {
    let local = |op: &Op| matches!(op, Op::Range(range) if range.serializable);
    txn.success.iter().chain(&txn.failure).all(local)
}

/// An empty key is the lowest one, one zero byte.
pub(super) fn watch_create(request: pb::WatchCreateRequest) -> watch::Create {
    use pb::watch_create_request::FilterType;
    let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key };
    let has = |filter: FilterType| request.filters.contains(&(filter as i32));
    watch::Create {
        id: watch::WatchId(request.watch_id),
        range: KeyRange::of(key, request.range_end),
        start: Revision(request.start_revision),
        filters: watch::Filters { no_put: has(FilterType::Noput), no_delete: has(FilterType::Nodelete) },
        prev_kv: request.prev_kv,
        progress_notify: request.progress_notify,
        fragment: request.fragment,
    }
}

/// The peer URLs of a member to be added, sorted.
pub(super) fn peer_urls(urls: &[String]) -> Result<Vec<HostUrl>, Invalid> {
    let mut urls: Vec<HostUrl> = urls
        .iter()
        .map(|url| HostUrl::parse(url))
        .collect::<Result<_, _>>()
        .map_err(|_| Invalid::MemberUrls)?;
    if urls.is_empty() {
        return Err(Invalid::MemberUrls);
    }
    urls.sort();
    Ok(urls)
}

//! The KV service: reads, writes, transactions, compaction.
//!
//! A write goes gate -> quota -> parse -> propose -> answer; a read goes gate -> parse -> read index (unless it may be
//! local) -> store -> answer. A read that may be large runs on a thread of its own, so that it delays nobody.

use std::num::NonZero;
use std::sync::Arc;

use futures::Stream;
use http::HeaderMap;
use prometheus::IntGauge;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::Status;

use super::gate::Gate;
use super::grpc::{Encoded, Reply, frame};
use super::header::Headers;
use super::quota::{self, Quota};
use super::{answer, parse, status};
use crate::apply::{Command, Outcome};
use crate::mvcc::{KeyRange, Op, RangeOp, RangeResult, Store, TxnOp};
use crate::proto::etcdserverpb as pb;
use crate::raft::{Error, Handle};
use crate::telemetry::metrics::Metrics;
use crate::types::Revision;

/// A store of so few keys is read in place: a tenth of a millisecond at most.
const KEYS_READ_IN_PLACE: u64 = 500;
/// Keys in the first message of a RangeStream, as in etcd.
const FIRST_CHUNK_KEYS: i64 = 10;

pub(super) struct Kv {
    gate: Arc<Gate>,
    headers: Headers,
    handle: Handle,
    store: Store,
    quota: Quota,
    metrics: Metrics,
    txn_ops_max: usize,
    request_bytes_max: usize,
    /// Large reads at a time: more would only share the processors.
    large_reads: Arc<Semaphore>,
}

impl Kv {
    pub(super) fn new(
        gate: Arc<Gate>,
        headers: Headers,
        quota: Quota,
        metrics: Metrics,
        txn_ops_max: usize,
        request_bytes_max: usize,
    ) -> Self {
        let handle = headers.handle.clone();
        let store = headers.state.store().clone();
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let large_reads = Arc::new(Semaphore::new(processors));
        Kv { gate, headers, handle, store, quota, metrics, txn_ops_max, request_bytes_max, large_reads }
    }

    pub(super) async fn range(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::RangeRequest,
    ) -> Result<Encoded, Status> {
        self.gate.unary(&headers, request.serializable)?;
        let op = parse::range(request).map_err(status::of_invalid)?;
        if !op.serializable {
            self.read_index().await?;
        }
        self.metrics.mvcc.range.inc();
        if !self.may_be_large(&op.range) {
            let result = self.store.range(&op).map_err(status::of_store)?;
            return Ok(Encoded::Whole(frame(&answer::range(self.headers.at(result.revision), result))));
        }
        let this = self.clone();
        let parts = self.elsewhere(move || {
            let result = this.store.range(&op).map_err(status::of_store)?;
            Ok(answer::range_in_parts(this.headers.at(result.revision), result))
        });
        parts.await.map(Encoded::Parts)
    }

    pub(super) async fn range_stream(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::RangeRequest,
    ) -> Result<impl Stream<Item = Result<pb::RangeStreamResponse, Status>>, Status> {
        self.gate.stream(&headers)?;
        let op = parse::range(request).map_err(status::of_invalid)?;
        parse::range_is_streamable(&op).map_err(Status::unimplemented)?;
        if !op.serializable {
            self.read_index().await?;
        }
        let chunks = Chunks::new(self, op);
        Ok(futures::stream::try_unfold(chunks, Chunks::next))
    }

    pub(super) async fn put(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::PutRequest,
    ) -> Result<Reply<pb::PutResponse>, Status> {
        self.gate.unary(&headers, false)?;
        self.quota.admit(quota::cost_of_put(&request)).await?;
        let op = parse::put(request).map_err(status::of_invalid)?;
        match self.propose(Command::Put(op)).await? {
            Outcome::Put(result) => Ok(answer::put(self.headers.at(result.revision), result).into()),
            other => Err(wrong_outcome("put", &other)),
        }
    }

    pub(super) async fn delete_range(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::DeleteRangeRequest,
    ) -> Result<Reply<pb::DeleteRangeResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let op = parse::delete_range(request).map_err(status::of_invalid)?;
        match self.propose(Command::DeleteRange(op)).await? {
            Outcome::DeleteRange(result) => {
                Ok(answer::delete_range(self.headers.at(result.revision), result).into())
            }
            other => Err(wrong_outcome("delete range", &other)),
        }
    }

    pub(super) async fn txn(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::TxnRequest,
    ) -> Result<Reply<pb::TxnResponse>, Status> {
        self.gate.unary(&headers, false)?;
        self.quota.admit(quota::cost_of_txn(&request)).await?;
        let op = parse::txn(request, self.txn_ops_max).map_err(status::of_invalid)?;
        let result = if parse::txn_is_read_only(&op) {
            self.read_txn(op).await?
        } else {
            match self.propose(Command::Txn(op)).await? {
                Outcome::Txn(result) => result,
                other => return Err(wrong_outcome("txn", &other)),
            }
        };
        Ok(answer::txn(self.headers.at(result.revision), result).into())
    }

    async fn read_txn(self: &Arc<Self>, op: TxnOp) -> Result<crate::mvcc::TxnResult, Status> {
        if !parse::txn_is_serializable(&op) {
            self.read_index().await?;
        }
        let ranges = op.success.iter().chain(&op.failure).filter_map(|op| match op {
            Op::Range(range) => Some(&range.range),
            Op::Put(_) | Op::Delete(_) | Op::Txn(_) => None,
        });
        self.metrics.mvcc.range.inc_by(ranges.clone().count() as u64);
        let mut ranges = ranges.chain(op.compares.iter().map(|compare| &compare.range));
        if !ranges.any(|range| self.may_be_large(range)) {
            return self.store.read_txn(&op).map_err(status::of_store);
        }
        let this = self.clone();
        self.elsewhere(move || this.store.read_txn(&op).map_err(status::of_store)).await
    }

    pub(super) async fn compact(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::CompactionRequest,
    ) -> Result<Reply<pb::CompactionResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let revision = Revision(request.revision);
        let physical = request.physical;
        self.propose(Command::Compact { revision, physical }).await?;
        if physical {
            let store = self.store.clone();
            // Waits for running reads; a panic of it has been reported where it happened.
            let _ = tokio::task::spawn_blocking(move || store.finish_compaction()).await;
        }
        Ok(pb::CompactionResponse { header: self.headers.now() }.into())
    }

    async fn read_index(&self) -> Result<(), Status> {
        let read = self.handle.read_index().await;
        read.inspect_err(|_| self.metrics.server.read_indexes_failed.inc()).map_err(status::of_raft)
    }

    async fn propose(&self, command: Command) -> Result<Outcome, Status> {
        let server = &self.metrics.server;
        let _pending = Pending::count(&server.proposals_pending);
        let proposed = self.handle.propose(command).await.inspect_err(|error| {
            if !matches!(error, Error::Rejected(_)) {
                server.proposals_failed.inc();
            }
        });
        Ok(proposed.map_err(status::of_raft)?.outcome)
    }

    fn may_be_large(&self, range: &KeyRange) -> bool {
        !matches!(range, KeyRange::One(_)) && self.store.key_count() > KEYS_READ_IN_PLACE
    }

    /// Runs a large read on a thread of its own, when its turn comes.
    async fn elsewhere<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let turn = self.large_reads.clone().acquire_owned().await.map_err(|_| status::stopped())?;
        let read = move || {
            let result = read();
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| Err(status::broken("a large read")))
    }
}

/// A proposal under way; also a client that goes away ends it.
struct Pending<'a>(&'a IntGauge);

impl<'a> Pending<'a> {
    fn count(pending: &'a IntGauge) -> Self {
        pending.inc();
        Pending(pending)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn wrong_outcome(of: &str, outcome: &Outcome) -> Status {
    tracing::error!(command = of, ?outcome, "applied command answers with another command's outcome");
    status::broken("applying the request")
}

/// A range that is read and told piece by piece, all of it at the first piece's revision.
struct Chunks {
    kv: Arc<Kv>,
    /// What is left to read; None when all is told.
    rest: Option<RangeOp>,
    /// Keys that may still be told.
    left: i64,
    /// The store's revision when the stream began, and the keys in the whole range.
    begun: Option<(Revision, i64)>,
}

impl Chunks {
    fn new(kv: Arc<Kv>, mut op: RangeOp) -> Self {
        let left = if op.limit > 0 { op.limit } else { i64::MAX };
        op.limit = FIRST_CHUNK_KEYS.min(left);
        Chunks { kv, rest: Some(op), left, begun: None }
    }

    async fn next(mut self) -> Result<Option<(pb::RangeStreamResponse, Self)>, Status> {
        let Some(mut op) = self.rest.take() else { return Ok(None) };
        let kv = self.kv.clone();
        let (op, result) = if kv.may_be_large(&op.range) {
            let store = kv.store.clone();
            let read = move || store.range(&op).map(|result| (op, result)).map_err(status::of_store);
            kv.elsewhere(read).await?
        } else {
            let result = kv.store.range(&op).map_err(status::of_store)?;
            op.serializable = true;
            (op, result)
        };
        let message = self.advance(op, result);
        Ok(Some((pb::RangeStreamResponse { range_response: Some(message) }, self)))
    }

    fn advance(&mut self, mut op: RangeOp, result: RangeResult) -> pb::RangeResponse {
        let (revision, count) = *self.begun.get_or_insert((result.revision, result.count));
        self.left -= result.kvs.len() as i64;
        let is_last = !result.more || self.left == 0 || op.count_only;
        let last_key = result.kvs.last().map(|kv| kv.key.clone());
        let mut message = answer::range(None, result);
        message.count = 0;
        if let (false, Some(last_key)) = (is_last, last_key) {
            message.more = false;
            op.limit = chunk_limit(op.limit, message.encoded_len(), self.kv.request_bytes_max).min(self.left);
            op.range = after(op.range, &last_key);
            if op.revision <= Revision(0) {
                op.revision = revision;
            }
            self.rest = Some(op);
        } else {
            message.header = self.kv.headers.at(revision);
            message.count = count;
        }
        message
    }
}

/// Keeps a message within half to double the size that one request may have.
fn chunk_limit(limit: i64, bytes: usize, target_bytes: usize) -> i64 {
    let limit = if bytes < target_bytes / 2 {
        limit.saturating_mul(2)
    } else if bytes > target_bytes.saturating_mul(2) {
        limit / 2
    } else {
        limit
    };
    limit.max(1)
}

/// The part of `range` behind `key`.
fn after(range: KeyRange, key: &[u8]) -> KeyRange {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    match range {
        KeyRange::One(_) => KeyRange::Span(next.clone().into(), next.into()),
        KeyRange::Span(_, end) => KeyRange::Span(next.into(), end),
        KeyRange::From(_) => KeyRange::From(next.into()),
    }
}

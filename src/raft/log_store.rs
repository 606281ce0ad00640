//! openraft's log on [`storage::wal`](crate::storage::wal).
//!
//! `append` only queues: openraft goes on, replicates to the followers while our own disk syncs, and
//! is told by [`IOFlushed`] when it did. Votes go through the same queue, so that a vote and entries
//! never change places on the disk; only their writer waits.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::Stream;
use futures::stream;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::codec;
use super::leadership::Promise;
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::storage::wal::{self, Record, Recovered, Wal};

/// Entries are read in pieces of about this size, for replication and for apply.
const READ_BYTES: usize = 1 << 20;

/// The log; clones are its readers and share the last vote.
#[derive(Clone)]
pub(super) struct LogStore {
    wal: Wal,
    promise: Promise,
    committed: Option<LogId>,
    hint: CommittedHint,
    purged: Option<LogId>,
    last: Option<LogId>,
}

/// The last position known to be committed, which bounds re-apply after a restart. It goes to the disk
/// with the next entries, or when [`CommittedHint::write`] is called, so that the log's thread is not
/// woken for it alone after every write.
#[derive(Clone)]
pub(super) struct CommittedHint {
    wal: Wal,
    waiting: Arc<Mutex<Option<LogId>>>,
}

impl CommittedHint {
    fn new(wal: Wal) -> Self {
        Self { wal, waiting: Arc::default() }
    }

    fn take(&self) -> Option<Record> {
        let committed = self.waiting.lock().take()?;
        Some(Record::Committed(codec::position_bytes(&committed)))
    }

    /// Queues it if no entries have taken it along.
    pub(super) fn write(&self) {
        if let Some(record) = self.take() {
            self.wal.append_lazily(record);
        }
    }
}

impl LogStore {
    /// # Errors
    /// `InvalidData` when a record that the log recovered cannot be decoded.
    pub(super) fn open(wal: Wal, recovered: &Recovered) -> io::Result<Self> {
        let position = |bytes: &Option<bytes::Bytes>| {
            bytes.clone().map(|mut bytes| codec::get_position(&mut bytes)).transpose()
        };
        let purged = position(&recovered.purged.as_ref().map(|(_, position)| position.clone()))?;
        let last = match (recovered.last, recovered.last_term) {
            (Some(index), Some(term)) => Some(codec::position(term, index)),
            _ => None,
        };
        let vote = recovered.vote.clone().map(|mut bytes| codec::get_vote(&mut bytes)).transpose()?;
        Ok(Self {
            hint: CommittedHint::new(wal.clone()),
            wal,
            promise: Promise::new(vote),
            committed: position(&recovered.committed)?,
            purged,
            last: last.max(purged),
        })
    }

    pub(super) fn promise(&self) -> Promise {
        self.promise.clone()
    }

    pub(super) fn hint(&self) -> CommittedHint {
        self.hint.clone()
    }

    /// Queues records and waits until they are durable.
    async fn write(&self, records: Vec<Record>) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.wal.append(records, move |result| {
            // Nobody waits any more only when Raft is stopping.
            let _ = done.send(result);
        });
        written.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.wal.read(start..end, READ_BYTES)?.into_iter().map(entry).collect()
    }
}

fn entry(read: wal::Entry) -> io::Result<Entry> {
    Ok(Entry::new(codec::position(read.term, read.index), codec::payload(read.payload)?))
}

fn record(entry: &Entry) -> Record {
    let payload = codec::payload_bytes(&entry.payload);
    Record::Entry(wal::Entry { index: entry.log_id.index, term: entry.log_id.leader_id.term.0, payload })
}

/// Start (inclusive) and end (exclusive) of a range of indexes.
fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (mut start, end) = ends(&range);
        let mut entries = Vec::new();
        while start < end {
            let piece = self.read(start, end)?;
            let Some(last) = piece.last() else { break };
            start = last.log_id.index + 1;
            entries.extend(piece);
        }
        Ok(entries)
    }

    /// What apply reads: piece by piece, so that a long replay is never in memory whole.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = ends(&range);
        let first = Vec::new().into_iter();
        let unfold =
            stream::unfold((self.clone(), start, first), move |(log, mut next, mut piece)| async move {
                if piece.len() == 0 && next < end {
                    piece = match log.read(next, end) {
                        Ok(piece) => piece.into_iter(),
                        // The end of the range is put behind us, so that the error is the last item.
                        Err(error) => return Some((Err(error), (log, end, Vec::new().into_iter()))),
                    };
                }
                let entry = piece.next()?;
                next = entry.log_id.index + 1;
                Some((Ok(entry), (log, next, piece)))
            });
        Box::pin(unfold)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.promise.get())
    }

    /// What replication reads: one frame's worth.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState { last_purged_log_id: self.purged, last_log_id: self.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.promise.set(*vote);
        self.write(vec![Record::Vote(codec::vote_bytes(vote))]).await
    }

    /// A hint that bounds re-apply after a restart; nobody waits for it and nothing syncs for it.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        *self.hint.waiting.lock() = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().map(|entry| record(&entry));
        let records: Vec<_> = self.hint.take().into_iter().chain(entries).collect();
        self.wal.append(records, move |result| callback.io_completed(result));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // Not waited for: whatever is appended next is behind it in the same queue.
        self.wal.append(vec![Record::TruncateAfter(last.map(|last| last.index))], |_| {});
        Ok(())
    }

    async fn purge(&mut self, through: LogId) -> io::Result<()> {
        // A purge that is lost in a crash is done again at the next checkpoint.
        self.wal.append_lazily(Record::Purged {
            through: through.index,
            position: codec::position_bytes(&through),
        });
        Ok(())
    }
}

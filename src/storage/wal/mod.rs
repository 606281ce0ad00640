//! The write-ahead log: the only thing that is synced before a write is acknowledged.
//!
//! ```text
//! append() --> Index (memory: sees it at once) --> queue --> writer thread: drain, one write, one
//!                                                           fdatasync, then every `done` in order
//! open()   --> recovery: scan the segments, rebuild the Index, seal the torn tail
//! read()   --> Index: payload still in memory, or its place in a segment
//! ```
//!
//! Segments are append-only files of fixed size, written into blocks that are there already (new
//! ones are filled with zeros ahead of use, purged ones are used again), because growing a file
//! costs up to twice a write into allocated blocks. The byte layout is in [`segment`].
//!
//! What always holds: segments hold a contiguous run of entries; a segment is synced before the next
//! one is written; each begins with the newest vote, commit hint and purge point, so that older
//! segments can go. Indexes here are openraft's: the first entry is 0.

mod index;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use self::index::Index;
use self::writer::Queue;
use super::fs::{Disk, Fs};

/// One entry of the log; the payload is opaque here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    pub payload: Bytes,
}

/// What can be written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Entry(Entry),
    /// The latest vote replaces all before it.
    Vote(Bytes),
    /// Entries above this index are void; `None` voids all.
    TruncateAfter(Option<u64>),
    /// How far the log is known to be committed: a hint that bounds re-apply after a restart.
    Committed(Bytes),
    /// Entries up to and including `through` are not needed any more.
    Purged {
        through: u64,
        position: Bytes,
    },
}

/// What the disk held at open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub vote: Option<Bytes>,
    pub committed: Option<Bytes>,
    /// The last purged index and the position that was recorded with it.
    pub purged: Option<(u64, Bytes)>,
    /// First and last entry present.
    pub first: Option<u64>,
    pub last: Option<u64>,
    pub last_term: Option<u64>,
}

/// Called with the time of each fdatasync.
pub type OnSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// Called with the bytes of each write, before it is synced.
pub type OnWrite = Arc<dyn Fn(u64) + Send + Sync>;

/// How the log lies on the disk.
#[derive(Clone)]
pub struct Options {
    /// Size at which a segment is sealed; a single larger batch may exceed it.
    pub segment_bytes: u64,
    /// Payloads of the newest entries that stay in memory.
    pub tail_bytes: usize,
    /// Skip every sync (`--unsafe-no-fsync`).
    pub unsafe_no_fsync: bool,
    pub on_sync: Option<OnSync>,
    pub on_write: Option<OnWrite>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            tail_bytes: 16 << 20,
            unsafe_no_fsync: false,
            on_sync: None,
            on_write: None,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log segment {}: corrupt at offset {offset}: {what}; restore the file, or remove this member and add it again with an empty disk", path.display())]
    Corrupt { path: PathBuf, offset: u64, what: String },
    #[error("log in {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
}

/// The log. Cheap to clone; the last clone to go stops the writer after all that was queued.
#[derive(Clone)]
pub struct Wal {
    index: Arc<Mutex<Index>>,
    queue: Arc<Queue>,
}

impl Wal {
    /// Opens the log in `folder`, making it if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a hole lies below a position that a later record says was durable;
    /// an ordinary torn batch at the end is cut off instead.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Recovered), Error> {
        let disk = Disk { unsafe_no_fsync: options.unsafe_no_fsync };
        Self::open_on(Arc::new(disk), folder, options)
    }

    pub(crate) fn open_on(
        fs: Arc<dyn Fs>,
        folder: &Path,
        options: Options,
    ) -> Result<(Self, Recovered), Error> {
        let scan = recovery::scan(&*fs, folder)?;
        let index = Arc::new(Mutex::new(scan.index));
        let io_error = |source| Error::Io { folder: folder.to_owned(), source };
        index.lock().set_tail_bytes_max(options.tail_bytes);
        let queue = Queue::start(fs, folder, options, scan.next_sequence, scan.spares, Arc::clone(&index))
            .map_err(io_error)?;
        let recovered = index.lock().recovered();
        Ok((Self { index, queue: Arc::new(queue) }, recovered))
    }

    /// Queues records. `done` runs on the writer's thread once they are durable, or with the error
    /// that stopped the log. Order is kept; nothing here waits for the disk.
    pub fn append(&self, records: Vec<Record>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.enqueue(records, Some(Box::new(done)));
    }

    /// Queues a record that no one waits for; it is written with the next batch, or soon alone, unsynced.
    pub fn append_lazily(&self, record: Record) {
        self.enqueue(vec![record], None);
    }

    /// Entries with an index in `range` that are present, in order, as many as fit `bytes_max`
    /// (at least one). Sees what [`Wal::append`] took in before it is durable.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        // Only the places are looked up under the lock; disk reads happen outside.
        let found = self.index.lock().find(range, bytes_max);
        found.into_iter().map(index::Found::load).collect()
    }

    /// First and last entry present.
    pub fn bounds(&self) -> (Option<u64>, Option<u64>) {
        let index = self.index.lock();
        (index.first(), index.last())
    }

    fn enqueue(&self, records: Vec<Record>, done: Option<writer::Done>) {
        // The queue is fed under the index's lock, so that memory and disk agree on the order.
        let mut index = self.index.lock();
        for record in &records {
            index.note(record);
        }
        self.queue.push(writer::Job { records, done });
    }
}

//! The store: log, index and revisions behind one short lock, and the handle that readers hold.
//!
//! What always holds: there is one writer (`apply::Applier`); a read at a revision between the compacted
//! and the current one sees exactly that revision, however long it takes, because later changes carry
//! later revisions and because a pinned revision keeps compaction from removing what it needs.
//!
//! Lock order: trimming, space, pins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::compaction::Trim;
use super::hash::HashKv;
use super::key_index::{KeyIndex, Place};
use super::log::Log;
use super::op::{KeyRange, KeyValue, RangeOp, RangeResult, TxnOp, TxnResult};
use super::range::{self, PinnedView};
use super::txn;
use super::write_txn::WriteTxn;
use crate::types::Revision;

/// What an empty store counts as, one page: etcdctl divides by the size, and etcd's is never 0.
const EMPTY_BYTES: u64 = 4096;

/// Why the key space refuses a read or a compaction; the same on every member. Texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("required revision has been compacted")]
    Compacted,
    #[error("required revision is a future revision")]
    FutureRevision,
}

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Read(#[from] Error),
    /// `ignore_value` or `ignore_lease` on a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    #[error("requested lease not found")]
    LeaseNotFound,
}

/// A handle on the key space: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    space: RwLock<Space>,
    /// Held through one step of trimming. Comes before both other locks.
    trimming: Mutex<()>,
    pins: Mutex<Pins>,
    /// Told when a pin goes, a compaction comes, or the store closes.
    changed: Condvar,
}

/// The key space itself.
pub(super) struct Space {
    pub(super) log: Log,
    pub(super) index: KeyIndex,
    /// Revision of the last write.
    pub(super) revision: Revision,
    /// Reads below it are refused; -1 until the first compaction.
    pub(super) compacted: Revision,
    /// Keys that exist at `revision`.
    pub(super) key_count: u64,
    /// Compactions that were decided but whose dead records are not all forgotten yet, oldest first.
    pub(super) trims: VecDeque<Trim>,
    /// Hashes taken by the last compactions, in order of revision.
    pub(super) hashes: Vec<HashKv>,
    /// Counts how often a restored space took the place of another.
    pub(super) epoch: u64,
}

impl Space {
    pub(super) fn new() -> Self {
        Space {
            log: Log::new(),
            index: KeyIndex::default(),
            revision: Revision(1),
            compacted: Revision(-1),
            key_count: 0,
            trims: VecDeque::new(),
            hashes: Vec::new(),
            epoch: 0,
        }
    }

    /// The change of `key` that a read at `at` sees, if the key exists then.
    pub(super) fn find(&self, key: &[u8], at: Revision) -> Option<Place> {
        let slot = self.index.slot(key, &self.log)?;
        self.index.seen_at(slot, at, &self.log).filter(|place| !place.is_tombstone())
    }
}

/// Revisions from which on running reads still need, with the number of reads.
#[derive(Default)]
struct Pins {
    reads: BTreeMap<Revision, usize>,
    changes: u64,
    closed: bool,
}

/// Keeps what a read at a revision needs until it is dropped.
pub(super) struct Pin<'a> {
    store: &'a Store,
    revision: Revision,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.store.shared.pins.lock();
        if let Some(reads) = pins.reads.get_mut(&self.revision) {
            *reads -= 1;
            if *reads == 0 {
                pins.reads.remove(&self.revision);
                pins.changes += 1;
                self.store.shared.changed.notify_all();
            }
        }
    }
}

impl Store {
    /// An empty store at revision 1.
    pub(crate) fn new() -> Self {
        let space = RwLock::new(Space::new());
        let (trimming, pins, changed) = (Mutex::default(), Mutex::default(), Condvar::new());
        Store { shared: Arc::new(Shared { space, trimming, pins, changed }) }
    }

    /// Revision of the last write; 1 in a new store.
    pub fn revision(&self) -> Revision {
        self.read().revision
    }

    /// Reads below this revision are refused; -1 when nothing was ever compacted.
    pub fn compacted_revision(&self) -> Revision {
        self.read().compacted
    }

    /// Keys that exist now.
    pub fn key_count(&self) -> u64 {
        self.read().key_count
    }

    /// Bytes of all records, the dead ones among them included, and of the store itself.
    pub fn size_in_bytes(&self) -> u64 {
        EMPTY_BYTES + self.read().log.bytes()
    }

    /// Bytes of the records that a read or a watcher can still ask for.
    pub fn size_in_use_in_bytes(&self) -> u64 {
        EMPTY_BYTES + self.read().log.live_bytes()
    }

    /// Reads a range. Large ranges are read in slices, all at one revision, so that writers never wait long.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::FutureRevision`] for the revision asked for.
    pub fn range(&self, op: &RangeOp) -> Result<RangeResult, Error> {
        if let KeyRange::One(_) = op.range {
            return range::range(&mut &*self.read(), op);
        }
        self.at_one_revision(|view| range::range(view, op))
    }

    /// Runs a transaction that holds reads only, all of it at one revision.
    ///
    /// # Errors
    /// As [`Store::range`], for any read on the path that the compares choose.
    pub fn read_txn(&self, op: &TxnOp) -> Result<TxnResult, Error> {
        self.at_one_revision(|view| txn::read_only(view, op))
    }

    /// Runs a read, again if a restored store took this one's place and no longer has the revision.
    fn at_one_revision<T>(&self, read: impl Fn(&mut PinnedView<'_>) -> T) -> T {
        loop {
            let mut view = PinnedView::now(self);
            let answer = read(&mut view);
            if !view.is_lost() {
                return answer;
            }
        }
    }

    /// The key as it was at `revision`; None when it did not exist, or when that is not known any more.
    pub fn get_at(&self, key: &[u8], revision: Revision) -> Option<KeyValue> {
        let space = self.read();
        if revision < space.compacted {
            return None;
        }
        space.find(key, revision).map(|place| space.log.key_value(place.location()))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Space> {
        self.shared.space.read()
    }

    /// The one way to change the store; for the Applier alone.
    pub(crate) fn write(&self) -> WriteTxn<'_> {
        WriteTxn::new(self.shared.space.write())
    }

    /// Runs `change` with all readers shut out.
    pub(super) fn alter<T>(&self, change: impl FnOnce(&mut Space) -> T) -> T {
        change(&mut self.shared.space.write())
    }

    /// Keeps every revision that `space` still has from being trimmed.
    pub(super) fn pin(&self, space: &Space) -> Pin<'_> {
        let revision = space.compacted;
        *self.shared.pins.lock().reads.entry(revision).or_insert(0) += 1;
        Pin { store: self, revision }
    }

    /// Whether a running read needs what a compaction at `revision` removes.
    pub(super) fn is_pinned_below(&self, revision: Revision) -> bool {
        self.shared.pins.lock().reads.first_key_value().is_some_and(|(pinned, _)| *pinned < revision)
    }

    /// Number of the last change that [`Store::wait_for_change`] waits for.
    pub(super) fn changes(&self) -> u64 {
        self.shared.pins.lock().changes
    }

    /// Waits until something changed since `seen`: a pin went or a compaction was decided.
    /// None: the writer is gone and nothing will change any more.
    pub(super) fn wait_for_change(&self, seen: u64) -> Option<u64> {
        let mut pins = self.shared.pins.lock();
        while pins.changes == seen && !pins.closed {
            self.shared.changed.wait(&mut pins);
        }
        (!pins.closed).then_some(pins.changes)
    }

    /// Tells whoever trims that a compaction was decided.
    pub(crate) fn compaction_decided(&self) {
        self.shared.pins.lock().changes += 1;
        self.shared.changed.notify_all();
    }

    /// Lets one thread at a time trim.
    pub(super) fn trimming(&self) -> MutexGuard<'_, ()> {
        self.shared.trimming.lock()
    }

    /// Puts a restored key space in the place of this one; all handles stay valid.
    pub(super) fn replace(&self, mut restored: Space) {
        let _trimming = self.trimming();
        self.alter(|space| {
            restored.epoch = space.epoch + 1;
            *space = restored;
        });
        self.compaction_decided();
    }

    /// The writer is gone: whoever waits for compactions may leave.
    pub(crate) fn close(&self) {
        self.shared.pins.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

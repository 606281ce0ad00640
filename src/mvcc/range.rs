//! Reads: what a range answers at one revision, seen through a view.
//!
//! A view shows the key space at a revision that stands still: the whole space under the lock, or in slices
//! under a pin. Rules of limit, count, filters and sort follow etcd's `etcdserver/txn/range.go`.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::key_index::Place;
use super::op::{KeyRange, KeyValue, RangeOp, RangeResult, Sort, SortTarget};
use super::store::{Error, Pin, Space, Store};
use crate::types::{LeaseId, Revision};

/// Keys looked at under one hold of the lock: some 100 microseconds.
const KEYS_PER_SLICE: usize = if cfg!(test) { 3 } else { 1000 };

/// The key space as a read sees it.
pub(super) trait View {
    /// The revision that is now to this view.
    fn revision(&self) -> Revision;
    fn compacted(&self) -> Revision;
    /// Shows every key of `range` that exists at `at`, in order, until `visit` breaks off.
    fn scan(
        &mut self,
        range: &KeyRange,
        at: Revision,
        visit: &mut dyn FnMut(&Space, Place) -> ControlFlow<()>,
    );
}

impl View for &Space {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compacted(&self) -> Revision {
        self.compacted
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        at: Revision,
        visit: &mut dyn FnMut(&Space, Place) -> ControlFlow<()>,
    ) {
        if let KeyRange::One(key) = range {
            if let Some(place) = self.find(key, at) {
                let _ = visit(self, place);
            }
            return;
        }
        for slot in self.index.range(range, None, &self.log) {
            let seen = self.index.seen_at(slot, at, &self.log).filter(|place| !place.is_tombstone());
            if seen.is_some_and(|place| visit(self, place).is_break()) {
                return;
            }
        }
    }
}

/// The store at the revision it had when the view was made, read in slices.
pub(super) struct PinnedView<'a> {
    store: &'a Store,
    _pin: Pin<'a>,
    revision: Revision,
    compacted: Revision,
    epoch: u64,
    is_lost: bool,
}

impl<'a> PinnedView<'a> {
    pub(super) fn now(store: &'a Store) -> Self {
        let space = store.read();
        PinnedView {
            store,
            _pin: store.pin(&space),
            revision: space.revision,
            compacted: space.compacted,
            epoch: space.epoch,
            is_lost: false,
        }
    }

    /// Whether a restored store took the place of the one that was pinned, without this view's revisions:
    /// then what was read is void.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Shows the next slice behind `after`; answers the last key of it when there may be more.
    fn slice(
        &mut self,
        range: &KeyRange,
        after: Option<&[u8]>,
        at: Revision,
        visit: &mut dyn FnMut(&Space, Place) -> ControlFlow<()>,
    ) -> Option<Box<[u8]>> {
        let space = self.store.read();
        if space.epoch != self.epoch && !(space.compacted..=space.revision).contains(&at) {
            self.is_lost = true;
            return None;
        }
        for (i, slot) in space.index.range(range, after, &space.log).enumerate() {
            let seen = space.index.seen_at(slot, at, &space.log).filter(|place| !place.is_tombstone());
            if seen.is_some_and(|place| visit(&space, place).is_break()) {
                return None;
            }
            if i + 1 == KEYS_PER_SLICE {
                return Some(space.index.key(slot, &space.log).into());
            }
        }
        None
    }
}

impl View for PinnedView<'_> {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compacted(&self) -> Revision {
        self.compacted
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        at: Revision,
        visit: &mut dyn FnMut(&Space, Place) -> ControlFlow<()>,
    ) {
        let mut after = self.slice(range, None, at, visit);
        while let Some(key) = after {
            after = self.slice(range, Some(&key), at, visit);
        }
    }
}

/// Answers a read.
pub(super) fn range(view: &mut impl View, op: &RangeOp) -> Result<RangeResult, Error> {
    let now = view.revision();
    let at = if op.revision.0 <= 0 { now } else { op.revision };
    if at > now {
        return Err(Error::FutureRevision);
    }
    if at < view.compacted() {
        return Err(Error::Compacted);
    }
    let (mut kvs, count) = fetch(view, op, at);
    kvs.retain(|kv| passes(op, kv));
    if let Some(sort) = op.sort {
        sort_by(&mut kvs, sort);
    }
    let more = op.limit > 0 && kvs.len() as u64 > op.limit as u64;
    if more {
        kvs.truncate(op.limit as usize);
    }
    if op.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Ok(RangeResult { revision: now, kvs, count, more })
}

/// The keys to answer from, one more than the limit if there are so many, and the number of all keys in range.
fn fetch(view: &mut impl View, op: &RangeOp, at: Revision) -> (Vec<KeyValue>, i64) {
    let mut kvs = Vec::new();
    let mut count = 0;
    let wanted = wanted(op);
    let is_sorted_by_value = op.sort.is_some_and(|sort| sort.target == SortTarget::Value);
    view.scan(&op.range, at, &mut |space, place| {
        count += 1;
        if kvs.len() < wanted {
            kvs.push(if op.keys_only && !is_sorted_by_value {
                // etcd answers this from its index, which knows no leases.
                KeyValue { lease: LeaseId(0), ..space.log.key_value_head(place.location()) }
            } else {
                space.log.key_value(place.location())
            });
        }
        ControlFlow::Continue(())
    });
    (kvs, count)
}

/// How many keys must be fetched: all of them when they are to be filtered, or sorted before the limit cuts.
fn wanted(op: &RangeOp) -> usize {
    if op.count_only {
        return 0;
    }
    let has_filter =
        [op.min_mod_revision, op.max_mod_revision, op.min_create_revision, op.max_create_revision]
            .iter()
            .any(|revision| revision.0 != 0);
    if op.limit <= 0 || has_filter || op.sort.is_some_and(|sort| !sort.after_limit && !is_key_order(sort)) {
        return usize::MAX;
    }
    usize::try_from(op.limit).map_or(usize::MAX, |limit| limit.saturating_add(1))
}

fn is_key_order(sort: Sort) -> bool {
    sort.target == SortTarget::Key && !sort.descending
}

fn passes(op: &RangeOp, kv: &KeyValue) -> bool {
    let is_within = |revision: Revision, min: Revision, max: Revision| {
        (min.0 == 0 || revision >= min) && (max.0 == 0 || revision <= max)
    };
    is_within(kv.mod_revision, op.min_mod_revision, op.max_mod_revision)
        && is_within(kv.create_revision, op.min_create_revision, op.max_create_revision)
}

/// Stable, so equals stay in key order also when descending, as short answers of etcd do.
fn sort_by(kvs: &mut [KeyValue], sort: Sort) {
    if is_key_order(sort) {
        return;
    }
    kvs.sort_by(|a, b| {
        let order = match sort.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if sort.descending { order.reverse() } else { order }
    });
}

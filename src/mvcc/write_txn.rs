//! One write to the key space: all of its changes carry one revision, and readers see all of them or none.

use std::ops::ControlFlow;

use parking_lot::RwLockWriteGuard;

use super::key_index::{Place, Version};
use super::op::{
    DeleteOp, DeleteResult, Event, EventKind, KeyRange, KeyValue, PutOp, PutResult, RangeOp, RangeResult,
};
use super::ordered::Position;
use super::range::{self, View};
use super::record::{Draft, DraftPut};
use super::revision::Stamp;
use super::store::{Error, Space, WriteError};
use crate::types::{LeaseId, Revision};

/// Which leases exist: asked before a put may name one.
pub trait Leases {
    fn is_known(&self, lease: LeaseId) -> bool;
}

/// A write in progress. Check everything first: what was written is not taken back.
pub(crate) struct WriteTxn<'a> {
    space: RwLockWriteGuard<'a, Space>,
    begin: Revision,
    events: Vec<Event>,
}

impl<'a> WriteTxn<'a> {
    pub(super) fn new(space: RwLockWriteGuard<'a, Space>) -> Self {
        let begin = space.revision;
        WriteTxn { space, begin, events: Vec::new() }
    }

    /// The revision that a read in this transaction sees: the next one as soon as something was written.
    pub(crate) fn revision(&self) -> Revision {
        if self.events.is_empty() { self.begin } else { self.next() }
    }

    fn next(&self) -> Revision {
        Revision(self.begin.0 + 1)
    }

    pub(super) fn space(&mut self) -> &mut Space {
        &mut self.space
    }

    /// Ends the write: the store's revision now, and what changed, in order.
    pub(crate) fn commit(mut self) -> (Revision, Vec<Event>) {
        self.space.revision = self.revision();
        (self.space.revision, self.events)
    }

    /// Whether [`WriteTxn::put`] may be called.
    ///
    /// # Errors
    /// [`WriteError::LeaseNotFound`]; [`WriteError::KeyNotFound`] when value or lease are to be kept of a key that is not there.
    pub(crate) fn check_put(&self, op: &PutOp, leases: &dyn Leases) -> Result<(), WriteError> {
        check_put(&self.space, op, leases)
    }

    pub(crate) fn put(&mut self, op: &PutOp) -> PutResult {
        let main = self.next();
        let position = self.space.index.find(&op.key, &self.space.log);
        let newest = position.ok().map(|position| self.space.index.newest_at(position));
        let living = newest.filter(|place| !place.is_tombstone());
        let kept = living.filter(|_| op.prev_kv || op.ignore_value);
        let previous_kv = kept.map(|place| self.space.log.key_value(place.location()));
        let mut kv = KeyValue {
            key: op.key.clone(),
            value: op.value.clone(),
            create_revision: main,
            mod_revision: main,
            version: 1,
            lease: op.lease,
        };
        if let Some(place) = living {
            let previous = self.space.log.fields(place.location());
            kv.create_revision = previous.create;
            kv.version = previous.version + 1;
            if op.ignore_lease {
                kv.lease = previous.lease;
            }
        } else {
            self.space.key_count += 1;
        }
        if let Some(previous) = previous_kv.as_ref().filter(|_| op.ignore_value) {
            kv.value = previous.value.clone();
        }
        self.write(position, EventKind::Put, kv);
        PutResult { revision: main, prev_kv: previous_kv.filter(|_| op.prev_kv) }
    }

    pub(crate) fn delete(&mut self, op: &DeleteOp) -> DeleteResult {
        let seen = self.revision();
        let mut places = Vec::new();
        let mut space: &Space = &self.space;
        space.scan(&op.range, seen, &mut |_, place| {
            places.push(place);
            ControlFlow::Continue(())
        });
        let prev_kvs = match op.prev_kv {
            true => places.iter().map(|place| self.space.log.key_value(place.location())).collect(),
            false => Vec::new(),
        };
        for place in &places {
            let key = self.space.log.key_value_head(place.location()).key;
            let mod_revision = self.next();
            self.space.key_count -= 1;
            let position = self.space.index.find(&key, &self.space.log);
            self.write(position, EventKind::Delete, KeyValue { key, mod_revision, ..KeyValue::default() });
        }
        DeleteResult { revision: self.revision(), deleted: places.len() as i64, prev_kvs }
    }

    pub(crate) fn range(&self, op: &RangeOp) -> Result<RangeResult, Error> {
        range::range(&mut InTxn { space: &self.space, revision: self.revision() }, op)
    }

    /// Appends one change to log and index.
    fn write(&mut self, position: Result<Position, Position>, kind: EventKind, kv: KeyValue) {
        let main = self.next();
        let sub = u32::try_from(self.events.len()).expect("a transaction holds fewer than 2^32 changes");
        let is_tombstone = kind == EventKind::Delete;
        let put = (!is_tombstone).then(|| DraftPut {
            create: kv.create_revision,
            version: kv.version,
            value: &kv.value,
            lease: kv.lease,
        });
        let draft = Draft { stamp: Stamp { main, sub }, key: &kv.key, put };
        let space = &mut *self.space;
        let newest = position.ok().map(|position| space.index.newest_at(position));
        let previous = newest.map(|place| space.log.record(place.location()).stamp.main);
        let location = space.log.append(&draft);
        let version = Version { main, place: Place::new(location, is_tombstone) };
        space.index.push(position, &kv.key, version, previous, &space.log);
        if let Some(place) = newest {
            space.log.supersede(place.location(), main);
        }
        self.events.push(Event { kind, kv });
    }
}

/// See [`WriteTxn::check_put`].
pub(super) fn check_put(space: &Space, op: &PutOp, leases: &dyn Leases) -> Result<(), WriteError> {
    if op.lease.0 != 0 && !leases.is_known(op.lease) {
        return Err(WriteError::LeaseNotFound);
    }
    let keeps = op.ignore_value || op.ignore_lease;
    if keeps && space.index.newest(&op.key, &space.log).is_none_or(Place::is_tombstone) {
        return Err(WriteError::KeyNotFound);
    }
    Ok(())
}

/// The space as a read within a write sees it, its own changes included.
struct InTxn<'a> {
    space: &'a Space,
    revision: Revision,
}

impl View for InTxn<'_> {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compacted(&self) -> Revision {
        self.space.compacted
    }

    fn scan(
        &mut self,
        range: &KeyRange,
        at: Revision,
        visit: &mut dyn FnMut(&Space, Place) -> ControlFlow<()>,
    ) {
        self.space.scan(range, at, visit);
    }
}

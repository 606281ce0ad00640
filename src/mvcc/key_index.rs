//! The key index: every key in order, with the places of its changes in the revision log.
//!
//! A key's history is a list of changes, oldest first. A tombstone ends a *generation*: the puts since
//! the key was last absent. Worked example, with `t` for a tombstone:
//!
//! ```text
//! put 2, put 4, delete 5, put 7      history 2 4 5t 7       generations {2 4 5t} {7}
//! read at 4 -> 4;  at 5 and 6 -> absent;  at 7 -> 7;  at 1 -> absent
//! compact 3 -> 2 4 5t 7              2 is what a read at 3 sees
//! compact 4 -> 4 5t 7
//! compact 5 -> 5t 7                  a tombstone at the very compacted revision stays: a watcher that
//! compact 6 -> 7                     starts there is owed its event (etcd since 3.5.16)
//! ```
//! What the generations know in etcd, create revision and version, lies in each record here.
//! A key with one change, the usual case, costs some fifteen bytes: its place, and what `ordered` adds to it.

use std::ops::Bound;

use super::log::{Location, Log};
use super::op::KeyRange;
use super::ordered::{Keys, Ordered, Position};
use crate::types::Revision;

/// One change of a key: where its record lies, and whether it is a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Place {
    const TOMBSTONE: u64 = 1 << Location::BITS;

    pub(super) fn new(location: Location, tombstone: bool) -> Self {
        Place(location.pack() | if tombstone { Self::TOMBSTONE } else { 0 })
    }

    pub(super) fn location(self) -> Location {
        Location::unpack(self.0)
    }

    pub(super) fn is_tombstone(self) -> bool {
        self.0 & Self::TOMBSTONE != 0
    }
}

/// A change with its revision, for keys that have more than one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) main: Revision,
    pub(super) place: Place,
}

/// What the ordered set holds for a key: its only change, or the number of its history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(u64);

enum Unpacked {
    Only(Place),
    Many(usize),
}

impl Slot {
    const MANY: u64 = 1 << 63;

    fn only(place: Place) -> Self {
        Slot(place.0)
    }

    fn many(history: usize) -> Self {
        Slot(Self::MANY | history as u64)
    }

    fn unpack(self) -> Unpacked {
        if self.0 & Self::MANY == 0 {
            Unpacked::Only(Place(self.0))
        } else {
            Unpacked::Many((self.0 & !Self::MANY) as usize)
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct KeyIndex {
    slots: Ordered<Slot>,
    histories: Histories,
}

#[derive(Debug, Default)]
struct Histories {
    /// Each at least two changes long, or free.
    lists: Vec<Vec<Version>>,
    /// Numbers of histories that are free to be used again.
    free: Vec<usize>,
}

impl Histories {
    fn add(&mut self, history: Vec<Version>) -> usize {
        match self.free.pop() {
            Some(number) => {
                self.lists[number] = history;
                number
            }
            None => {
                self.lists.push(history);
                self.lists.len() - 1
            }
        }
    }

    fn newest(&self, slot: Slot) -> Place {
        match slot.unpack() {
            Unpacked::Only(place) => place,
            Unpacked::Many(number) => self.lists[number].last().expect("a history is never empty").place,
        }
    }
}

/// Any change of a key leads to a record that holds it.
struct KeysInLog<'a> {
    histories: &'a Histories,
    log: &'a Log,
}

impl Keys<Slot> for KeysInLog<'_> {
    fn key_of(&self, slot: Slot) -> &[u8] {
        self.log.key(self.histories.newest(slot).location())
    }
}

impl KeyIndex {
    fn keys<'a>(&'a self, log: &'a Log) -> KeysInLog<'a> {
        KeysInLog { histories: &self.histories, log }
    }

    /// Where a key stands in the order, or where it would stand.
    pub(super) fn find(&self, key: &[u8], log: &Log) -> Result<Position, Position> {
        self.slots.find(key, &self.keys(log))
    }

    pub(super) fn slot(&self, key: &[u8], log: &Log) -> Option<Slot> {
        self.find(key, log).ok().map(|position| self.slots.get(position))
    }

    /// The last change of a key.
    pub(super) fn newest(&self, key: &[u8], log: &Log) -> Option<Place> {
        self.slot(key, log).map(|slot| self.histories.newest(slot))
    }

    pub(super) fn newest_at(&self, position: Position) -> Place {
        self.histories.newest(self.slots.get(position))
    }

    /// The change of a key that a read at `at` sees; it may be a tombstone.
    pub(super) fn seen_at(&self, slot: Slot, at: Revision, log: &Log) -> Option<Place> {
        match slot.unpack() {
            Unpacked::Only(place) => log.is_at_most(place.location(), at).then_some(place),
            Unpacked::Many(number) => {
                let history = &self.histories.lists[number];
                let after = history.partition_point(|version| version.main <= at);
                after.checked_sub(1).map(|i| history[i].place)
            }
        }
    }

    /// Adds a key's newest change, `position` being what [`KeyIndex::find`] says of it. `previous` is the revision
    /// of its last change, if it has one.
    pub(super) fn push(
        &mut self,
        position: Result<Position, Position>,
        key: &[u8],
        version: Version,
        previous: Option<Revision>,
        log: &Log,
    ) {
        let position = match position {
            Ok(position) => position,
            Err(position) => {
                let keys = KeysInLog { histories: &self.histories, log };
                return self.slots.insert(position, key, Slot::only(version.place), &keys);
            }
        };
        match self.slots.get(position).unpack() {
            Unpacked::Many(number) => self.histories.lists[number].push(version),
            Unpacked::Only(place) => {
                let main = previous.expect("a key in the index has a last change");
                let number = self.histories.add(vec![Version { main, place }, version]);
                self.slots.set(position, Slot::many(number));
            }
        }
    }

    /// Forgets one change of a key, and the key with its last one.
    pub(super) fn forget(&mut self, key: &[u8], location: Location, log: &Log) {
        let Ok(position) = self.find(key, log) else { return };
        match self.slots.get(position).unpack() {
            Unpacked::Only(place) if place.location() == location => self.slots.remove(position, key),
            Unpacked::Only(_) => {}
            Unpacked::Many(number) => {
                let history = &mut self.histories.lists[number];
                if let Some(i) = index_of(history, location) {
                    history.remove(i);
                }
                if let [last] = history[..] {
                    self.slots.set(position, Slot::only(last.place));
                    self.histories.lists[number] = Vec::new();
                    self.histories.free.push(number);
                }
            }
        }
    }

    /// The change at `from` of the key at `position` lies elsewhere now.
    pub(super) fn relocate(&mut self, position: Position, from: Location, to: Location) {
        match self.slots.get(position).unpack() {
            Unpacked::Only(place) => {
                debug_assert_eq!(place.location(), from, "the only change of a key is where the index says");
                self.slots.set(position, Slot::only(Place::new(to, place.is_tombstone())));
            }
            Unpacked::Many(number) => {
                let history = &mut self.histories.lists[number];
                let i = index_of(history, from).expect("a living record is in its key's history");
                history[i].place = Place::new(to, history[i].place.is_tombstone());
            }
        }
    }

    /// The keys of `range`, in order, from behind `after` when it is given.
    pub(super) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        after: Option<&'a [u8]>,
        log: &'a Log,
    ) -> impl Iterator<Item = Slot> {
        let (start, end): (&[u8], Bound<&[u8]>) = match range {
            KeyRange::One(key) => (key, Bound::Included(key)),
            KeyRange::Span(start, end) => (start, Bound::Excluded(end)),
            KeyRange::From(start) => (start, Bound::Unbounded),
        };
        let lower = after.map_or(Bound::Included(start), Bound::Excluded);
        let lowest = after.unwrap_or(start);
        let is_empty = match end {
            Bound::Unbounded => false,
            Bound::Included(end) => lowest > end,
            Bound::Excluded(end) => lowest >= end,
        };
        let slots = (!is_empty).then(|| self.slots.range(lower, end, &self.keys(log)));
        slots.into_iter().flatten()
    }

    pub(super) fn key<'a>(&self, slot: Slot, log: &'a Log) -> &'a [u8] {
        log.key(self.histories.newest(slot).location())
    }
}

/// Locations rise with history, so a change is found by bisection.
fn index_of(history: &[Version], location: Location) -> Option<usize> {
    history.binary_search_by_key(&location, |version| version.place.location()).ok()
}

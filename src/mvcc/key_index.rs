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
//! A key with one change, the usual case, costs its bytes and eight more.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::log::{Location, Log};
use super::op::KeyRange;
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
struct Version {
    main: Revision,
    place: Place,
}

/// What the ordered map holds for a key: its only change, or the number of its history.
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
    keys: BTreeMap<Box<[u8]>, Slot>,
    histories: Vec<Vec<Version>>,
    /// Numbers of histories that are free to be used again.
    free: Vec<usize>,
}

impl KeyIndex {
    /// The last change of a key.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Place> {
        self.keys.get(key).map(|slot| self.newest_of(*slot))
    }

    fn newest_of(&self, slot: Slot) -> Place {
        match slot.unpack() {
            Unpacked::Only(place) => place,
            Unpacked::Many(history) => {
                self.histories[history].last().expect("a history is never empty").place
            }
        }
    }

    /// The change of a key that a read at `at` sees; it may be a tombstone.
    pub(super) fn seen_at(&self, slot: Slot, at: Revision, log: &Log) -> Option<Place> {
        match slot.unpack() {
            Unpacked::Only(place) => log.is_at_most(place.location(), at).then_some(place),
            Unpacked::Many(history) => {
                let history = &self.histories[history];
                let after = history.partition_point(|version| version.main <= at);
                after.checked_sub(1).map(|i| history[i].place)
            }
        }
    }

    pub(super) fn slot(&self, key: &[u8]) -> Option<Slot> {
        self.keys.get(key).copied()
    }

    /// Adds a key's newest change. `previous` is the revision of its last change, if it has one.
    pub(super) fn push(&mut self, key: &[u8], main: Revision, place: Place, previous: Option<Revision>) {
        let Some(slot) = self.keys.get_mut(key) else {
            self.keys.insert(key.into(), Slot::only(place));
            return;
        };
        let version = Version { main, place };
        match slot.unpack() {
            Unpacked::Many(history) => self.histories[history].push(version),
            Unpacked::Only(first) => {
                let main = previous.expect("a key in the index has a last change");
                let history = vec![Version { main, place: first }, version];
                let number = match self.free.pop() {
                    Some(number) => {
                        self.histories[number] = history;
                        number
                    }
                    None => {
                        self.histories.push(history);
                        self.histories.len() - 1
                    }
                };
                *slot = Slot::many(number);
            }
        }
    }

    /// Forgets one change of a key, and the key with its last one.
    pub(super) fn forget(&mut self, key: &[u8], location: Location) {
        let Some(slot) = self.keys.get_mut(key) else { return };
        match slot.unpack() {
            Unpacked::Only(place) if place.location() == location => {
                self.keys.remove(key);
            }
            Unpacked::Only(_) => {}
            Unpacked::Many(number) => {
                let history = &mut self.histories[number];
                if let Some(i) = position(history, location) {
                    history.remove(i);
                }
                if let [last] = history[..] {
                    *slot = Slot::only(last.place);
                    self.histories[number] = Vec::new();
                    self.free.push(number);
                }
            }
        }
    }

    /// A change of `key` lies elsewhere now.
    pub(super) fn relocate(&mut self, key: &[u8], from: Location, to: Location) {
        let slot = self.keys.get_mut(key).expect("a living record's key is in the index");
        match slot.unpack() {
            Unpacked::Only(place) => {
                debug_assert_eq!(place.location(), from, "the only change of a key is where the index says");
                *slot = Slot::only(Place::new(to, place.is_tombstone()));
            }
            Unpacked::Many(number) => {
                let history = &mut self.histories[number];
                let i = position(history, from).expect("a living record is in its key's history");
                history[i].place = Place::new(to, history[i].place.is_tombstone());
            }
        }
    }

    /// The keys of `range`, in order, from behind `after` when it is given.
    pub(super) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = (&'a [u8], Slot)> {
        let (start, end): (&[u8], Bound<&[u8]>) = match range {
            KeyRange::One(key) => (key, Bound::Included(key)),
            KeyRange::Span(start, end) => (start, Bound::Excluded(end)),
            KeyRange::From(start) => (start, Bound::Unbounded),
        };
        let lower = after.map_or(Bound::Included(start), Bound::Excluded);
        let is_empty = match (lower, end) {
            (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start >= end,
            (Bound::Unbounded, _) => unreachable!("every range has a start"),
        };
        (!is_empty)
            .then(|| self.keys.range::<[u8], _>((lower, end)))
            .into_iter()
            .flatten()
            .map(|(key, slot)| (key.as_ref(), *slot))
    }
}

/// Locations rise with history, so a change is found by bisection.
fn position(history: &[Version], location: Location) -> Option<usize> {
    history.binary_search_by_key(&location, |version| version.place.location()).ok()
}

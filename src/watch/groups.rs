//! The watchers in step with the store, found by key: a hash map for single keys, an ordered list with
//! interval search for ranges.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::stream::Shared;
use super::watcher::{Filters, WatchId};
use crate::mvcc::{Event, KeyRange};
use crate::types::Revision;

/// Identity of a watcher within the hub; never used again, unlike a [`WatchId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Token(pub(super) u64);

/// A watcher that gets its events as they happen.
pub(super) struct Synced {
    pub(super) stream: Arc<Shared>,
    pub(super) id: WatchId,
    pub(super) range: KeyRange,
    pub(super) filters: Filters,
    /// Events below it are not for this watcher. Above what was delivered only for starts in the future.
    pub(super) min: Revision,
}

#[derive(Default)]
pub(super) struct Groups {
    watchers: HashMap<Token, Synced>,
    exact: HashMap<Bytes, Vec<Token>>,
    ranges: Ranges,
}

impl Groups {
    pub(super) fn insert(&mut self, token: Token, watcher: Synced) {
        match &watcher.range {
            KeyRange::One(key) => self.exact.entry(key.clone()).or_default().push(token),
            KeyRange::Span(start, end) => self.ranges.insert(start, Some(end), token),
            KeyRange::From(start) => self.ranges.insert(start, None, token),
        }
        self.watchers.insert(token, watcher);
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Synced> {
        let watcher = self.watchers.remove(&token)?;
        match &watcher.range {
            KeyRange::One(key) => self.remove_exact(key, token),
            KeyRange::Span(start, end) => self.ranges.remove(start, Some(end), token),
            KeyRange::From(start) => self.ranges.remove(start, None, token),
        }
        Some(watcher)
    }

    fn remove_exact(&mut self, key: &Bytes, token: Token) {
        if let Some(tokens) = self.exact.get_mut(key) {
            tokens.retain(|t| *t != token);
            if tokens.is_empty() {
                self.exact.remove(key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    pub(super) fn get(&self, token: Token) -> Option<&Synced> {
        self.watchers.get(&token)
    }

    /// Every watcher that wants at least one of these events of one revision, each once.
    pub(super) fn interested(&mut self, revision: Revision, events: &[Event]) -> Vec<Token> {
        let mut found = Vec::new();
        for event in events {
            let mut consider = |token: &Token| {
                let watcher = &self.watchers[token];
                if revision >= watcher.min && !watcher.filters.drops(event.kind) {
                    found.push(*token);
                }
            };
            if let Some(tokens) = self.exact.get(&event.kv.key) {
                tokens.iter().for_each(&mut consider);
            }
            self.ranges.containing(&event.kv.key, &mut consider);
        }
        if events.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// Every watcher that has to know of revisions up to `revision`.
    pub(super) fn due_by(&self, revision: Revision) -> Vec<Token> {
        self.watchers.iter().filter(|(_, w)| w.min <= revision).map(|(token, _)| *token).collect()
    }
}

/// Key ranges with their watchers, sorted by start; `furthest` makes a balanced search tree of the list.
#[derive(Default)]
struct Ranges {
    sorted: Vec<Interval>,
    /// For the middle of each part that the search divides the list into: the position of the interval
    /// that ends last in that part. Empty when out of date.
    furthest: Vec<usize>,
}

struct Interval {
    start: Bytes,
    /// Exclusive; None has no end.
    end: Option<Bytes>,
    watchers: Vec<Token>,
}

impl Interval {
    fn ends_after(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| end.as_ref() > key)
    }
}

impl Ranges {
    fn position(&self, start: &Bytes, end: Option<&Bytes>) -> Result<usize, usize> {
        self.sorted.binary_search_by(|i| (&i.start, i.end.as_ref()).cmp(&(start, end)))
    }

    fn insert(&mut self, start: &Bytes, end: Option<&Bytes>, token: Token) {
        match self.position(start, end) {
            Ok(at) => self.sorted[at].watchers.push(token),
            Err(at) => {
                let interval = Interval { start: start.clone(), end: end.cloned(), watchers: vec![token] };
                self.sorted.insert(at, interval);
                self.furthest.clear();
            }
        }
    }

    fn remove(&mut self, start: &Bytes, end: Option<&Bytes>, token: Token) {
        let Ok(at) = self.position(start, end) else { return };
        self.sorted[at].watchers.retain(|t| *t != token);
        if self.sorted[at].watchers.is_empty() {
            self.sorted.remove(at);
            self.furthest.clear();
        }
    }

    fn containing(&mut self, key: &[u8], visit: &mut impl FnMut(&Token)) {
        if self.sorted.is_empty() {
            return;
        }
        if self.furthest.is_empty() {
            self.furthest = vec![0; self.sorted.len()];
            self.find_furthest(0, self.sorted.len());
        }
        self.search(0, self.sorted.len(), key, visit);
    }

    /// Fills `furthest` for the part `low..high`, which is not empty; returns its interval that ends last.
    fn find_furthest(&mut self, low: usize, high: usize) -> usize {
        let middle = low + (high - low) / 2;
        let mut last = middle;
        for (low, high) in [(low, middle), (middle + 1, high)] {
            if low < high {
                let other = self.find_furthest(low, high);
                let other_ends_later = match (&self.sorted[other].end, &self.sorted[last].end) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(a), Some(b)) => a > b,
                };
                if other_ends_later {
                    last = other;
                }
            }
        }
        self.furthest[middle] = last;
        last
    }

    fn search(&self, low: usize, high: usize, key: &[u8], visit: &mut impl FnMut(&Token)) {
        if low >= high {
            return;
        }
        let middle = low + (high - low) / 2;
        if !self.sorted[self.furthest[middle]].ends_after(key) {
            return;
        }
        self.search(low, middle, key, visit);
        let interval = &self.sorted[middle];
        if interval.start.as_ref() <= key {
            if interval.ends_after(key) {
                interval.watchers.iter().for_each(&mut *visit);
            }
            self.search(middle + 1, high, key, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_search_finds_what_a_plain_search_finds() {
        // A fixed little generator, so that the test is the same each time.
        let mut seed = 7u64;
        let mut next = move |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        let mut ranges = Ranges::default();
        let mut plain: Vec<(u8, Option<u8>, Token)> = Vec::new();
        for round in 0..400 {
            if next(4) == 0 && !plain.is_empty() {
                let (start, end, token) = plain.swap_remove(next(plain.len() as u64) as usize);
                ranges.remove(&Bytes::from(vec![start]), end.map(|e| Bytes::from(vec![e])).as_ref(), token);
            } else {
                let start = next(40) as u8;
                let end = (next(5) > 0).then(|| start + 1 + next(12) as u8);
                ranges.insert(
                    &Bytes::from(vec![start]),
                    end.map(|e| Bytes::from(vec![e])).as_ref(),
                    Token(round),
                );
                plain.push((start, end, Token(round)));
            }
            let key = next(60) as u8;
            let mut found = Vec::new();
            ranges.containing(&[key], &mut |token: &Token| found.push(*token));
            found.sort();
            let mut expected: Vec<_> = plain
                .iter()
                .filter(|(start, end, _)| *start <= key && end.is_none_or(|end| key < end))
                .map(|(_, _, token)| *token)
                .collect();
            expected.sort();
            assert_eq!(found, expected, "round {round}, key {key}");
        }
    }
}

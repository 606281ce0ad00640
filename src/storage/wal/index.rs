//! The log in memory: for each entry its term, its place on the disk, and for the newest its payload.
//!
//! What always holds: slots are contiguous from `first`; a slot has a payload, a place, or both;
//! only slots with a place may give up their payload.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::segment::{Content, Header, Place, entry_record_bytes};
use super::{Entry, Record, Recovered};
use crate::storage::fs::File;

/// An open segment: where its entries are read from.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) file: Arc<dyn File>,
    /// The greatest index ever appended to it; `None` while it holds no entry.
    pub(super) greatest: Option<u64>,
}

struct Slot {
    term: u64,
    payload_bytes: u32,
    payload: Option<Bytes>,
    place: Option<Place>,
}

#[derive(Default)]
pub(super) struct Index {
    first: u64,
    slots: VecDeque<Slot>,
    /// Slots below this position hold no payload (a budget of 0, as in recovery, keeps none).
    cached_from: usize,
    cached_bytes: usize,
    tail_bytes_max: usize,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    /// Oldest first; sequences are contiguous.
    pub(super) segments: VecDeque<Segment>,
}

/// An entry found: with its payload, or where to read it.
pub(super) enum Found {
    Here(Entry),
    There { index: u64, term: u64, payload_bytes: usize, place: Place, segment: Segment },
}

impl Index {
    pub(super) fn first(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    pub(super) fn last(&self) -> Option<u64> {
        (!self.slots.is_empty()).then(|| self.first + self.slots.len() as u64 - 1)
    }

    pub(super) fn purged_through(&self) -> Option<u64> {
        self.purged.as_ref().map(|(through, _)| *through)
    }

    pub(super) fn set_tail_bytes_max(&mut self, bytes: usize) {
        self.tail_bytes_max = bytes;
        self.trim_payloads();
    }

    /// Takes in a record as it is appended or recovered.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => self.note_entry(entry),
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            Record::TruncateAfter(last) => self.truncate_after(*last),
            Record::Committed(position) => self.committed = Some(position.clone()),
            Record::Purged { through, position } => self.purge(*through, position),
        }
    }

    fn note_entry(&mut self, entry: &Entry) {
        if self.slots.is_empty() {
            self.first = entry.index;
        }
        assert_eq!(entry.index, self.first + self.slots.len() as u64, "entries are appended without a gap");
        self.cached_bytes += entry.payload.len();
        self.slots.push_back(Slot {
            term: entry.term,
            payload_bytes: entry.payload.len() as u32,
            payload: Some(entry.payload.clone()),
            place: None,
        });
    }

    fn truncate_after(&mut self, last: Option<u64>) {
        let keep = last.map_or(0, |last| (last + 1).saturating_sub(self.first)) as usize;
        while self.slots.len() > keep {
            let slot = self.slots.pop_back().expect("longer than what is kept");
            self.forget(&slot);
        }
        self.cached_from = self.cached_from.min(self.slots.len());
    }

    fn purge(&mut self, through: u64, position: &Bytes) {
        if self.purged_through().is_some_and(|before| before >= through) {
            return;
        }
        self.purged = Some((through, position.clone()));
        while self.first <= through {
            let Some(slot) = self.slots.pop_front() else { break };
            self.forget(&slot);
            self.first += 1;
            self.cached_from = self.cached_from.saturating_sub(1);
        }
    }

    fn forget(&mut self, slot: &Slot) {
        if let Some(payload) = &slot.payload {
            self.cached_bytes -= payload.len();
        }
    }

    /// The entry now lies on the disk (perhaps not yet durable). A later truncation may have
    /// replaced the slot by one of another term; that one has a place of its own to come.
    pub(super) fn set_place(&mut self, index: u64, term: u64, place: Place) {
        if let Some(slot) = index.checked_sub(self.first).and_then(|at| self.slots.get_mut(at as usize))
            && slot.term == term
        {
            slot.place = Some(place);
        }
    }

    /// Gives up the oldest payloads beyond the budget.
    pub(super) fn trim_payloads(&mut self) {
        while self.cached_bytes > self.tail_bytes_max
            && let Some(slot) = self.slots.get_mut(self.cached_from)
            && slot.place.is_some()
        {
            if let Some(payload) = slot.payload.take() {
                self.cached_bytes -= payload.len();
            }
            self.cached_from += 1;
        }
    }

    pub(super) fn find(&self, range: Range<u64>, bytes_max: usize) -> Vec<Found> {
        let end = self.first + self.slots.len() as u64;
        let mut bytes = 0;
        let mut found = Vec::new();
        for index in range.start.max(self.first)..range.end.min(end) {
            let slot = &self.slots[(index - self.first) as usize];
            bytes += slot.payload_bytes as usize;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(self.found(index, slot));
        }
        found
    }

    fn found(&self, index: u64, slot: &Slot) -> Found {
        if let Some(payload) = &slot.payload {
            return Found::Here(Entry { index, term: slot.term, payload: payload.clone() });
        }
        let place = slot.place.expect("a slot without payload has a place");
        let segment = self.segment(place.sequence).expect("a segment stays while its entries do").clone();
        Found::There { index, term: slot.term, payload_bytes: slot.payload_bytes as usize, place, segment }
    }

    fn segment(&self, sequence: u64) -> Option<&Segment> {
        let oldest = self.segments.front()?.header.sequence;
        self.segments.get(sequence.checked_sub(oldest)? as usize)
    }

    /// The newest of each kind, as every segment begins with them.
    pub(super) fn state(&self) -> Vec<Record> {
        let vote = self.vote.clone().map(Record::Vote);
        let committed = self.committed.clone().map(Record::Committed);
        let purged = self.purged.clone().map(|(through, position)| Record::Purged { through, position });
        [vote, committed, purged].into_iter().flatten().collect()
    }

    pub(super) fn recovered(&self) -> Recovered {
        Recovered {
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
            first: self.first(),
            last: self.last(),
            last_term: self.slots.back().map(|slot| slot.term),
        }
    }
}

impl Found {
    /// Reads the entry from the disk where memory does not hold it.
    pub(super) fn load(self) -> io::Result<Entry> {
        let (index, term, payload_bytes, place, segment) = match self {
            Found::Here(entry) => return Ok(entry),
            Found::There { index, term, payload_bytes, place, segment } => {
                (index, term, payload_bytes, place, segment)
            }
        };
        let mut bytes = vec![0; entry_record_bytes(payload_bytes)];
        let count = segment.file.read_at(&mut bytes, place.offset)?;
        match segment.header.decode_record(&bytes[..count], place.offset) {
            Some((Content::Record(Record::Entry(entry)), _))
                if entry.index == index && entry.term == term =>
            {
                Ok(entry)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "log entry {index} is unreadable in segment {} at offset {}",
                    place.sequence, place.offset
                ),
            )),
        }
    }
}

//! The revision log: every change of every key in the order of revisions, as encoded records in chunks.
//!
//! Records are appended to one open chunk; a full chunk is sealed and from then on shared with readers
//! without a copy. A record is found by its [`Location`], and locations are ordered as history is:
//! compaction rewrites a chunk under its own number and never moves a record past another.
//!
//! A record is *superseded* when a later change of the same key exists, and *dead* when in addition
//! no permitted read can see it any more (`compaction` decides that). Dead records stay where they lie
//! until half of their chunk is dead.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::op::KeyValue;
use super::record::{Draft, Fields, Record};
use crate::types::Revision;

/// A chunk is sealed before it outgrows this, unless one record alone is larger.
/// Bounds what one slow reader of one value can pin, and what a rewrite does under the lock.
/// Tests use small ones, so that short histories cross many.
pub(super) const CHUNK_BYTES: usize = if cfg!(test) { 200 } else { 128 * 1024 };

/// Where a record lies: the number of its chunk (41 bits) and the byte offset in it (22 bits;
/// offsets stay below [`CHUNK_BYTES`], since a larger record lies alone at 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location(u64);

impl Location {
    const OFFSET_BITS: u32 = 22;
    /// Bits of the packed form that are in use; the rest is free for whoever stores it.
    pub(super) const BITS: u32 = 62;

    pub(super) fn new(chunk: u64, offset: usize) -> Self {
        debug_assert!(offset < 1 << Self::OFFSET_BITS && chunk < 1 << (Self::BITS - Self::OFFSET_BITS));
        Location(chunk << Self::OFFSET_BITS | offset as u64)
    }

    pub(super) fn chunk(self) -> u64 {
        self.0 >> Self::OFFSET_BITS
    }

    pub(super) fn offset(self) -> usize {
        (self.0 & ((1 << Self::OFFSET_BITS) - 1)) as usize
    }

    pub(super) fn pack(self) -> u64 {
        self.0
    }

    pub(super) fn unpack(packed: u64) -> Self {
        Location(packed & ((1 << Self::BITS) - 1))
    }
}

/// A record of this chunk has a later sibling of the same key, written at revision `by`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Superseded {
    pub(super) offset: u32,
    pub(super) by: Revision,
}

#[derive(Debug)]
pub(super) struct Chunk {
    data: Data,
    /// Revisions of the first and last record.
    pub(super) first: Revision,
    pub(super) last: Revision,
    /// In the order in which it happened, so `by` never falls.
    pub(super) superseded: Vec<Superseded>,
    /// Offsets of the dead records, shared with checkpoints that are being written.
    dead: Arc<Vec<u32>>,
    dead_bytes: usize,
}

#[derive(Debug)]
enum Data {
    Open(Vec<u8>),
    Sealed(Bytes),
}

impl Chunk {
    fn open(capacity: usize, first: Revision) -> Self {
        Chunk {
            data: Data::Open(Vec::with_capacity(capacity)),
            first,
            last: first,
            superseded: Vec::new(),
            dead: Arc::default(),
            dead_bytes: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Open(bytes) => bytes,
            Data::Sealed(bytes) => bytes,
        }
    }

    fn seal(&mut self) {
        if let Data::Open(bytes) = &mut self.data {
            self.data = Data::Sealed(Bytes::from(std::mem::take(bytes)));
        }
    }

    /// The content, shared when it is sealed, copied when it may still grow.
    fn share(&self) -> Bytes {
        match &self.data {
            Data::Open(bytes) => Bytes::copy_from_slice(bytes),
            Data::Sealed(bytes) => bytes.clone(),
        }
    }
}

/// A chunk's content at one moment, to be walked without the lock.
pub(super) struct Part {
    pub(super) chunk: u64,
    pub(super) data: Bytes,
    /// Sorted by offset.
    pub(super) superseded: Vec<Superseded>,
}

impl Part {
    /// Every record with its offset and the revision that superseded it, if any did.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, Record<'_>, Option<Revision>)> {
        let mut superseded = self.superseded.iter().peekable();
        records(&self.data).map(move |(offset, record)| {
            let by = superseded.next_if(|entry| entry.offset as usize == offset).map(|entry| entry.by);
            (offset, record, by)
        })
    }
}

/// Every record of a chunk's content with its offset.
pub(super) fn records(data: &[u8]) -> impl Iterator<Item = (usize, Record<'_>)> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset == data.len() {
            return None;
        }
        let record = parse(&data[offset..]);
        let at = offset;
        offset += record.len;
        Some((at, record))
    })
}

/// Every record in the log was encoded by us or checked when it was restored.
fn parse(bytes: &[u8]) -> Record<'_> {
    Record::parse(bytes).expect("a record of the revision log is whole")
}

pub(super) fn fields<'a>(record: &Record<'a>) -> Fields<'a> {
    record.fields().expect("a record of the revision log holds a key-value")
}

#[derive(Debug)]
pub(super) struct Log {
    /// Every chunk that holds a record, the open one last.
    chunks: BTreeMap<u64, Chunk>,
    next_chunk: u64,
    /// Bytes of all records, and of the dead ones among them.
    bytes: u64,
    dead_bytes: u64,
}

impl Log {
    pub(super) fn new() -> Self {
        Log { chunks: BTreeMap::new(), next_chunk: 0, bytes: 0, dead_bytes: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.bytes - self.dead_bytes
    }

    pub(super) fn append(&mut self, draft: &Draft<'_>) -> Location {
        let len = draft.encoded_len();
        let number = self.chunk_with_room(len, draft.stamp.main);
        let chunk = self.chunks.get_mut(&number).expect("the open chunk exists");
        let Data::Open(bytes) = &mut chunk.data else { unreachable!("the chunk with room is open") };
        let location = Location::new(number, bytes.len());
        draft.encode(bytes);
        chunk.last = draft.stamp.main;
        self.bytes += len as u64;
        location
    }

    fn chunk_with_room(&mut self, len: usize, revision: Revision) -> u64 {
        if let Some(mut last) = self.chunks.last_entry() {
            match &last.get().data {
                Data::Open(bytes) if bytes.len() + len <= CHUNK_BYTES => return *last.key(),
                _ => last.get_mut().seal(),
            }
        }
        let number = self.next_chunk;
        self.next_chunk += 1;
        self.chunks.insert(number, Chunk::open(len.max(CHUNK_BYTES), revision));
        number
    }

    /// Appends a whole chunk of records that were checked, at restore.
    pub(super) fn append_chunk(&mut self, data: Bytes, first: Revision, last: Revision) -> u64 {
        self.seal();
        let number = self.next_chunk;
        self.next_chunk += 1;
        self.bytes += data.len() as u64;
        let chunk = Chunk {
            data: Data::Sealed(data),
            first,
            last,
            superseded: Vec::new(),
            dead: Arc::default(),
            dead_bytes: 0,
        };
        self.chunks.insert(number, chunk);
        number
    }

    /// Seals the open chunk, so that all that lies in the log now can be shared and rewritten.
    pub(super) fn seal(&mut self) {
        if let Some(mut last) = self.chunks.last_entry() {
            last.get_mut().seal();
        }
    }

    fn chunk(&self, number: u64) -> &Chunk {
        self.chunks.get(&number).expect("a location in the index leads to a chunk")
    }

    pub(super) fn record(&self, at: Location) -> Record<'_> {
        parse(&self.chunk(at.chunk()).bytes()[at.offset()..])
    }

    pub(super) fn key(&self, at: Location) -> &[u8] {
        self.record(at).key().expect("a record of the revision log has a key")
    }

    pub(super) fn fields(&self, at: Location) -> Fields<'_> {
        fields(&self.record(at))
    }

    /// The key-value at `at`, sharing the chunk's memory when it is sealed.
    pub(super) fn key_value(&self, at: Location) -> KeyValue {
        self.cut(at, |fields, whole| fields.cut(whole))
    }

    /// The same without the value.
    pub(super) fn key_value_head(&self, at: Location) -> KeyValue {
        self.cut(at, |fields, whole| fields.cut_head(whole))
    }

    fn cut(&self, at: Location, cut: impl Fn(Fields<'_>, &Bytes) -> KeyValue) -> KeyValue {
        match &self.chunk(at.chunk()).data {
            Data::Sealed(whole) => cut(fields(&parse(&whole[at.offset()..])), whole),
            Data::Open(bytes) => {
                let record = parse(&bytes[at.offset()..]);
                let body = Bytes::copy_from_slice(record.body);
                let copied = Record { body: &body, ..record };
                cut(fields(&copied), &body)
            }
        }
    }

    /// Whether the record was written at `revision` or before.
    /// Most answers come from the chunk's bounds, without touching the record.
    pub(super) fn is_at_most(&self, at: Location, revision: Revision) -> bool {
        let chunk = self.chunk(at.chunk());
        chunk.last <= revision
            || (chunk.first <= revision && parse(&chunk.bytes()[at.offset()..]).stamp.main <= revision)
    }

    pub(super) fn supersede(&mut self, at: Location, by: Revision) {
        let chunk = self.chunks.get_mut(&at.chunk()).expect("a location in the index leads to a chunk");
        chunk.superseded.push(Superseded { offset: at.offset() as u32, by });
    }

    /// The first chunk that is numbered `number` or higher, begins at or before `through`,
    /// and ends at or after `from`.
    pub(super) fn part(&self, number: u64, from: Revision, through: Revision) -> Option<Part> {
        let mut chunks = self.chunks.range(number..);
        let found = if number == 0 && from > Revision(0) {
            // Revisions rise with numbers: walking down from the newest finds recent history soon.
            chunks.rev().take_while(|(_, chunk)| chunk.last >= from).last()
        } else {
            chunks.find(|(_, chunk)| chunk.last >= from)
        };
        let (&number, chunk) = found?;
        if chunk.first > through {
            return None;
        }
        let mut superseded = chunk.superseded.clone();
        superseded.sort_unstable();
        // A record is superseded once; a second entry could only come from a broken log.
        debug_assert!(superseded.windows(2).all(|pair| pair[0].offset != pair[1].offset));
        Some(Part { chunk: number, data: chunk.share(), superseded })
    }

    /// Counts a record as dead.
    pub(super) fn bury(&mut self, at: Location) {
        let chunk = self.chunks.get_mut(&at.chunk()).expect("a dead record's chunk is still there");
        let len = parse(&chunk.bytes()[at.offset()..]).len;
        Arc::make_mut(&mut chunk.dead).push(at.offset() as u32);
        chunk.dead_bytes += len;
        self.dead_bytes += len as u64;
    }

    /// Whether so much of a chunk is dead that it is worth rewriting.
    pub(super) fn is_sparse(&self, number: u64) -> bool {
        self.chunks.get(&number).is_some_and(|chunk| chunk.dead_bytes * 2 >= chunk.bytes().len())
    }

    /// What a sealed chunk comes to without the records that `is_dead` names (by offset).
    pub(super) fn rewritten(&self, number: u64, is_dead: impl Fn(usize) -> bool) -> Rewritten {
        let chunk = self.chunk(number);
        let old = chunk.bytes();
        let mut data = Vec::with_capacity(old.len() - chunk.dead_bytes);
        let mut moved = Vec::new();
        for (offset, record) in records(old) {
            if !is_dead(offset) {
                moved.push((Location::new(number, offset), Location::new(number, data.len())));
                data.extend_from_slice(&old[offset..offset + record.len]);
            }
        }
        Rewritten { number, data, moved }
    }

    /// Puts a rewritten chunk in the place of the old one.
    pub(super) fn install(&mut self, rewritten: Rewritten) {
        let Rewritten { number, data, moved } = rewritten;
        let chunk = self.chunks.get_mut(&number).expect("the chunk that was rewritten is there");
        chunk.superseded.retain_mut(|entry| {
            let found = moved.binary_search_by_key(&(entry.offset as usize), |(from, _)| from.offset());
            found.is_ok_and(|i| {
                entry.offset = moved[i].1.offset() as u32;
                true
            })
        });
        self.bytes -= (chunk.bytes().len() - data.len()) as u64;
        self.dead_bytes -= chunk.dead_bytes as u64;
        chunk.dead = Arc::default();
        chunk.dead_bytes = 0;
        if data.is_empty() {
            self.chunks.remove(&number);
        } else {
            chunk.data = Data::Sealed(Bytes::from(data));
        }
    }

    /// Every chunk at this moment.
    pub(super) fn share(&self) -> Vec<SharedChunk> {
        let share = |chunk: &Chunk| SharedChunk { data: chunk.share(), dead: Arc::clone(&chunk.dead) };
        self.chunks.values().map(share).collect()
    }
}

/// A chunk without its dead records, before it takes the old one's place.
pub(super) struct Rewritten {
    number: u64,
    data: Vec<u8>,
    /// Of each record that stays, in order: where it lay, and where it will lie.
    pub(super) moved: Vec<(Location, Location)>,
}

/// A chunk's content at one moment, with what is dead in it.
pub(super) struct SharedChunk {
    data: Bytes,
    dead: Arc<Vec<u32>>,
}

impl SharedChunk {
    /// The records that are not dead. Dead ones must not come back: the change that ended such a record may have
    /// left the log already.
    pub(super) fn living(&self) -> Bytes {
        if self.dead.is_empty() {
            return self.data.clone();
        }
        let dead: HashSet<usize> = self.dead.iter().map(|offset| *offset as usize).collect();
        let mut living = Vec::with_capacity(self.data.len());
        for (offset, record) in records(&self.data).filter(|(offset, _)| !dead.contains(offset)) {
            living.extend_from_slice(&self.data[offset..offset + record.len]);
        }
        living.into()
    }
}

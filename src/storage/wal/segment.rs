//! The bytes of a segment.
//!
//! ```text
//! header, 64 bytes   "KVWAL\0\0\1", sequence u64, salt u64, CRC-32C u32 of these, zeros
//! record             length u32, kind u8, 3 zeros, CRC-32C u32, 4 zeros, payload, zeros to 8 bytes
//!                    the CRC is over (salt, offset in the file, length, kind, payload)
//! ```
//!
//! All numbers are little endian. The salt is random for each use of a file, and the offset is part
//! of the sum: what an earlier use left behind, or a record read at the wrong place, never passes.
//! Every batch begins with a [`Kind::Batch`] record that says how far the log was durable before it.
//! Pages of one unsynced batch reach the disk in any order, so a bad record is corruption only when a
//! later record says that the log was durable past it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Entry, Record};

pub(super) const HEADER_BYTES: u64 = 64;
const RECORD_HEAD_BYTES: usize = 16;
const MAGIC: &[u8; 8] = b"KVWAL\0\0\x01";
/// A record longer than this is not one (a request is at most some MiB).
const RECORD_BYTES_MAX: u32 = 1 << 30;

/// A place in the log: segment and offset. Ordered as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Batch = 1,
    Entry = 2,
    Vote = 3,
    TruncateAfter = 4,
    Committed = 5,
    Purged = 6,
    /// Nothing follows in this segment.
    End = 7,
}

/// A segment's identity: what its records' sums depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) salt: u64,
}

/// What one record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Batch { durable: Place },
    Record(Record),
    End,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..24]);
        bytes[24..28].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` for anything that is not a whole header.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.get(..28)?;
        let sum = crc32c::crc32c(&bytes[..24]);
        let magic = bytes.split_off(..8)?;
        let header = Self { sequence: bytes.get_u64_le(), salt: bytes.get_u64_le() };
        (magic == MAGIC && bytes.get_u32_le() == sum).then_some(header)
    }

    fn sum(self, offset: u64, kind: u8, payload: &[u8]) -> u32 {
        let mut head = [0; 21];
        head[..8].copy_from_slice(&self.salt.to_le_bytes());
        head[8..16].copy_from_slice(&offset.to_le_bytes());
        head[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[20] = kind;
        crc32c::crc32c_append(crc32c::crc32c(&head), payload)
    }

    /// Appends one record to `batch`, which will be written at `base`.
    fn push(self, batch: &mut Vec<u8>, base: u64, kind: Kind, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = batch.len();
        batch.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        fill(batch);
        let payload_start = start + RECORD_HEAD_BYTES;
        let length = (batch.len() - payload_start) as u32;
        let sum = self.sum(base + start as u64, kind as u8, &batch[payload_start..]);
        batch[start..start + 4].copy_from_slice(&length.to_le_bytes());
        batch[start + 4] = kind as u8;
        batch[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
        batch.resize(batch.len().next_multiple_of(8), 0);
    }

    pub(super) fn push_batch(self, batch: &mut Vec<u8>, base: u64, durable: Place) {
        self.push(batch, base, Kind::Batch, |out| {
            out.put_u64_le(durable.sequence);
            out.put_u64_le(durable.offset);
        });
    }

    pub(super) fn push_end(self, batch: &mut Vec<u8>, base: u64) {
        self.push(batch, base, Kind::End, |_| {});
    }

    pub(super) fn push_record(self, batch: &mut Vec<u8>, base: u64, record: &Record) {
        match record {
            Record::Entry(entry) => self.push(batch, base, Kind::Entry, |out| {
                out.put_u64_le(entry.index);
                out.put_u64_le(entry.term);
                out.extend_from_slice(&entry.payload);
            }),
            Record::Vote(vote) => self.push(batch, base, Kind::Vote, |out| out.extend_from_slice(vote)),
            Record::TruncateAfter(last) => self.push(batch, base, Kind::TruncateAfter, |out| {
                out.put_u8(u8::from(last.is_some()));
                out.put_u64_le(last.unwrap_or(0));
            }),
            Record::Committed(position) => {
                self.push(batch, base, Kind::Committed, |out| out.extend_from_slice(position));
            }
            Record::Purged { through, position } => self.push(batch, base, Kind::Purged, |out| {
                out.put_u64_le(*through);
                out.extend_from_slice(position);
            }),
        }
    }

    /// The record at the start of `bytes`, which lie at `offset`, and the bytes it takes.
    /// `None` when there is no whole record with the right sum.
    pub(super) fn decode_record(self, bytes: &[u8], offset: u64) -> Option<(Content, usize)> {
        let head = bytes.get(..RECORD_HEAD_BYTES)?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if length > RECORD_BYTES_MAX {
            return None;
        }
        let end = RECORD_HEAD_BYTES + length as usize;
        let payload = bytes.get(RECORD_HEAD_BYTES..end)?;
        let sum = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if self.sum(offset, head[4], payload) != sum {
            return None;
        }
        Some((content(head[4], payload)?, end.next_multiple_of(8)))
    }

    /// How far the log was durable before the batch that begins at `offset`; `None` where none begins.
    /// Looks at the kind first: this is asked at every eighth byte behind a hole.
    pub(super) fn decode_batch(self, bytes: &[u8], offset: u64) -> Option<Place> {
        if bytes.get(4) != Some(&(Kind::Batch as u8)) {
            return None;
        }
        match self.decode_record(bytes, offset)? {
            (Content::Batch { durable }, _) => Some(durable),
            _ => None,
        }
    }
}

/// Bytes that an entry's record takes, for sizing reads.
pub(super) fn entry_record_bytes(payload_bytes: usize) -> usize {
    (RECORD_HEAD_BYTES + 16 + payload_bytes).next_multiple_of(8)
}

fn content(kind: u8, mut payload: &[u8]) -> Option<Content> {
    const BATCH: u8 = Kind::Batch as u8;
    const ENTRY: u8 = Kind::Entry as u8;
    const VOTE: u8 = Kind::Vote as u8;
    const TRUNCATE: u8 = Kind::TruncateAfter as u8;
    const COMMITTED: u8 = Kind::Committed as u8;
    const PURGED: u8 = Kind::Purged as u8;
    const END: u8 = Kind::End as u8;
    let whole = |payload: &[u8]| Bytes::from(BytesMut::from(payload));
    Some(match kind {
        BATCH => {
            let sequence = payload.try_get_u64_le().ok()?;
            Content::Batch { durable: Place { sequence, offset: payload.try_get_u64_le().ok()? } }
        }
        ENTRY => {
            let index = payload.try_get_u64_le().ok()?;
            let term = payload.try_get_u64_le().ok()?;
            Content::Record(Record::Entry(Entry { index, term, payload: whole(payload) }))
        }
        VOTE => Content::Record(Record::Vote(whole(payload))),
        TRUNCATE => {
            let some = payload.try_get_u8().ok()? == 1;
            let last = payload.try_get_u64_le().ok()?;
            Content::Record(Record::TruncateAfter(some.then_some(last)))
        }
        COMMITTED => Content::Record(Record::Committed(whole(payload))),
        PURGED => {
            let through = payload.try_get_u64_le().ok()?;
            Content::Record(Record::Purged { through, position: whole(payload) })
        }
        END => Content::End,
        _ => return None,
    })
}

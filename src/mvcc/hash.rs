//! The hash by which members compare their histories: etcd's HashKV, bit for bit.
//!
//! CRC-32C over the bucket's name `key` and then key and value of every revision that etcd's bucket holds
//! up to a revision, in order (`storage/mvcc/hash.go`). Of the revisions at or below the compacted one only
//! those count that are still their key's last at the hashed revision, unless there is no such revision at all:
//! then etcd counts everything that is left. A key that was deleted and put again in the hashed revision itself
//! has none: etcd looks no further than the tombstone.

use std::collections::HashSet;

use bytes::Bytes;

use super::log::Part;
use super::record::Record;
use super::store::{Error, Store};
use crate::types::Revision;

/// Hashes of the last compactions that are kept.
const HASHES_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub hash: u32,
    /// The revision compacted to when the hash was taken; -1 when nothing was ever compacted.
    pub compact_revision: Revision,
    /// The revision up to which history is hashed.
    pub hash_revision: Revision,
}

/// A hash in the making.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    compacted: Revision,
    through: Revision,
    /// A compaction's own hash: its rule counts a tombstone at `through` as living.
    is_compaction: bool,
    /// CRC by the rule, and CRC of everything as long as no living revision was met.
    crc: u32,
    crc_of_all: Option<u32>,
    /// Keys deleted and put again at `through`.
    reborn: HashSet<Bytes>,
}

impl Hasher {
    pub(super) fn new(compacted: Revision, through: Revision, is_compaction: bool) -> Self {
        let crc = crc32c::crc32c(b"key");
        Hasher { compacted, through, is_compaction, crc, crc_of_all: Some(crc), reborn: HashSet::new() }
    }

    /// Takes in a chunk; chunks come in order.
    pub(super) fn update(&mut self, part: &Part) {
        for (_, record, superseded) in part.records() {
            let main = record.stamp.main;
            if main > self.through {
                return;
            }
            let is_compacted = main <= self.compacted;
            let is_gone = |by: Revision| by <= self.compacted;
            if is_compacted && (superseded.is_some_and(is_gone) || record.tombstone) {
                // Dead; or the tombstone at the compacted revision, which etcd skips because older versions
                // of it have removed it.
                continue;
            }
            let is_last = superseded.is_none_or(|by| by > self.through);
            let is_living = is_last && self.counts_as_living(&record);
            let key = record.stamp.bucket_key(record.tombstone);
            let add =
                |crc: u32| crc32c::crc32c_append(crc32c::crc32c_append(crc, key.as_bytes()), record.body);
            if is_living {
                self.crc_of_all = None;
            }
            if record.tombstone && main == self.through && !is_last {
                self.reborn.extend(record.key().map(Bytes::copy_from_slice));
            }
            self.crc_of_all = self.crc_of_all.map(add);
            if !is_compacted || is_last {
                self.crc = add(self.crc);
            }
        }
    }

    /// For the last record of its key.
    fn counts_as_living(&self, record: &Record<'_>) -> bool {
        if self.is_compaction {
            return !record.tombstone || record.stamp.main == self.through;
        }
        let is_reborn =
            record.stamp.main == self.through && record.key().is_some_and(|key| self.reborn.contains(key));
        !(record.tombstone || is_reborn)
    }

    pub(super) fn finish(self) -> HashKv {
        HashKv {
            hash: self.crc_of_all.unwrap_or(self.crc),
            compact_revision: self.compacted,
            hash_revision: self.through,
        }
    }
}

/// Keeps a compaction's hash for [`Store::hash_kv`].
pub(super) fn keep(hashes: &mut Vec<HashKv>, hash: HashKv) {
    hashes.push(hash);
    hashes.sort_by_key(|hash| hash.hash_revision);
    let surplus = hashes.len().saturating_sub(HASHES_MAX);
    hashes.drain(..surplus);
}

impl Store {
    /// The hash of history up to `revision` (0: now), and the store's revision then. It is an answer for the ages
    /// only at one compacted revision: compare hashes that share both revisions. May take a while;
    /// waits for running compactions, so call it where blocking is allowed.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::FutureRevision`].
    pub fn hash_kv(&self, revision: Revision) -> Result<(HashKv, Revision), Error> {
        loop {
            self.finish_compaction();
            let space = self.read();
            if let Some(hash) = space.hashes.iter().find(|hash| hash.hash_revision == revision) {
                return Ok((*hash, space.revision));
            }
            if revision.0 > 0 && revision < space.compacted {
                return Err(Error::Compacted);
            }
            if revision > space.revision {
                return Err(Error::FutureRevision);
            }
            let (now, compacted, epoch) = (space.revision, space.compacted, space.epoch);
            let through = if revision.0 == 0 { now } else { revision };
            let _pin = self.pin(&space);
            drop(space);
            let mut hasher = Hasher::new(compacted, through, false);
            if self.hash_chunks(&mut hasher, epoch) {
                return Ok((hasher.finish(), now));
            }
        }
    }

    /// False when a restored store took this one's place meanwhile.
    fn hash_chunks(&self, hasher: &mut Hasher, epoch: u64) -> bool {
        let mut chunk = 0;
        loop {
            let space = self.read();
            if space.epoch != epoch {
                return false;
            }
            let Some(part) = space.log.part(chunk, Revision(0), hasher.through) else { return true };
            drop(space);
            chunk = part.chunk + 1;
            hasher.update(&part);
        }
    }
}

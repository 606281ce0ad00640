//! The key space standing still, for a checkpoint, and its return from one.

use bytes::Bytes;

use super::compaction::Trim;
use super::hash::HashKv;
use super::key_index::{Place, Version};
use super::log::{self, Location, SharedChunk};
use super::record::Record;
use super::revision::Stamp;
use super::store::{Space, Store};
use crate::types::Revision;

/// The key space at one moment. Taking it costs a reference per chunk and at most one chunk's copy.
pub(crate) struct Frozen {
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) hashes: Vec<HashKv>,
    chunks: Vec<SharedChunk>,
}

impl Frozen {
    /// The revision log in order: pieces of whole records, and how many there are in each.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (Bytes, u64)> {
        let pieces = self.chunks.iter().map(SharedChunk::living).filter(|data| !data.is_empty());
        pieces.map(|data| {
            let records = log::records(&data).count() as u64;
            (data, records)
        })
    }
}

impl Store {
    pub(crate) fn freeze(&self) -> Frozen {
        let space = self.read();
        Frozen {
            revision: space.revision,
            compacted: space.compacted,
            hashes: space.hashes.clone(),
            chunks: space.log.share(),
        }
    }

    /// Puts a rebuilt key space in the place of this one. Handles stay valid; running reads finish or start again.
    pub(crate) fn install(&self, rebuilt: Rebuilt) {
        self.replace(rebuilt.space);
    }
}

/// A key space made anew from its revision log, every record of which was checked.
pub(crate) struct Rebuilt {
    space: Space,
    /// The last record's place.
    last: Stamp,
}

impl Rebuilt {
    pub(crate) fn new(revision: Revision, compacted: Revision, hashes: Vec<HashKv>) -> Result<Self, String> {
        if revision < Revision(1) || compacted < Revision(-1) || compacted > revision {
            return Err(format!("revision {revision} with compacted revision {compacted}, which cannot be"));
        }
        let mut space = Space { revision, compacted, hashes, ..Space::new() };
        if compacted >= Revision(0) {
            // The log may hold dead records that were not trimmed yet when it was frozen.
            space.trims.push_back(Trim::again(compacted));
        }
        Ok(Rebuilt { space, last: Stamp::default() })
    }

    /// Takes the next piece of the log; answers the number of its records.
    ///
    /// # Errors
    /// What is wrong with which record.
    pub(crate) fn add_piece(&mut self, data: Bytes) -> Result<u64, String> {
        let mut records = Vec::new();
        let mut offset = 0;
        while offset < data.len() {
            let record =
                Record::parse(&data[offset..]).ok_or_else(|| format!("no whole record at byte {offset}"))?;
            records.push((offset, record));
            offset += record.len;
        }
        let (Some((_, first)), Some((_, last))) = (records.first(), records.last()) else {
            return Err("no record".into());
        };
        if first.stamp <= self.last {
            return Err(format!("revision {} is out of order", first.stamp.main));
        }
        if let Some(pair) = records.windows(2).find(|pair| pair[0].1.stamp >= pair[1].1.stamp) {
            return Err(format!("revision {} is out of order", pair[1].1.stamp.main));
        }
        if last.stamp.main > self.space.revision {
            return Err(format!("revision {} is above the store's {}", last.stamp.main, self.space.revision));
        }
        let number = self.space.log.append_chunk(data.clone(), first.stamp.main, last.stamp.main);
        for (offset, record) in &records {
            self.add(Location::new(number, *offset), record)?;
        }
        self.last = last.stamp;
        Ok(records.len() as u64)
    }

    /// Checks one record against what is known of its key, and indexes it.
    fn add(&mut self, location: Location, record: &Record<'_>) -> Result<(), String> {
        let main = record.stamp.main;
        let wrong = |what: &str| format!("revision {main}.{} {what}", record.stamp.sub);
        let fields = record.fields().ok_or_else(|| wrong("does not hold a key-value"))?;
        if fields.key.is_empty() {
            return Err(wrong("has no key"));
        }
        if record.tombstone && fields.modified != Revision(0) || !record.tombstone && fields.modified != main
        {
            return Err(wrong(&format!("says that it was written at {}", fields.modified)));
        }
        let space = &mut self.space;
        let position = space.index.find(fields.key, &space.log);
        let newest = position.ok().map(|position| space.index.newest_at(position));
        let living = newest.filter(|place| !place.is_tombstone());
        let is_first = fields.version == 1;
        if !record.tombstone
            && (fields.version < 1 || fields.create > main || is_first && fields.create != main)
        {
            return Err(wrong(&format!("has version {} since {}", fields.version, fields.create)));
        }
        // Below the compacted revision a change's predecessor may be gone.
        if main > space.compacted {
            let before = living.map(|place| space.log.fields(place.location()));
            let continues = match (before, record.tombstone) {
                (Some(_), true) => true,
                (None, true) => false,
                (Some(before), false) => {
                    (fields.create, fields.version) == (before.create, before.version + 1)
                }
                (None, false) => fields.version == 1,
            };
            if !continues {
                return Err(wrong("does not continue its key's history"));
            }
        }
        match (living.is_some(), record.tombstone) {
            (false, false) => space.key_count += 1,
            (true, true) => space.key_count -= 1,
            _ => {}
        }
        let previous = newest.map(|place| space.log.record(place.location()).stamp.main);
        let version = Version { main, place: Place::new(location, record.tombstone) };
        space.index.push(position, fields.key, version, previous, &space.log);
        if let Some(place) = newest {
            space.log.supersede(place.location(), main);
        }
        Ok(())
    }
}

//! History for watchers that are behind: the changes of a range of keys, revision by revision.

use super::log::{Part, fields};
use super::op::{Event, EventKind, KeyRange, KeyValue};
use super::store::{Error, Store};
use crate::types::Revision;

/// The events of each revision, oldest first, and the revision to go on from.
pub type History = (Vec<(Revision, Vec<Event>)>, Revision);

/// Bounds one call to some milliseconds on the caller's thread, unless a single revision is larger.
/// The lock is held only to take hold of each chunk.
const CHUNKS_PER_CALL: usize = if cfg!(test) { 2 } else { 32 };

impl Store {
    /// The changes of the keys in `range` from revision `from` on, of at most `limit_revisions` (1 or more) revisions
    /// that have any. A revision's events are never parted. Go on from the second of the answer; when that is above
    /// [`Store::revision`], history is exhausted for now.
    ///
    /// # Errors
    /// [`Error::Compacted`] when history begins only after `from`.
    pub fn events(&self, range: &KeyRange, from: Revision, limit_revisions: usize) -> Result<History, Error> {
        let mut walk = Walk { range, next: from, limit: limit_revisions.max(1), found: Vec::new() };
        let (mut chunk, mut epoch, through) = {
            let space = self.read();
            (0, space.epoch, space.revision)
        };
        for chunks_read in 0.. {
            // Stop between two revisions: the last one seen may go on in the next chunk.
            if chunks_read >= CHUNKS_PER_CALL && walk.next > from {
                walk.drop_unfinished();
                return Ok((walk.found, walk.next));
            }
            let space = self.read();
            if walk.next < space.compacted {
                // What was found is whole; the next call will say that the rest is gone.
                walk.drop_unfinished();
                return if walk.found.is_empty() {
                    Err(Error::Compacted)
                } else {
                    Ok((walk.found, walk.next))
                };
            }
            if space.epoch != epoch {
                // Restored from a checkpoint: the same history, in chunks of other numbers.
                (chunk, epoch) = (0, space.epoch);
                walk.drop_unfinished();
            }
            let compacted = space.compacted;
            let Some(part) = space.log.part(chunk, walk.next, through) else { break };
            drop(space);
            chunk = part.chunk + 1;
            if walk.is_full_after(&part, through, compacted) {
                return Ok((walk.found, walk.next));
            }
        }
        Ok((walk.found, walk.next.max(Revision(through.0 + 1))))
    }
}

struct Walk<'a> {
    range: &'a KeyRange,
    /// Every revision before it is done with.
    next: Revision,
    limit: usize,
    found: Vec<(Revision, Vec<Event>)>,
}

impl Walk<'_> {
    /// Takes a chunk's events up to revision `through`; true when the limit is reached before its end.
    fn is_full_after(&mut self, part: &Part, through: Revision, compacted: Revision) -> bool {
        for (_, record, superseded) in part.records() {
            let main = record.stamp.main;
            if main > through {
                break;
            }
            let fields = fields(&record);
            let is_dead = superseded.is_some_and(|by| by <= compacted);
            let is_wanted = main >= self.next && !is_dead && self.range.contains(fields.key);
            self.next = self.next.max(main);
            if !is_wanted {
                continue;
            }
            let event = if record.tombstone {
                let key = fields.cut_head(&part.data).key;
                Event {
                    kind: EventKind::Delete,
                    kv: KeyValue { key, mod_revision: main, ..KeyValue::default() },
                }
            } else {
                Event { kind: EventKind::Put, kv: fields.cut(&part.data) }
            };
            let revisions = self.found.len();
            match self.found.last_mut() {
                Some((revision, events)) if *revision == main => events.push(event),
                _ if revisions == self.limit => return true,
                _ => self.found.push((main, vec![event])),
            }
        }
        false
    }

    /// Drops the events of the revision that is to be read again.
    fn drop_unfinished(&mut self) {
        self.found.pop_if(|(revision, _)| *revision == self.next);
    }
}

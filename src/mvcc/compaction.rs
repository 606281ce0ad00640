//! Compaction: history below a revision is given up.
//!
//! Decided at once (reads below are refused from then on), carried out chunk by chunk: of every key the last
//! change at or before the compacted revision stays, unless it is a tombstone before it; the rest is dead,
//! leaves the index, and leaves memory when half of its chunk is dead. A running read that still needs a dead
//! record holds the work up (`Pin`).

use std::collections::HashSet;

use super::hash::{Hasher, keep};
use super::log::{Location, Part, fields};
use super::store::{Error, Space, Store};
use super::write_txn::WriteTxn;
use crate::types::Revision;

/// Dead records forgotten under one hold of the lock: some 100 microseconds.
const DEAD_PER_SLICE: usize = if cfg!(test) { 2 } else { 256 };

/// A compaction being carried out.
#[derive(Debug)]
pub(super) struct Trim {
    target: Revision,
    /// The revision compacted to before.
    previous: Revision,
    /// Chunks below it are done.
    next_chunk: u64,
    /// None when an earlier attempt may already have removed a part of what is to be hashed.
    hasher: Option<Hasher>,
}

impl Trim {
    fn new(target: Revision, previous: Revision) -> Self {
        let hasher = Some(Hasher::new(previous, target, true));
        Trim { target, previous, next_chunk: 0, hasher }
    }

    /// The work that a checkpoint may have left undone.
    pub(super) fn again(target: Revision) -> Self {
        Trim { target, previous: Revision(-1), next_chunk: 0, hasher: None }
    }
}

impl WriteTxn<'_> {
    /// Gives up history below `revision`; for a transaction that writes nothing else.
    ///
    /// # Errors
    /// [`Error::Compacted`] at or below what was compacted before, [`Error::FutureRevision`] above the current one.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        let space = self.space();
        if revision <= space.compacted {
            return Err(Error::Compacted);
        }
        if revision > space.revision {
            return Err(Error::FutureRevision);
        }
        // What is to be trimmed lies in sealed chunks, which can be walked without the lock.
        space.log.seal();
        space.trims.push_back(Trim::new(revision, space.compacted));
        space.compacted = revision;
        Ok(())
    }
}

/// What one step of trimming came to.
#[derive(PartialEq, Eq)]
enum Step {
    Worked,
    /// A running read needs what is to be removed.
    HeldUp,
    NothingToDo,
}

impl Store {
    /// Carries compactions out as they are decided, until the writer is gone. For a thread of its own;
    /// without one, records that compaction gave up stay in memory.
    pub fn trim_until_closed(&self) {
        let mut seen = Some(self.changes());
        while let Some(before) = seen {
            while self.trim_step() == Step::Worked {}
            seen = self.wait_for_change(before);
        }
    }

    /// Returns when every compaction decided so far is carried out, doing what is left of it on this thread.
    /// May block on running reads.
    pub fn finish_compaction(&self) {
        loop {
            let before = self.changes();
            while self.trim_step() == Step::Worked {}
            if self.read().trims.is_empty() || self.wait_for_change(before).is_none() {
                return;
            }
        }
    }

    /// Carries out the oldest compaction by one chunk.
    fn trim_step(&self) -> Step {
        let _one_at_a_time = self.trimming();
        let (target, previous, mut hasher, part) = {
            let space = self.read();
            let Some(trim) = space.trims.front() else { return Step::NothingToDo };
            if self.is_pinned_below(trim.target) {
                return Step::HeldUp;
            }
            let part = space.log.part(trim.next_chunk, Revision(0), trim.target);
            (trim.target, trim.previous, trim.hasher.clone(), part)
        };
        let Some(part) = part else {
            self.alter(|space| {
                let hash = hasher.map(Hasher::finish);
                space.trims.pop_front();
                hash.into_iter().for_each(|hash| keep(&mut space.hashes, hash));
            });
            return Step::Worked;
        };
        if let Some(hasher) = &mut hasher {
            hasher.update(&part);
        }
        for batch in newly_dead(&part, previous, target).chunks(DEAD_PER_SLICE) {
            self.alter(|space| bury(space, batch));
        }
        self.alter(|space| {
            if space.log.is_sparse(part.chunk) {
                rewrite(space, &part, target);
            }
            let trim = space.trims.front_mut().expect("a trim stays until its last step");
            trim.next_chunk = part.chunk + 1;
            trim.hasher = hasher;
        });
        Step::Worked
    }
}

struct Dead<'a> {
    key: &'a [u8],
    location: Location,
}

fn is_dead_at(compacted: Revision, main: Revision, tombstone: bool, superseded: Option<Revision>) -> bool {
    superseded.is_some_and(|by| by <= compacted) || (tombstone && main < compacted)
}

/// The records that a compaction at `target` makes dead and an earlier one at `previous` did not.
fn newly_dead(part: &Part, previous: Revision, target: Revision) -> Vec<Dead<'_>> {
    part.records()
        .filter(|(_, record, by)| {
            let is_dead_at = |compacted| is_dead_at(compacted, record.stamp.main, record.tombstone, *by);
            is_dead_at(target) && !is_dead_at(previous)
        })
        .map(|(offset, record, _)| Dead {
            key: fields(&record).key,
            location: Location::new(part.chunk, offset),
        })
        .collect()
}

fn bury(space: &mut Space, batch: &[Dead<'_>]) {
    for dead in batch {
        space.index.forget(dead.key, dead.location, &space.log);
        space.log.bury(dead.location);
    }
}

/// Rewrites a chunk without its dead records. What is dead at `target` was told from `part`; a record superseded
/// since then is not among them, for the superseding change is younger than `target`.
fn rewrite(space: &mut Space, part: &Part, target: Revision) {
    let dead: HashSet<usize> = part
        .records()
        .filter(|(_, record, by)| is_dead_at(target, record.stamp.main, record.tombstone, *by))
        .map(|(offset, ..)| offset)
        .collect();
    let rewritten = space.log.rewritten(part.chunk, |offset| dead.contains(&offset));
    let moved: Vec<_> = rewritten.moved.iter().copied().filter(|(from, to)| from != to).collect();
    // The index finds keys through the log: all of them first, then the log changes, then the index.
    let find = |(from, to): (Location, Location)| {
        let position = space.index.find(space.log.key(from), &space.log);
        (position.expect("a living record's key is in the index"), from, to)
    };
    let moves: Vec<_> = moved.into_iter().map(find).collect();
    space.log.install(rewritten);
    for (position, from, to) in moves {
        space.index.relocate(position, from, to);
    }
}

//! Which proposals were applied already, in bounded memory.
//!
//! A proposal may reach the log twice: its origin proposed it anew after a change of leader while the first was
//! still on its way. The second must change nothing, on any member. Each origin counts its proposals upwards from a
//! random number at each start, so what an origin proposes falls into a few *runs* of neighbouring numbers.
//! Of each run the last [`WINDOW`] numbers are remembered one by one; a number before them counts as applied,
//! which is safe because an origin never has so many proposals on their way.

use std::collections::BTreeMap;

use super::command::ProposalId;
use crate::types::MemberId;

/// Numbers of a run that are remembered one by one. Far above what etcd's limit lets a member have in flight (5,000).
pub(super) const WINDOW: u64 = 16_384;

pub(super) const WORDS: usize = (WINDOW / 64) as usize;

/// Two numbers further apart than this are of different starts of their origin.
const RUN_SPAN: u64 = 1 << 32;

/// Starts of one origin whose proposals may still be on their way at once.
const RUNS_MAX: usize = 4;

/// The last numbers of one start of an origin.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) highest: u64,
    /// A bit for each of the last `WINDOW` numbers, at its remainder by `WINDOW`.
    pub(super) applied: Box<[u64; WORDS]>,
}

impl Run {
    fn starting_with(sequence: u64) -> Self {
        let mut run = Run { highest: sequence, applied: Box::new([0; WORDS]) };
        run.set(sequence);
        run
    }

    fn holds(&self, sequence: u64) -> bool {
        self.highest.wrapping_sub(sequence) <= RUN_SPAN || sequence.wrapping_sub(self.highest) <= RUN_SPAN
    }

    /// False: it was applied before, or so long ago that nobody knows.
    fn admit(&mut self, sequence: u64) -> bool {
        let ahead = sequence.wrapping_sub(self.highest);
        if (1..=RUN_SPAN).contains(&ahead) {
            for skipped in 1..=ahead.min(WINDOW) {
                self.unset(self.highest.wrapping_add(skipped));
            }
            self.highest = sequence;
        } else if self.highest.wrapping_sub(sequence) >= WINDOW {
            return false;
        }
        let is_new = !self.is_set(sequence);
        self.set(sequence);
        is_new
    }

    fn bit(sequence: u64) -> (usize, u64) {
        let place = sequence % WINDOW;
        ((place / 64) as usize, 1 << (place % 64))
    }

    fn is_set(&self, sequence: u64) -> bool {
        let (word, bit) = Self::bit(sequence);
        self.applied[word] & bit != 0
    }

    fn set(&mut self, sequence: u64) {
        let (word, bit) = Self::bit(sequence);
        self.applied[word] |= bit;
    }

    fn unset(&mut self, sequence: u64) {
        let (word, bit) = Self::bit(sequence);
        self.applied[word] &= !bit;
    }
}

/// The runs of every origin, the one that was used last at the end.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Proposals {
    pub(super) runs: BTreeMap<MemberId, Vec<Run>>,
}

impl Proposals {
    /// Notes a proposal. False: it was applied before.
    pub(super) fn admit(&mut self, id: ProposalId) -> bool {
        if id.origin == MemberId(0) {
            return true;
        }
        let runs = self.runs.entry(id.origin).or_default();
        let Some(i) = runs.iter().position(|run| run.holds(id.sequence)) else {
            if runs.len() == RUNS_MAX {
                runs.remove(0);
            }
            runs.push(Run::starting_with(id.sequence));
            return true;
        };
        if i + 1 < runs.len() {
            let run = runs.remove(i);
            runs.push(run);
        }
        runs.last_mut().is_some_and(|run| run.admit(id.sequence))
    }
}

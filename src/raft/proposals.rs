//! The proposals of this member that wait for their answer.
//!
//! A proposal lives here from [`Proposals::add`] until the state machine of this very member applied
//! it (whoever led), or until it is given up. In between it is, in turn:
//!
//! - *queued*: nobody has it but us;
//! - *sent* in a term: the leader of that term, and no other, may have it in its log;
//! - *parked*: a leader said that it did not take it; it is queued again when the leader changes
//!   or at the next tick.
//!
//! A proposal is sent once a term. It is sent anew only when it is certain that the first sending
//! came to nothing: the leader refused it, or this member applied the first entry of a later term
//! without having met it. So no write is applied twice.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::courier::Courier;
use super::error::Error;
use super::types::Proposal;
use crate::apply::Outcome;
use crate::types::{LogIndex, Term};

/// The answer to a proposal that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub outcome: Outcome,
    pub term: Term,
    pub index: LogIndex,
}

pub(super) type Answer = Result<Proposed, Error>;

/// How long proposals may wait.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub patience: Duration,
    pub grace: Duration,
    /// The term, if it has a leader now.
    pub leading: Option<u64>,
}

/// One proposal on its way to a leader.
pub(super) struct Outgoing {
    pub sequence: u64,
    pub proposal: Proposal,
}

pub(super) struct Proposals {
    next_sequence: AtomicU64,
    table: Mutex<Table>,
    queued: Notify,
    courier: Courier,
}

struct Table {
    waiting: HashMap<u64, Waiting>,
    queue: Vec<u64>,
    parked: Vec<u64>,
    stopped: bool,
}

struct Waiting {
    proposal: Proposal,
    answer: oneshot::Sender<Answer>,
    since: Instant,
    /// The term in which it was sent; none while queued or parked.
    sent: Option<u64>,
    /// When the link it was sent on broke.
    link_lost: Option<Instant>,
}

impl Proposals {
    /// Sequences start at random, so that entries of this member's earlier lives, replayed at a
    /// restart, are never taken for today's proposals.
    pub(super) fn new(courier: Courier) -> Self {
        let table = Table { waiting: HashMap::new(), queue: Vec::new(), parked: Vec::new(), stopped: false };
        let next_sequence = AtomicU64::new(rand::random());
        Self { next_sequence, table: Mutex::new(table), queued: Notify::new(), courier }
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, sequence: u64, proposal: Proposal) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut table = self.table.lock();
        if table.stopped {
            drop(table);
            let _ = answer.send(Err(Error::Stopped));
            return answered;
        }
        let waiting = Waiting { proposal, answer, since: Instant::now(), sent: None, link_lost: None };
        table.waiting.insert(sequence, waiting);
        table.queue.push(sequence);
        // One wake-up a batch: whoever finds the queue empty rings.
        if table.queue.len() == 1 {
            drop(table);
            self.queued.notify_one();
        }
        answered
    }

    /// Resolves when something may be queued.
    pub(super) async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Everything queued, marked as sent in `term`.
    pub(super) fn take(&self, term: u64) -> Vec<Outgoing> {
        let mut table = self.table.lock();
        let queue = mem::take(&mut table.queue);
        let mut outgoing = Vec::with_capacity(queue.len());
        for sequence in queue {
            if let Some(waiting) = table.waiting.get_mut(&sequence) {
                waiting.sent = Some(term);
                waiting.link_lost = None;
                outgoing.push(Outgoing { sequence, proposal: waiting.proposal.clone() });
            }
        }
        outgoing
    }

    /// The leader of `term` did not take these and never will.
    pub(super) fn refused(&self, term: u64, sequences: impl IntoIterator<Item = u64>) {
        let mut table = self.table.lock();
        for sequence in sequences {
            let Some(waiting) = table.waiting.get_mut(&sequence) else { continue };
            if waiting.sent == Some(term) {
                waiting.sent = None;
                table.parked.push(sequence);
            }
        }
    }

    /// Queues again what leaders refused, and rings for what had no leader to go to.
    pub(super) fn unpark(&self) {
        let mut table = self.table.lock();
        let parked = mem::take(&mut table.parked);
        table.queue.extend(parked);
        if !table.queue.is_empty() {
            self.queued.notify_one();
        }
    }

    /// These were applied.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = (u64, Answer)>) {
        let mut table = self.table.lock();
        let found: Vec<_> = answers
            .into_iter()
            .filter_map(|(sequence, answer)| Some((table.waiting.remove(&sequence)?, answer)))
            .collect();
        // Waking the askers takes longer than finding them, and new ones want the table.
        drop(table);
        if found.is_empty() {
            return;
        }
        self.courier.carry(found.len(), || {
            for (waiting, answer) in found {
                // Who asked may have gone.
                let _ = waiting.answer.send(answer);
            }
        });
    }

    /// The first entry of `term` was applied: what was sent in an earlier term and has not been met
    /// by now never will be, so it is queued anew.
    pub(super) fn term_began(&self, term: u64) {
        let mut table = self.table.lock();
        let Table { waiting, queue, .. } = &mut *table;
        for (sequence, waiting) in waiting {
            if waiting.sent.is_some_and(|sent| sent < term) {
                waiting.sent = None;
                queue.push(*sequence);
            }
        }
        self.queued.notify_one();
    }

    /// Entries were skipped (a snapshot came instead): what was sent may or may not be among them.
    pub(super) fn lose_track(&self) {
        let mut table = self.table.lock();
        let sent = table.waiting.extract_if(|_, waiting| waiting.sent.is_some());
        sent.for_each(|(_, waiting)| drop(waiting.answer.send(Err(Error::LeaderChanged))));
    }

    /// The link to the leader of `term` broke; what went over it may have been lost.
    pub(super) fn link_lost(&self, term: u64, now: Instant) {
        let mut table = self.table.lock();
        for waiting in table.waiting.values_mut().filter(|waiting| waiting.sent == Some(term)) {
            waiting.link_lost.get_or_insert(now);
        }
    }

    /// Gives up what waited longer than `patience`, and what was lost with its link: the link broke
    /// longer than `grace` ago, and the term it was sent in still goes on (`leading`), so that no new
    /// term will tell. `why` refines the first kind's error from the time of the proposal.
    pub(super) fn give_up_late(&self, now: Instant, limits: Limits, why: impl Fn(Instant) -> Error) {
        let is_lost = |waiting: &Waiting| {
            let long_ago = waiting.link_lost.is_some_and(|lost| now - lost >= limits.grace);
            long_ago && waiting.sent.is_some() && waiting.sent == limits.leading
        };
        let mut table = self.table.lock();
        let late =
            table.waiting.extract_if(|_, waiting| now - waiting.since >= limits.patience || is_lost(waiting));
        for (_, waiting) in late {
            let error = if is_lost(&waiting) { Error::TimeoutConnectionLost } else { why(waiting.since) };
            // Who asked may have gone.
            let _ = waiting.answer.send(Err(error));
        }
    }

    pub(super) fn stop(&self) {
        let mut table = self.table.lock();
        table.stopped = true;
        for (_, waiting) in table.waiting.drain() {
            let _ = waiting.answer.send(Err(Error::Stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::codec;

    fn proposals_with_one() -> (Proposals, u64, oneshot::Receiver<Answer>) {
        let proposals = Proposals::new(Courier::default());
        let sequence = proposals.next_sequence();
        let answered = proposals.add(sequence, codec::proposal(b"write"));
        (proposals, sequence, answered)
    }

    fn taken(proposals: &Proposals, term: u64) -> usize {
        proposals.take(term).len()
    }

    #[test]
    fn a_proposal_is_sent_once_a_term_and_anew_only_when_the_next_term_began_without_it() {
        let (proposals, _, _answered) = proposals_with_one();
        assert_eq!(taken(&proposals, 4), 1);
        assert_eq!(taken(&proposals, 4), 0);
        proposals.term_began(4);
        assert_eq!(taken(&proposals, 4), 0, "its own term's first entry says nothing");
        proposals.term_began(5);
        assert_eq!(taken(&proposals, 5), 1);
    }

    #[test]
    fn a_refused_one_waits_parked_and_is_sent_again() {
        let (proposals, sequence, _answered) = proposals_with_one();
        assert_eq!(taken(&proposals, 4), 1);
        proposals.refused(3, [sequence]);
        proposals.unpark();
        assert_eq!(taken(&proposals, 4), 0, "a refusal of another term is not about this sending");
        proposals.refused(4, [sequence]);
        assert_eq!(taken(&proposals, 4), 0);
        proposals.unpark();
        assert_eq!(taken(&proposals, 4), 1);
    }

    #[test]
    fn what_a_snapshot_may_have_swallowed_is_answered_as_unknown() {
        let (proposals, _, mut answered) = proposals_with_one();
        proposals.lose_track();
        assert!(answered.try_recv().is_err(), "nobody has it yet");
        proposals.take(1);
        proposals.lose_track();
        assert_eq!(answered.try_recv().unwrap(), Err(Error::LeaderChanged));
    }

    #[test]
    fn late_ones_are_given_up_with_the_reason() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let limits = Limits { patience: minute, grace: second, leading: Some(1) };
        let (proposals, _, mut answered) = proposals_with_one();
        let now = Instant::now();
        proposals.take(1);
        proposals.give_up_late(now + second, limits, |_| Error::Timeout);
        proposals.link_lost(1, now);
        proposals.give_up_late(now + second, Limits { leading: None, ..limits }, |_| Error::Timeout);
        assert!(answered.try_recv().is_err(), "without a leader the next term will tell");
        proposals.give_up_late(now + second, limits, |_| Error::Timeout);
        assert_eq!(answered.try_recv().unwrap(), Err(Error::TimeoutConnectionLost));
        let (proposals, _, mut answered) = proposals_with_one();
        proposals.give_up_late(now + minute + second, limits, |_| Error::Timeout);
        assert_eq!(answered.try_recv().unwrap(), Err(Error::Timeout));
    }
}

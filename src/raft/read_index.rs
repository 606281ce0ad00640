//! Linearizable reads: everybody who waits shares one round.
//!
//! A round asks the leader (or, on it, a quorum of voters; see `leadership`) up to which index a read must
//! see; the readers go on when this member has applied that index. Who comes while
//! a round is under way waits for the next, for this one may have begun before his read did.
//!
//! A round ends without an answer when the link to the leader breaks or the leadership changes; whoever
//! waits is part of the next, which asks the new leader as soon as there is one.

use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::applied::Waiter;
use super::error::Error;
use super::leadership;
use super::shared::Shared;
use super::status::Status;
use super::transport::{Reply, Request};
use crate::types::{MemberId, Term};

#[derive(Default)]
pub(super) struct Reads {
    waiting: Mutex<Waiting>,
    asked: Notify,
    /// A reader joined.
    joined: Notify,
}

#[derive(Default)]
struct Waiting {
    /// When the first of them came.
    since: Option<Instant>,
    readers: Vec<Waiter>,
    /// Followers that only want to know the index.
    followers: Vec<oneshot::Sender<Option<u64>>>,
    stopped: bool,
}

/// Readers that give up together.
struct Batch {
    deadline: Instant,
    readers: Vec<Waiter>,
}

impl Reads {
    /// Resolves when this member has applied all that was committed when it was called.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let (reader, answer) = oneshot::channel();
        if self.join(|waiting| waiting.readers.push(reader)) {
            self.joined.notify_one();
        }
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Whether nobody waited before.
    fn join(&self, add: impl FnOnce(&mut Waiting)) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.stopped {
            return false;
        }
        add(&mut waiting);
        let is_first = waiting.since.is_none();
        if is_first {
            waiting.since = Some(Instant::now());
        }
        is_first
    }

    /// Asks for a round whenever readers joined. Runs beside them, so that it has its turn when those
    /// that are ready have had theirs.
    pub(super) async fn gather(&self) {
        loop {
            self.joined.notified().await;
            self.asked.notify_one();
        }
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting.lock();
        let stopped = waiting.stopped;
        mem::replace(&mut *waiting, Waiting { stopped, ..Waiting::default() })
    }

    pub(super) fn stop(&self) {
        self.waiting.lock().stopped = true;
        // Dropping the waiters tells them.
        drop(self.take());
    }
}

/// Runs rounds for the member's whole life.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut status = shared.status.subscribe();
    // Whom earlier rounds could not answer.
    let mut batches: Vec<Batch> = Vec::new();
    loop {
        if batches.is_empty() {
            shared.reads.asked.notified().await;
        }
        let Waiting { since, readers, followers, .. } = shared.reads.take();
        if let Some(since) = since.filter(|_| !readers.is_empty()) {
            batches.push(Batch { deadline: since + shared.request_timeout(), readers });
        }
        if batches.is_empty() && followers.is_empty() {
            continue;
        }
        let asked = leadership(&status.borrow_and_update());
        let index = tokio::select! {
            biased;
            index = read_index(&shared, asked.1) => index,
            () = ends(&mut status, asked) => None,
        };
        for follower in followers {
            // A follower asks again by itself.
            let _ = follower.send(index);
        }
        match index {
            Some(index) => {
                batches.drain(..).for_each(|batch| shared.applied.when(index, batch.deadline, batch.readers));
            }
            None => {
                give_up_late(&mut batches);
                if !batches.is_empty() {
                    tokio::select! {
                        () = ends(&mut status, asked) => {}
                        () = sleep(shared.timing.heartbeat) => {}
                    }
                }
            }
        }
    }
}

fn leadership(status: &Status) -> (Term, Option<MemberId>) {
    (status.term, status.leader)
}

/// Resolves when the leadership is another than `asked`. Compares values, so that a change that came
/// before the question is none.
async fn ends(status: &mut watch::Receiver<Status>, asked: (Term, Option<MemberId>)) {
    // The sender lives as long as the member.
    let _ = status.wait_for(|status| leadership(status) != asked).await;
}

fn give_up_late(batches: &mut Vec<Batch>) {
    let now = Instant::now();
    for batch in batches.extract_if(.., |batch| batch.deadline <= now) {
        batch.readers.into_iter().for_each(|reader| drop(reader.send(Err(Error::Timeout))));
    }
}

/// Up to where a read that begins now must see; none when `leader` does not say.
async fn read_index(shared: &Arc<Shared>, leader: Option<MemberId>) -> Option<u64> {
    let leader = leader?;
    if leader == shared.me {
        return leadership::read_index(shared).await;
    }
    let peer = shared.peers.get(leader)?;
    let term = shared.promise.term_of(leader)?;
    match peer.control.request(Request::ReadIndex(term), shared.timing.election).await {
        Ok(Reply::ReadIndex(index)) => index,
        _ => None,
    }
}

/// The answer to a follower that asks for the read index, promised to us for `term` when it asked.
pub(super) async fn for_peer(shared: &Shared, follower: MemberId, term: u64) -> Option<u64> {
    if !shared.status().is_leader() {
        return None;
    }
    if let Some(index) = leadership::read_index_with(shared, follower, term) {
        return Some(index);
    }
    let (follower, index) = oneshot::channel();
    shared.reads.join(|waiting| waiting.followers.push(follower));
    // A follower never waits for our callers' thread.
    shared.reads.asked.notify_one();
    index.await.ok().flatten()
}

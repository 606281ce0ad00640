//! Linearizable reads: everybody who waits shares one round.
//!
//! A round asks the leader (or, on it, openraft) up to which index a read must see, which costs one
//! heartbeat to a quorum; the readers go on when this member has applied that index. Who comes while
//! a round is under way waits for the next, for this one may have begun before his read did.

use std::mem;
use std::sync::Arc;

use openraft::ReadPolicy;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::applied::Waiter;
use super::error::Error;
use super::shared::Shared;
use super::transport::{Reply, Request};

#[derive(Default)]
pub(super) struct Reads {
    waiting: Mutex<Waiting>,
    asked: Notify,
    leader_changed: Notify,
}

#[derive(Default)]
struct Waiting {
    readers: Vec<Waiter>,
    /// Followers that only want to know the index.
    followers: Vec<oneshot::Sender<Option<u64>>>,
    stopped: bool,
}

impl Reads {
    /// Resolves when this member has applied all that was committed when it was called.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let (reader, answer) = oneshot::channel();
        self.join(|waiting| waiting.readers.push(reader));
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    fn join(&self, add: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock();
        let first = waiting.readers.is_empty() && waiting.followers.is_empty();
        if !waiting.stopped {
            add(&mut waiting);
        }
        drop(waiting);
        if first {
            self.asked.notify_one();
        }
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting.lock();
        let stopped = waiting.stopped;
        mem::replace(&mut *waiting, Waiting { stopped, ..Waiting::default() })
    }

    pub(super) fn leader_changed(&self) {
        self.leader_changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.waiting.lock().stopped = true;
        // Dropping the waiters tells them.
        drop(self.take());
    }
}

/// Runs rounds for the member's whole life.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        shared.reads.asked.notified().await;
        let Waiting { readers, followers, .. } = shared.reads.take();
        round(&shared, readers, followers).await;
    }
}

async fn round(shared: &Arc<Shared>, readers: Vec<Waiter>, followers: Vec<oneshot::Sender<Option<u64>>>) {
    let deadline = shared.request_deadline();
    let mut index = read_index(shared).await;
    for follower in followers {
        // A follower asks again by itself.
        let _ = follower.send(index);
    }
    while index.is_none() && !readers.is_empty() && Instant::now() < deadline {
        tokio::select! {
            () = shared.reads.leader_changed.notified() => {}
            () = sleep(shared.timing.heartbeat) => {}
        }
        index = timeout_at(deadline, read_index(shared)).await.ok().flatten();
    }
    match index {
        Some(index) => shared.applied.when(index, deadline, readers),
        None => readers.into_iter().for_each(|reader| drop(reader.send(Err(Error::Timeout)))),
    }
}

/// Up to where a read that begins now must see; none when nobody can say at the moment.
async fn read_index(shared: &Arc<Shared>) -> Option<u64> {
    let leader = shared.status().leader?;
    if leader == shared.me {
        let linearizer = shared.raft().ok()?.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
        return Some(linearizer.read_log_id().index() + 1);
    }
    let peer = shared.peers.get(leader)?;
    match peer.control.request(Request::ReadIndex, shared.timing.election).await {
        Ok(Reply::ReadIndex(index)) => index,
        _ => None,
    }
}

/// The answer to a follower that asks for the read index.
pub(super) async fn for_peer(shared: &Shared) -> Option<u64> {
    if !shared.status().is_leader() {
        return None;
    }
    let (follower, index) = oneshot::channel();
    shared.reads.join(|waiting| waiting.followers.push(follower));
    index.await.ok().flatten()
}

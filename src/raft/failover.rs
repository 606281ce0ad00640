//! Electing at once when the leader's process dies, instead of waiting for its silence to be noticed.
//!
//! When a process ends its kernel closes its connections, so every follower's link to it breaks in
//! the same moment. One broken link proves nothing, and a campaign that skips the leader's lease
//! would depose a healthy leader. So a follower first asks the other voters whether their link to
//! the same leader of the same term is down too, and campaigns only when they are a quorum together.
//! A voter lets such a campaign pass the lease only while its own link is down ([`is_lost`]); the
//! leader never does. The follower with the longest log goes first.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{sleep, timeout};

use super::shared::Shared;
use super::status::Status;
use super::transport::{Reply, Request};
use super::types::LogId;
use crate::types::{MemberId, Term};

/// A leadership that may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leadership {
    pub leader: MemberId,
    pub term: u64,
}

impl Leadership {
    fn of_another(status: &Status) -> Option<Self> {
        let leader = status.leader.filter(|leader| *leader != status.me)?;
        Some(Self { leader, term: status.term.0 })
    }
}

/// The highest term that anybody asked this member to vote for. Known the moment the request comes,
/// before the vote itself is durable and shows in the status.
#[derive(Default)]
pub(super) struct Campaigns(AtomicU64);

impl Campaigns {
    pub(super) fn hear(&self, term: u64) {
        self.0.fetch_max(term, Ordering::AcqRel);
    }

    fn is_any_after(&self, term: u64) -> bool {
        self.0.load(Ordering::Acquire) > term
    }
}

/// Watches the link to the leader for the member's whole life.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut status = shared.status.subscribe();
    loop {
        let is_following = |status: &Status| Leadership::of_another(status).is_some();
        let followed = status.wait_for(is_following).await.map(|status| Leadership::of_another(&status));
        let Ok(Some(followed)) = followed else { return };
        let over = |status: &Status| Leadership::of_another(status) != Some(followed);
        tokio::select! {
            _ = status.wait_for(over) => {}
            () = follow(&shared, followed) => {}
        }
    }
}

/// Follows one leader; returns when its link broke and is up again.
async fn follow(shared: &Arc<Shared>, followed: Leadership) {
    let Some(peer) = shared.peers.get(followed.leader) else {
        return sleep(shared.timing.heartbeat).await;
    };
    peer.control.until(true).await;
    peer.control.until(false).await;
    // The others may be slow to notice or to answer. A campaign changes the term and ends this.
    while !peer.control.is_up() {
        let is_voter = shared.state.members().voters().any(|voter| voter.id == shared.me);
        if is_voter && lost_to_quorum(shared, followed).await {
            campaign(shared, followed).await;
        }
        sleep(shared.timing.heartbeat).await;
    }
}

async fn campaign(shared: &Shared, lost: Leadership) {
    let Ok(raft) = shared.raft() else { return };
    // Two campaigns at once would only split the votes.
    if shared.status().term != Term(lost.term) || shared.campaigns.is_any_after(lost.term) {
        return;
    }
    tracing::info!(leader = %lost.leader, term = lost.term, "campaigning, for a quorum lost its links to the leader");
    if let Err(error) = raft.trigger().elect(false).await {
        tracing::debug!(%error, "cannot campaign");
    }
}

/// Whether a quorum of voters, this one included, has lost its links; and it is our turn.
async fn lost_to_quorum(shared: &Shared, lost: Leadership) -> bool {
    let members = shared.state.members();
    let quorum = members.voters().count() / 2 + 1;
    let others = members.voters().filter(|voter| voter.id != shared.me && voter.id != lost.leader);
    let mut asked: FuturesUnordered<_> = others.map(|voter| ask(shared, voter.id, lost)).collect();
    let mut agreed = Vec::new();
    while agreed.len() + 1 < quorum {
        match asked.next().await {
            Some(Some(rank)) => agreed.push(rank),
            Some(None) => {}
            None => return false,
        }
    }
    let mine = (last_position(shared), Reverse(shared.me));
    if agreed.iter().any(|theirs| *theirs > mine) {
        // Somebody with a longer log, or a smaller identity, goes first; a campaign begins with a
        // sync of the candidate's vote, so it needs its time.
        sleep((2 * shared.timing.heartbeat).max(shared.timing.election / 4)).await;
    }
    true
}

type Rank = (Option<LogId>, Reverse<MemberId>);

/// The place in the queue of a voter that has lost its link too; none of one that has not.
async fn ask(shared: &Shared, voter: MemberId, lost: Leadership) -> Option<Rank> {
    let peer = shared.peers.get(voter)?;
    match peer.control.request(Request::Lost(lost), shared.timing.heartbeat).await {
        Ok(Reply::Lost { yes: true, last }) => Some((last, Reverse(voter))),
        _ => None,
    }
}

/// The answer to a voter that asks. Its news may be faster than ours, so we wait a moment for our
/// own link to break.
pub(super) async fn for_peer(shared: &Shared, lost: Leadership) -> Reply {
    let breaks = async {
        match shared.peers.get(lost.leader) {
            Some(peer) => peer.control.until(false).await,
            None => std::future::pending().await,
        }
    };
    let status = shared.status();
    let same_term = status.term.0 == lost.term && lost.leader != shared.me;
    let yes = same_term && timeout(shared.timing.heartbeat / 2, breaks).await.is_ok();
    Reply::Lost { yes, last: last_position(shared) }
}

/// Whether our link to the leader that we follow is down, so that a campaign may pass its lease.
pub(super) fn is_lost(shared: &Shared) -> bool {
    let followed = Leadership::of_another(&shared.status());
    followed.and_then(|followed| shared.peers.get(followed.leader)).is_some_and(|peer| !peer.control.is_up())
}

fn last_position(shared: &Shared) -> Option<LogId> {
    shared.raft().ok()?.data_metrics().borrow_watched().last_log
}

//! Founding: every first member writes the same first entry, and one of them campaigns.
//!
//! openraft's own `initialize` has every member campaign in the same moment; each votes for itself, and
//! the cluster waits for an election timeout and begins a term later than etcd's. So the entry is taken
//! in as if a leader had sent it, in a term that nobody leads, and the first of the members by identity
//! campaigns for the next as soon as it is linked to a quorum. Without it the others do, by their timers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;

use super::codec;
use super::error::Error;
use super::shared::Shared;
use super::types::{Entry, Membership, Payload, RaftTerm, Vote};
use crate::membership::{Member, Refusal};
use crate::types::MemberId;

/// Leads the founding term: no member has this identity.
const NOBODY: MemberId = MemberId(0);

pub(super) async fn found(shared: &Arc<Shared>, members: Vec<Member>) -> Result<(), Error> {
    let raft = shared.raft()?;
    if raft.metrics().borrow_watched().last_log_index.is_some() {
        return Ok(());
    }
    let members: BTreeMap<_, _> = members.into_iter().map(|member| (member.id, member)).collect();
    if !members.contains_key(&shared.me) {
        return Err(Error::Refused(Refusal::NotFound));
    }
    let term = RaftTerm::default();
    let first = Payload::Membership(Membership::from(members.clone()));
    let request = AppendEntriesRequest {
        vote: Vote::new_committed(term, NOBODY),
        prev_log_id: None,
        entries: vec![Entry::new(codec::position(term.0, 0), first)],
        leader_commit: None,
    };
    // Refused where another member campaigns already: its log brings the same entry.
    raft.append_entries(request).await.map_err(|_| Error::Stopped)?;
    if members.keys().next() == Some(&shared.me) {
        shared.spawn(campaign(Arc::clone(shared), members));
    }
    Ok(())
}

async fn campaign(shared: Arc<Shared>, members: BTreeMap<MemberId, Member>) {
    let quorum = members.len() / 2 + 1;
    let others = members.values().filter(|member| member.id != shared.me);
    let peers: Vec<_> = others.map(|member| shared.peers.get_or_open(&shared, member)).collect();
    let mut linked: FuturesUnordered<_> = peers.iter().map(|peer| peer.control.until(true)).collect();
    for _ in 1..quorum {
        linked.next().await;
    }
    let Ok(raft) = shared.raft() else { return };
    if is_founding(&shared)
        && let Err(error) = raft.trigger().elect(false).await
    {
        tracing::debug!(%error, "cannot campaign");
    }
}

/// Whether this member is in the founding term, which has no leader whose lease would count.
pub(super) fn is_founding(shared: &Shared) -> bool {
    shared.raft().is_ok_and(|raft| raft.metrics().borrow_watched().current_term == RaftTerm::default())
}

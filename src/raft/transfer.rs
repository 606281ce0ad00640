//! Moving the leadership to another voter on purpose.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use super::shared::Shared;
use crate::types::MemberId;

/// To `target`, as etcd's MoveLeader: asked of the leader only, and only for a voter.
pub(super) async fn to(shared: &Arc<Shared>, target: MemberId, deadline: Instant) -> Result<(), Error> {
    if !shared.status().is_leader() {
        return Err(Error::NotLeader);
    }
    // A new leader may not have applied yet who the voters are.
    shared.reads.wait().await?;
    if !votes(shared)?.contains(&target) {
        return Err(Error::BadTransferee);
    }
    if target == shared.me {
        return Ok(());
    }
    hand_over(shared, target, deadline).await
}

/// To the linked voter that has most of our log, and among such to the one linked longest.
pub(super) async fn to_best(shared: &Arc<Shared>, deadline: Instant) -> Result<(), Error> {
    let replicated = shared.raft()?.metrics().borrow_watched().replication.clone().unwrap_or_default();
    let votes = votes(shared)?;
    let linked = shared.peers.states().into_iter().filter_map(|state| Some((state.id, state.active_since?)));
    let voters = linked.filter(|(id, _)| votes.contains(id));
    let rank = |(id, since): &(MemberId, std::time::Instant)| {
        let matched = replicated.get(id).copied().flatten().map(|position| position.index);
        (matched, since.elapsed())
    };
    let (target, _) = voters.max_by_key(rank).ok_or(Error::BadTransferee)?;
    hand_over(shared, target, deadline).await
}

/// Who votes now. A voter that has not begun to is none yet, see [`super::admit`].
fn votes(shared: &Shared) -> Result<BTreeSet<MemberId>, Error> {
    Ok(shared.raft()?.metrics().borrow_watched().membership_config.voter_ids().collect())
}

async fn hand_over(shared: &Shared, target: MemberId, deadline: Instant) -> Result<(), Error> {
    tracing::info!(to = %target, "handing leadership over");
    let began_at = shared.status().term;
    shared.raft()?.trigger().transfer_leader(target).await.map_err(|_| Error::Stopped)?;
    let mut status = shared.status.subscribe();
    // With another leader than the target the transfer is over too, though not as it was meant.
    let over = status.wait_for(|status| status.leader.is_some() && status.term > began_at);
    match timeout_at(deadline, over).await {
        Ok(Ok(status)) if status.leader == Some(target) => Ok(()),
        Ok(_) => Err(Error::LeaderChanged),
        Err(_) => Err(Error::TimeoutLeaderTransfer),
    }
}

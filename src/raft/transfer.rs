//! Moving the leadership to another voter on purpose.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use super::shared::Shared;
use crate::types::{MemberId, Term};

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
    hand_over(shared, target, shared.status().term, deadline).await
}

/// To the linked voter that has most of our log, and among such to the one linked longest; when that
/// one goes away or takes too long, to the next. Ends as soon as nobody is left who could take it.
pub(super) async fn to_best(shared: &Arc<Shared>, deadline: Instant) -> Result<(), Error> {
    let began_at = shared.status().term;
    let mut asked = BTreeSet::from([shared.me]);
    let mut outcome = Err(Error::BadTransferee);
    while let Some(target) = best(shared, &asked)? {
        asked.insert(target);
        let patience = deadline.min(Instant::now() + shared.timing.election);
        tokio::select! {
            handed = hand_over(shared, target, began_at, patience) => outcome = handed,
            () = gone(shared, target) => tracing::warn!(to = %target, "lost the member that was to lead"),
        }
        let leads = shared.status();
        if leads.term > began_at && leads.leader.is_some() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    outcome
}

/// Who of the linked voters but `asked` should lead; none also when the linked ones are no quorum, for
/// then nobody can be elected.
fn best(shared: &Shared, asked: &BTreeSet<MemberId>) -> Result<Option<MemberId>, Error> {
    let replicated = shared.raft()?.metrics().borrow_watched().replication.clone().unwrap_or_default();
    let votes = votes(shared)?;
    let linked = shared.peers.states().into_iter().filter_map(|state| Some((state.id, state.active_since?)));
    let linked: Vec<_> = linked.filter(|(id, _)| votes.contains(id)).collect();
    let agreeing = linked.len() + usize::from(votes.contains(&shared.me));
    if agreeing <= votes.len() / 2 {
        return Ok(None);
    }
    let rank = |(id, since): &(MemberId, std::time::Instant)| {
        let matched = replicated.get(id).copied().flatten().map(|position| position.index);
        (matched, since.elapsed())
    };
    let left = linked.into_iter().filter(|(id, _)| !asked.contains(id));
    Ok(left.max_by_key(rank).map(|(id, _)| id))
}

/// Resolves when the link to `target` is down.
async fn gone(shared: &Shared, target: MemberId) {
    if let Some(peer) = shared.peers.get(target) {
        peer.control.until(false).await;
    }
}

/// Who votes now. A voter that has not begun to is none yet, see [`super::admit`].
fn votes(shared: &Shared) -> Result<BTreeSet<MemberId>, Error> {
    Ok(shared.raft()?.metrics().borrow_watched().membership_config.voter_ids().collect())
}

async fn hand_over(
    shared: &Shared,
    target: MemberId,
    began_at: Term,
    deadline: Instant,
) -> Result<(), Error> {
    tracing::info!(to = %target, "handing leadership over");
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

//! Members that were added as voters begin to vote once they are in step.
//!
//! openraft counts a membership from the moment it lies in the log: a new voter that does not run yet
//! would be missed in the quorum at once, and a cluster of one could not even commit its growth to two.
//! (etcd counts it from when it is applied, and then waits for the new member all the same.) So a
//! member that is added as a voter enters the membership as one that only receives the log; its record
//! says that it is no learner, so lists show the voter that it is to be, and the rules count it; and
//! the leader lets it vote when it is in step.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::sleep;

use super::change;
use super::shared::Shared;
use super::types::{Membership, Metrics, client_index};
use crate::membership::Member;
use crate::membership::rules::{LearnerProgress, is_in_step};
use crate::types::MemberId;

/// Whether this member of the membership is a learner for those who ask, which one that only waits for
/// its vote is not.
pub(super) fn is_learner(membership: &Membership, member: &Member) -> bool {
    member.is_learner && !membership.voter_ids().any(|voter| voter == member.id)
}

/// Lets members vote while this one leads.
pub(super) async fn run(shared: Arc<Shared>) {
    let Ok(raft) = shared.raft() else { return };
    let mut metrics = raft.metrics();
    let mut memberships = raft.server_metrics();
    loop {
        let arrived = arrived(&metrics.borrow_watched());
        let is_any_waiting = waiting(&metrics.borrow_watched()).next().is_some();
        match arrived {
            Some(member) if change::admit(&shared, member).await => {
                tracing::info!(%member, "member votes from now on");
            }
            // Another change is on its way, or the leadership went.
            Some(_) => sleep(shared.timing.heartbeat).await,
            None => {
                // Positions move all the time; they only matter while somebody waits.
                let changed = match is_any_waiting {
                    true => WatchReceiver::changed(&mut metrics).await,
                    false => WatchReceiver::changed(&mut memberships).await,
                };
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// A member that waits for its vote and is in step, as far as the leader sees; none on other members.
fn arrived(metrics: &Metrics) -> Option<MemberId> {
    let replication = metrics.replication.as_ref()?;
    let leader = metrics.last_log_index.map_or(0, |index| index + 1);
    let in_step = |id: &MemberId| {
        let learner = replication.get(id).copied().flatten().map(|position| client_index(Some(position)));
        learner.is_some() && is_in_step(LearnerProgress { learner, leader })
    };
    waiting(metrics).find(in_step)
}

/// The members that wait for their vote.
fn waiting(metrics: &Metrics) -> impl Iterator<Item = MemberId> {
    let membership = metrics.membership_config.membership();
    let waits = |(id, member): &(&MemberId, &Member)| {
        !member.is_learner && !membership.voter_ids().any(|voter| voter == **id)
    };
    membership.nodes().filter(waits).map(|(id, _)| *id)
}

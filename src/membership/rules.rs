//! Strict reconfiguration: may the cluster change in this way now without giving its quorum away?
//!
//! The rules are etcd's (`etcdserver/server.go` `mayAddMember`, `mayRemoveMember`, `mayPromoteMember`),
//! pure functions over the member list and what one member sees of the others. With `n` voters, `q(n) = n / 2 + 1`:
//!
//! | change | not enough started members | unhealthy cluster |
//! |---|---|---|
//! | add a voter | started < q(n + 1), unless the one voter there is has started | n > 1 and settled < q(n + 1) |
//! | add a learner | never | n > 1 and settled < q(n + 1) |
//! | remove a learner | never | never |
//! | remove a voter | of the n - 1 that stay, started < q(n - 1) | the target is linked, and settled - 1 < 1 + (n - 1) / 2 |
//! | promote a learner | started + 1 < q(n + 1) | never |
//!
//! Started: has published its name. Settled: linked for [`HEALTH_INTERVAL`] or longer, oneself included.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Change, Member, Members, Refusal};
use crate::types::MemberId;

/// How long a link must have lived without a break for its member to count as settled.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// A learner is in step when it has at least this share of the leader's log.
const LEARNER_READY: f64 = 0.9;

/// What the deciding member sees of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// The member that decides; it counts as settled.
    pub local: MemberId,
    /// Members that a link exists to now, however young.
    pub active: BTreeSet<MemberId>,
    /// Those among them that have been linked for [`HEALTH_INTERVAL`].
    pub settled: BTreeSet<MemberId>,
}

/// How far the leader knows a learner to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnerProgress {
    /// Last log index known to be on the learner; None when the leader does not replicate to it.
    pub learner: Option<u64>,
    /// Last log index that the leader itself has synced.
    pub leader: u64,
}

/// What a decision is made from, besides the member list.
#[derive(Clone, Debug)]
pub struct Facts {
    pub connections: Connections,
    /// Of the member to be promoted; not looked at for other changes.
    pub progress: LearnerProgress,
    /// Whether strict reconfiguration is on.
    pub strict: bool,
    pub learners_max: usize,
}

/// Whether a change may be made: strict rules first, then whether it fits the list, as clients of etcd see it.
///
/// # Errors
/// The first reason against it.
pub fn may_change(members: &Members, change: &Change, facts: &Facts) -> Result<(), Refusal> {
    match change {
        Change::Add(member) if facts.strict => may_add(members, member, &facts.connections)?,
        Change::Remove(id) if facts.strict => may_remove(members, *id, &facts.connections)?,
        Change::Promote(_) => may_promote(members, facts.progress, facts.strict)?,
        Change::Add(_) | Change::Remove(_) => {}
    }
    members.validate(change, facts.learners_max)
}

/// # Errors
/// [`Refusal::NotEnoughStarted`], [`Refusal::Unhealthy`].
pub fn may_add(members: &Members, member: &Member, connections: &Connections) -> Result<(), Refusal> {
    let voters = members.voters().count();
    let started = started(members.voters());
    let is_first_growth = voters == 1 && started == 1;
    if !member.is_learner && !is_first_growth && started < quorum(voters + 1) {
        return Err(Refusal::NotEnoughStarted);
    }
    // The new member counts as down until it has shown itself.
    if voters != 1 && settled(members, connections) < quorum(voters + 1) {
        return Err(Refusal::Unhealthy);
    }
    Ok(())
}

/// # Errors
/// [`Refusal::NotEnoughStarted`], [`Refusal::Unhealthy`].
pub fn may_remove(members: &Members, id: MemberId, connections: &Connections) -> Result<(), Refusal> {
    if members.get(id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    let stay = || members.voters().filter(|member| member.id != id);
    if started(stay()) < quorum(stay().count()) {
        return Err(Refusal::NotEnoughStarted);
    }
    // A member that is down is no part of the working quorum.
    if id != connections.local && !connections.active.contains(&id) {
        return Ok(());
    }
    let voters = members.voters().count();
    // Written with sums, for a member outside the list may be asked about where nobody is settled.
    if settled(members, connections) < 2 + voters.saturating_sub(1) / 2 {
        return Err(Refusal::Unhealthy);
    }
    Ok(())
}

/// # Errors
/// [`Refusal::NotFound`] when the leader does not replicate to the member, [`Refusal::LearnerNotReady`] whether
/// strict or not, [`Refusal::NotEnoughStarted`]. That the member is no learner is seen after all these, as with
/// etcd: a voter that lags is told that it is not in step.
pub fn may_promote(members: &Members, progress: LearnerProgress, strict: bool) -> Result<(), Refusal> {
    if progress.learner.is_none() {
        return Err(Refusal::NotFound);
    }
    if !is_in_step(progress) {
        return Err(Refusal::LearnerNotReady);
    }
    if strict && started(members.voters()) + 1 < quorum(members.voters().count() + 1) {
        return Err(Refusal::NotEnoughStarted);
    }
    Ok(())
}

/// Whether the learner's log reaches close enough to the leader's for it to vote.
pub fn is_in_step(progress: LearnerProgress) -> bool {
    // Beside an empty log everybody is in step.
    progress.leader == 0 || progress.learner.unwrap_or(0) as f64 / progress.leader as f64 >= LEARNER_READY
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

fn started<'a>(members: impl Iterator<Item = &'a Member>) -> usize {
    members.filter(|member| member.has_started()).count()
}

fn settled(members: &Members, connections: &Connections) -> usize {
    let is_settled = |id: &MemberId| *id == connections.local || connections.settled.contains(id);
    members.voters().filter(|member| is_settled(&member.id)).count()
}

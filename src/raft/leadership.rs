//! Whether this member still leads, found out without the engine.
//!
//! A linearizable read needs no more than this: at some moment after it began, a quorum had promised itself to
//! no later leader, and the leader's commit index at such a moment covers everything that anybody had seen
//! before (Ongaro's thesis, 6.4). openraft answers that too, but wakes the engine of every voter for it; here
//! a voter answers from its last vote, and a follower's own question is its answer already.
//!
//! ```text
//! promise      the vote saved last: set before it is durable, so before anybody hears of it
//! committed    the greatest position that this leader has told anybody, or applied, since it began to lead
//! ```
//! Where that says nothing yet (no entry of this term is committed, or nobody was told anything), the engine
//! is asked.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;

use super::shared::Shared;
use super::transport::{Reply, Request};
use super::types::{LogId, Vote};
use crate::types::MemberId;

/// The vote that this member saved last.
#[derive(Clone, Default)]
pub(super) struct Promise(Arc<Mutex<Option<Vote>>>);

impl Promise {
    pub(super) fn new(vote: Option<Vote>) -> Self {
        Self(Arc::new(Mutex::new(vote)))
    }

    pub(super) fn set(&self, vote: Vote) {
        *self.0.lock() = Some(vote);
    }

    pub(super) fn get(&self) -> Option<Vote> {
        *self.0.lock()
    }

    /// The term for which this member has promised itself to `leader`, and to nobody later.
    pub(super) fn term_of(&self, leader: MemberId) -> Option<u64> {
        self.get().filter(|vote| vote.leader_id.voted_for == leader).map(|vote| vote.leader_id.term.0)
    }
}

/// How far the log is committed in the term that this member leads.
#[derive(Default)]
pub(super) struct Led(Mutex<Option<Reach>>);

#[derive(Clone, Copy)]
struct Reach {
    term: u64,
    committed: Option<LogId>,
}

impl Led {
    /// Before a follower is told what is committed.
    pub(super) fn tells(&self, vote: &Vote, committed: Option<LogId>) {
        let mut reach = self.0.lock();
        let term = vote.leader_id.term.0;
        let known = reach.filter(|reach| reach.term == term).and_then(|reach| reach.committed);
        *reach = Some(Reach { term, committed: known.max(committed) });
    }

    /// Before an entry is applied here. Says nothing to who has not begun to lead.
    pub(super) fn applies(&self, position: LogId) {
        if let Some(reach) = &mut *self.0.lock() {
            reach.committed = reach.committed.max(Some(position));
        }
    }

    /// As clients count it: everything acknowledged before is at or below. None before an entry of `term` is
    /// known to be committed.
    fn committed_in(&self, term: u64) -> Option<u64> {
        let reach = self.0.lock().filter(|reach| reach.term == term)?;
        let committed = reach.committed.filter(|position| position.leader_id.term.0 == term)?;
        Some(committed.index + 1)
    }
}

/// The read index of `term` for a follower that has promised itself to us for it, if we and it are a quorum.
pub(super) fn read_index_with(shared: &Shared, follower: MemberId, term: u64) -> Option<u64> {
    if shared.promise.term_of(shared.me) != Some(term) {
        return None;
    }
    let voters = voters(shared)?;
    let agreeing = [shared.me, follower].iter().filter(|id| voters.contains(id)).count();
    (agreeing > voters.len() / 2).then(|| shared.led.committed_in(term)).flatten()
}

/// The read index when this member leads; none when no quorum says so.
pub(super) async fn read_index(shared: &Shared) -> Option<u64> {
    let led = shared.promise.term_of(shared.me).and_then(|term| Some((term, shared.led.committed_in(term)?)));
    match (led, voters(shared)) {
        (Some((term, index)), Some(voters)) => is_followed(shared, term, &voters).await.then_some(index),
        _ => {
            let linearizer = shared.raft().ok()?.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
            Some(linearizer.read_log_id().index() + 1)
        }
    }
}

/// Asks the other voters until a quorum has said yes, or all have answered.
async fn is_followed(shared: &Shared, term: u64, voters: &[MemberId]) -> bool {
    let others = voters.iter().filter(|id| **id != shared.me);
    let mut answers: FuturesUnordered<_> = others.map(|id| follows(shared, *id, term)).collect();
    let mut agreeing = usize::from(voters.contains(&shared.me));
    while agreeing <= voters.len() / 2 {
        match answers.next().await {
            Some(follows) => agreeing += usize::from(follows),
            None => return false,
        }
    }
    true
}

async fn follows(shared: &Shared, voter: MemberId, term: u64) -> bool {
    let Some(peer) = shared.peers.get(voter) else { return false };
    let answer = peer.control.request(Request::Follows(term), shared.timing.election).await;
    matches!(answer, Ok(Reply::Follows(true)))
}

/// The answer to a leader that asks.
pub(super) fn for_peer(shared: &Shared, leader: MemberId, term: u64) -> Reply {
    Reply::Follows(shared.promise.term_of(leader) == Some(term))
}

/// Who votes; none in the middle of a change that needs two quorums.
fn voters(shared: &Shared) -> Option<Vec<MemberId>> {
    let metrics = shared.raft().ok()?.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    (membership.get_joint_config().len() == 1).then(|| membership.voter_ids().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::codec::position;
    use crate::raft::types::{LeaderId, RaftTerm};

    const ME: MemberId = MemberId(1);
    const OTHER: MemberId = MemberId(2);

    fn vote(term: u64, leader: MemberId) -> Vote {
        Vote { leader_id: LeaderId { term: RaftTerm(term), voted_for: leader }, committed: true }
    }

    #[test]
    fn a_promise_is_for_one_leader_and_one_term() {
        let promise = Promise::default();
        assert_eq!(promise.term_of(ME), None);
        promise.set(vote(3, ME));
        assert_eq!((promise.term_of(ME), promise.term_of(OTHER)), (Some(3), None));
        promise.set(vote(4, OTHER));
        assert_eq!((promise.term_of(ME), promise.term_of(OTHER)), (None, Some(4)));
    }

    enum Happens {
        Tells(u64, Option<(u64, u64)>),
        Applies(u64, u64),
    }

    #[test]
    fn a_leader_answers_only_from_what_is_committed_in_its_term() {
        use Happens::{Applies, Tells};
        let stories = [
            ("nothing happened", vec![], 3, None),
            ("it applied, but has not led since it started", vec![Applies(3, 9)], 3, None),
            ("it told of nothing yet", vec![Tells(3, None)], 3, None),
            (
                "only entries of earlier terms are known to be committed",
                vec![Tells(3, Some((2, 9)))],
                3,
                None,
            ),
            ("it told of its own term", vec![Tells(3, Some((3, 9)))], 3, Some(10)),
            ("it applied more than it told", vec![Tells(3, Some((3, 9))), Applies(3, 12)], 3, Some(13)),
            (
                "an append that waited comes late",
                vec![Tells(3, Some((3, 9))), Tells(3, Some((3, 7)))],
                3,
                Some(10),
            ),
            ("it is asked for another term", vec![Tells(3, Some((3, 9)))], 4, None),
            ("it leads again", vec![Tells(3, Some((3, 9))), Tells(5, Some((3, 9)))], 5, None),
            ("somebody else led meanwhile", vec![Tells(3, Some((3, 9))), Applies(4, 12)], 3, None),
        ];
        for (story, happened, term, expected) in stories {
            let led = Led::default();
            for event in happened {
                match event {
                    Tells(term, committed) => {
                        led.tells(&vote(term, ME), committed.map(|(term, index)| position(term, index)));
                    }
                    Applies(term, index) => led.applies(position(term, index)),
                }
            }
            assert_eq!(led.committed_in(term), expected, "{story}");
        }
    }
}

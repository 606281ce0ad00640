//! Brings queued proposals to the leader: into our own log if we lead, else over the forward link.

use std::sync::Arc;

use super::shared::Shared;
use super::transport;

/// Runs for the member's whole life. Whatever is queued at a wake-up goes out together.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        shared.proposals.queued().await;
        let status = shared.status();
        match status.leader {
            // Left in the queue: a new leader, or the next tick, rings again.
            None => {}
            Some(leader) if leader == shared.me => into_own_log(&shared, status.term.0).await,
            Some(leader) => {
                if let Some(peer) = shared.peers.get(leader) {
                    let proposals = shared.proposals.take(status.term.0);
                    peer.forward.send(&shared, status.term.0, proposals);
                }
            }
        }
    }
}

async fn into_own_log(shared: &Arc<Shared>, term: u64) {
    let Ok(raft) = shared.raft() else { return };
    for outgoing in shared.proposals.take(term) {
        let (sequence, for_refusal) = (outgoing.sequence, Arc::clone(shared));
        let refused = move || for_refusal.refused(term, [sequence]);
        if let Err(error) = transport::write(raft, term, outgoing.proposal.0, refused).await {
            // openraft has stopped; `status` sees the fault, and stopping answers everybody.
            tracing::debug!(%error, "proposal cannot be written");
            return;
        }
    }
}

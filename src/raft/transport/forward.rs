//! The forward link: a follower's proposals to the leader, each batch in one frame, and back what
//! the leader refused. Answers do not come this way: the follower answers when it applies.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::dial::{Connection, dial};
use super::message::{Link, Propose, Refused};
use crate::raft::peers::Peer;
use crate::raft::proposals::Outgoing;
use crate::raft::shared::Shared;

/// The proposing end.
#[derive(Clone)]
pub(in crate::raft) struct Forward(mpsc::UnboundedSender<Batch>);

/// The end that owns the connection.
pub(in crate::raft) struct ForwardQueue {
    batches: mpsc::UnboundedReceiver<Batch>,
    /// The term of the last batch that went out.
    term: u64,
}

/// Proposals for the leader of one term.
struct Batch {
    term: u64,
    proposals: Vec<Outgoing>,
}

impl Forward {
    pub(in crate::raft) fn new() -> (Self, ForwardQueue) {
        let (to_link, batches) = mpsc::unbounded_channel();
        (Self(to_link), ForwardQueue { batches, term: 0 })
    }

    /// Sends them once. What surely did not arrive is given back as refused.
    pub(in crate::raft) fn send(&self, shared: &Shared, term: u64, proposals: Vec<Outgoing>) {
        if let Err(mpsc::error::SendError(batch)) = self.0.send(Batch { term, proposals }) {
            give_back(shared, &batch);
        }
    }
}

fn give_back(shared: &Shared, batch: &Batch) {
    shared.refused(batch.term, batch.proposals.iter().map(|outgoing| outgoing.sequence));
}

impl ForwardQueue {
    pub(in crate::raft) fn run(mut self, shared: &Arc<Shared>, peer: &Arc<Peer>) {
        let (for_task, peer_for_task) = (Arc::clone(shared), Arc::clone(peer));
        peer.spawn(shared, async move { self.carry(&for_task, &peer_for_task).await });
    }

    /// Dials when there is something to carry.
    async fn carry(&mut self, shared: &Arc<Shared>, peer: &Peer) {
        while let Some(first) = self.batches.recv().await {
            match dial(shared, peer, Link::Forward).await {
                Ok(connection) => {
                    let error = self.converse(connection, first, shared).await;
                    tracing::debug!(peer = %peer.id, %error, "forward link closed");
                    shared.proposals.link_lost(self.term, Instant::now());
                }
                Err(error) => {
                    tracing::debug!(peer = %peer.id, %error, "proposals cannot be forwarded");
                    give_back(shared, &first);
                }
            }
        }
    }

    /// Carries batches until the link breaks; returns why it did.
    async fn converse(&mut self, connection: Connection, first: Batch, shared: &Shared) -> io::Error {
        let Connection { mut reader, mut writer } = connection;
        let mut out = BytesMut::new();
        let mut batch = Some(first);
        loop {
            if let Some(batch) = batch.take() {
                self.put(&batch, &mut out);
                while let Ok(more) = self.batches.try_recv() {
                    self.put(&more, &mut out);
                }
                if let Err(error) = writer.write_all_buf(&mut out).await {
                    return error;
                }
            }
            tokio::select! {
                frame = reader.next() => match frame.and_then(Refused::get) {
                    Ok(Refused { term, sequences }) => shared.refused(term, sequences),
                    Err(error) => return error,
                },
                next = self.batches.recv() => match next {
                    Some(next) => batch = Some(next),
                    None => return io::ErrorKind::ConnectionAborted.into(),
                },
            }
        }
    }

    fn put(&mut self, batch: &Batch, out: &mut BytesMut) {
        self.term = batch.term;
        let proposals = batch.proposals.iter().map(|outgoing| (outgoing.sequence, &outgoing.proposal.0));
        Propose::put(batch.term, proposals, out);
    }
}

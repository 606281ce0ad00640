//! openraft's network on our links: appends on the append link, everything small on the control
//! link, checkpoints on a connection each.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::base::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::append::Append;
use super::message::{Reply, Request};
use super::snapshot;
use crate::membership::Member;
use crate::raft::checkpoint::SnapshotData;
use crate::raft::codec::bad;
use crate::raft::peers::Peer;
use crate::raft::shared::Shared;
use crate::raft::types::{Snapshot, TypeConfig, Vote};
use crate::types::MemberId;

/// Pauses of openraft between attempts that failed although the peer could be reached.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// Makes openraft's clients.
pub(in crate::raft) struct Network(pub Arc<Shared>);

/// openraft's client for one peer and one purpose.
pub(in crate::raft) struct Client {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    appends: Appends,
}

/// Which way appends go.
enum Appends {
    Streamed(Append),
    /// Heartbeats: empty, and never behind entries.
    OnControl,
}

impl Network {
    fn client(
        &self,
        target: MemberId,
        member: &Member,
        appends: impl FnOnce(Arc<Peer>) -> Appends,
    ) -> Client {
        debug_assert_eq!(target, member.id);
        let peer = self.0.peers.get_or_open(&self.0, member);
        Client { shared: Arc::clone(&self.0), peer: Arc::clone(&peer), appends: appends(peer) }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: MemberId, member: &Member) -> Client {
        let shared = Arc::clone(&self.0);
        self.client(target, member, |peer| Appends::Streamed(Append::new(shared, peer)))
    }

    async fn new_heartbeat_client(&mut self, target: MemberId, member: &Member) -> Client {
        self.client(target, member, |_| Appends::OnControl)
    }
}

impl Client {
    async fn ask(&self, request: Request, option: &RPCOption) -> Result<Reply, RPCError<TypeConfig>> {
        self.peer.control.request(request, option.soft_ttl()).await.map_err(|error| rpc_error(&error))
    }
}

async fn heartbeat(shared: &Shared, peer: &Peer, request: AppendEntriesRequest<TypeConfig>) -> AppendAnswer {
    shared.led.tells(&request.vote, request.leader_commit);
    // openraft's limit is one heartbeat interval, which a busy disk or machine may well exceed;
    // the next heartbeat only waits for this one, so an election timeout is ours.
    let reply = peer.control.request(Request::Append(request), shared.timing.election).await;
    match reply.map_err(|error| rpc_error(&error))? {
        Reply::Append(result) => Ok(result),
        other => Err(wrong(&other, "a heartbeat")),
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        heartbeat(&self.shared, &self.peer, request).await.map(AppendEntriesResponse::from)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendAnswer>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let Self { shared, peer, appends } = self;
        match appends {
            Appends::Streamed(append) => {
                let answers = append.stream(requests);
                async move { Ok(answers) }.boxed()
            }
            Appends::OnControl => {
                let (shared, peer) = (&*shared, &*peer);
                let answers = requests.then(move |request| heartbeat(shared, peer, request));
                async move { Ok(answers.boxed()) }.boxed()
            }
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::Vote(request), &option).await? {
            Reply::Vote(response) => Ok(response),
            other => Err(wrong(&other, "a vote")),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::PreVote(request), &option).await? {
            Reply::Vote(response) => Ok(response),
            other => Err(wrong(&other, "a pre-vote")),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::File(file) = snapshot.snapshot else {
            let error = io::Error::other("a snapshot that is being received cannot be sent on");
            return Err(NetworkError::new(&error).into());
        };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = snapshot::send(&self.shared, &self.peer, vote, &file) => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => {
                    tracing::warn!(peer = %self.peer.id, %error, "snapshot was not installed");
                    Err(Unreachable::new(&error).into())
                }
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let expected = request.last_log_id().copied();
        match self.ask(Request::Transfer(request), &option).await? {
            Reply::Transfer(true) => Ok(Ok(())),
            Reply::Transfer(false) => Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual: None })),
            other => Err(wrong(&other, "a transfer")),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let pauses = std::iter::successors(Some(BACKOFF_FIRST), |pause| Some((*pause * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(pauses))
    }
}

type AppendAnswer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// A peer that cannot be reached is not asked again at once.
pub(super) fn rpc_error(error: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

/// A connection that broke under way is tried again at once.
pub(super) fn network_error(error: &io::Error) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

fn wrong(reply: &Reply, to: &str) -> RPCError<TypeConfig> {
    network_error(&bad(format!("{reply:?} came as the answer to {to}")))
}

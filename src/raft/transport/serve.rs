//! The accepting side: one task for each connection that a peer opened.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::dial::tune;
use super::frame::FrameReader;
use super::message::{Hello, Link, Propose, Refused, Reply, Request, Welcome};
use super::{PREFACE, snapshot};
use crate::raft::codec::bad;
use crate::raft::shared::Shared;
use crate::raft::types::{CommittedLeaderId, OnAnswer, Proposal, Raft, RaftTerm, TypeConfig};
use crate::raft::{change, failover, found, leadership, read_index};
use crate::types::MemberId;

/// Control requests that one peer may have under way here.
const REQUESTS_MAX: usize = 256;

type Reader = FrameReader<OwnedReadHalf>;

/// Serves a connection until it breaks, its peer is removed, or we stop.
pub(in crate::raft) async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let address = stream.peer_addr().ok();
    if let Err(error) = greet_and_serve(&shared, stream).await
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        tracing::debug!(?address, %error, "peer connection closed");
    }
}

async fn greet_and_serve(shared: &Arc<Shared>, mut stream: TcpStream) -> io::Result<()> {
    tune(&stream, &shared.timing)?;
    let mut preface = [0; PREFACE.len()];
    timeout(shared.timing.dial_timeout(), stream.read_exact(&mut preface)).await??;
    if preface != PREFACE {
        return Err(bad("a peer connection must begin with the preface".into()));
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = FrameReader::new(reader);
    let hello = Hello::get(timeout(shared.timing.dial_timeout(), reader.next()).await??)?;
    let welcome = judge(shared, &hello);
    let mut out = BytesMut::new();
    welcome.put(&mut out);
    writer.write_all_buf(&mut out).await?;
    if welcome != Welcome::Come {
        return Err(bad(format!("{hello:?} was answered {welcome:?}")));
    }
    if let (Link::Control, Some(peer)) = (hello.link, shared.peers.get(hello.from)) {
        peer.control.call_back();
    }
    // Once the peer is removed its connections end; it dials again and is told so.
    let gone = removed(shared, &hello);
    match hello.link {
        Link::Append => until(gone, serve_append(shared, reader, writer)).await,
        Link::Control => serve_control(shared, hello.from, reader, writer, gone).await,
        Link::Snapshot => until(gone, snapshot::receive(shared, reader, writer)).await,
        Link::Forward => until(gone, serve_forward(shared, reader, writer)).await,
    }
}

async fn until(
    gone: impl Future<Output = ()>,
    serving: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::select! {
        served = serving => served,
        () = gone => Ok(()),
    }
}

fn judge(shared: &Shared, hello: &Hello) -> Welcome {
    if hello.cluster != shared.cluster.0 {
        Welcome::OtherCluster
    } else if hello.to != shared.me {
        Welcome::NotMe
    } else if shared.state.members().is_removed(hello.from) {
        Welcome::Removed
    } else {
        Welcome::Come
    }
}

/// Resolves when the peer was removed from the cluster.
async fn removed(shared: &Shared, hello: &Hello) {
    let mut memberships = shared.memberships.subscribe();
    while !shared.state.members().is_removed(hello.from) {
        if memberships.changed().await.is_err() {
            return;
        }
    }
}

fn raft(shared: &Shared) -> io::Result<&Raft> {
    shared.raft().map_err(io::Error::other)
}

/// Appends go to openraft as they come; its answers go back in the same order.
async fn serve_append(shared: &Arc<Shared>, reader: Reader, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let hearing = Arc::clone(shared);
    let requests = stream::unfold((reader, hearing), |(mut reader, shared)| async move {
        let request = match reader.next().await.and_then(Request::get) {
            Ok(Request::Append(request)) => request,
            // The answers already owed still go out; the connection ends behind them.
            Ok(_) | Err(_) => return None,
        };
        shared.leader_clock.hear();
        Some((request, (reader, shared)))
    });
    let mut answers = Box::pin(raft(shared)?.stream_append(requests).fuse());
    let mut out = BytesMut::new();
    while let Some(answer) = answers.next().await {
        Reply::Append(answer.map_err(io::Error::other)?).put(0, &mut out);
        // Whatever else is ready goes out in the same write.
        while let Some(Some(answer)) = answers.next().now_or_never() {
            Reply::Append(answer.map_err(io::Error::other)?).put(0, &mut out);
        }
        writer.write_all_buf(&mut out).await?;
    }
    Ok(())
}

async fn serve_control(
    shared: &Arc<Shared>,
    from: MemberId,
    mut reader: Reader,
    mut writer: OwnedWriteHalf,
    gone: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut gone = pin!(gone);
    let mut under_way = FuturesUnordered::new();
    let mut out = BytesMut::new();
    loop {
        tokio::select! {
            // It may have asked for its own removal: what it is owed comes first.
            () = &mut gone, if under_way.is_empty() => return Ok(()),
            frame = reader.next(), if under_way.len() < REQUESTS_MAX => {
                let frame = frame?;
                let id = frame.id;
                let request = Request::get(frame)?;
                under_way.push(answer(shared, from, request).map(move |reply| (id, reply)));
            }
            Some((id, reply)) = under_way.next() => {
                reply.put(id, &mut out);
                while let Some(Some((id, reply))) = under_way.next().now_or_never() {
                    reply.put(id, &mut out);
                }
                writer.write_all_buf(&mut out).await?;
            }
        }
    }
}

async fn answer(shared: &Arc<Shared>, from: MemberId, request: Request) -> Reply {
    try_answer(shared, from, request).await.unwrap_or(Reply::Stopped)
}

/// The answer; none when openraft has stopped.
async fn try_answer(shared: &Arc<Shared>, from: MemberId, request: Request) -> Option<Reply> {
    let raft = shared.raft().ok()?;
    Some(match request {
        Request::Append(request) => {
            shared.leader_clock.hear();
            let prev = request.prev_log_id;
            let response = raft.append_entries(request).await.ok()?;
            if response.is_conflict() && prev.is_none() {
                return None;
            }
            Reply::Append(response.into_stream_result(prev, prev))
        }
        Request::Vote(mut request) => {
            shared.campaigns.hear(request.vote.leader_id.term.0);
            request.leadership_transfer |= failover::is_lost(shared) || found::is_founding(shared);
            Reply::Vote(raft.vote(request).await.ok()?)
        }
        Request::PreVote(request) => Reply::Vote(raft.pre_vote(request).await.ok()?),
        Request::Transfer(request) => {
            Reply::Transfer(raft.handle_transfer_leader(request).await.ok()?.is_ok())
        }
        Request::ReadIndex(term) => Reply::ReadIndex(read_index::for_peer(shared, from, term).await),
        Request::Follows(term) => leadership::for_peer(shared, from, term),
        Request::Change(change) => Reply::Change(change::for_peer(shared, &change).await),
        Request::Lost(lost) => failover::for_peer(shared, lost).await,
        Request::Ping => Reply::Pong,
    })
}

/// Proposals go into the log if we lead in the term they are meant for; else they are refused.
async fn serve_forward(
    shared: &Arc<Shared>,
    mut reader: Reader,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let raft = raft(shared)?;
    let (refuse, mut refusals) = mpsc::unbounded_channel();
    let mut refused = Vec::new();
    let mut out = BytesMut::new();
    loop {
        tokio::select! {
            frame = reader.next() => {
                let Propose { term, proposals } = Propose::get(frame?)?;
                for (sequence, proposal) in proposals {
                    let refuse = refuse.clone();
                    let refused = move || {
                        // The connection, and who proposed over it, may have gone.
                        let _ = refuse.send((term, sequence));
                    };
                    write(raft, term, proposal, refused).await?;
                }
            }
            _ = refusals.recv_many(&mut refused, usize::MAX) => {
                for of_one_term in refused.chunk_by(|one, next| one.0 == next.0) {
                    let sequences = of_one_term.iter().map(|(_, sequence)| *sequence).collect();
                    Refused { term: of_one_term[0].0, sequences }.put(&mut out);
                }
                refused.clear();
                writer.write_all_buf(&mut out).await?;
            }
        }
    }
}

/// Hands a proposal to openraft, for the log of this `term` only. `refused` is called when it
/// certainly did not and will not get into the log.
pub(in crate::raft) async fn write(
    raft: &Raft,
    term: u64,
    proposal: Bytes,
    refused: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let on_answer = OnAnswer::new(move |answer: ClientWriteResult<TypeConfig>| {
        if let Err(ClientWriteError::ForwardToLeader(_)) = answer {
            refused();
        }
    });
    let write = raft
        .write(Proposal(proposal))
        .with_leader(CommittedLeaderId::new(RaftTerm(term)))
        .responder(on_answer);
    write.await.map_err(io::Error::other)
}

//! The append link: a leader's entries to one follower, several frames under way, answers in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::dial::{Connection, dial};
use super::message::{Link, Reply, Request};
use super::network::{network_error, rpc_error};
use crate::raft::peers::Peer;
use crate::raft::shared::Shared;
use crate::raft::types::TypeConfig;

/// Appends under way at once, each of about 1 MiB at most. Deeper pipelines only make batches
/// smaller: what does not fit waits in the log and goes out together.
const WINDOW: usize = 4;
/// A follower that has not answered for so long is not going to: its disk hangs, or it does.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// One peer's append link. It is dialled when there is something to send and the peer can be reached
/// at all, and stays for the next session unless an answer is owed on it.
pub(super) struct Append {
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    idle: Option<Connection>,
}

/// A stream of appends under way.
struct Session<'a, S> {
    home: &'a mut Append,
    /// None until there is something to send.
    connection: Option<Connection>,
    requests: S,
    /// No request comes any more.
    ended: bool,
    /// No answer comes any more.
    over: bool,
    under_way: usize,
    out: BytesMut,
}

impl Append {
    pub(super) fn new(shared: Arc<Shared>, peer: Arc<Peer>) -> Self {
        Self { shared, peer, idle: None }
    }

    pub(super) fn stream<S>(&mut self, requests: S) -> BoxStream<'_, Answer>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let session = Session {
            connection: self.idle.take(),
            home: self,
            requests,
            ended: false,
            over: false,
            under_way: 0,
            out: BytesMut::new(),
        };
        stream::unfold(session, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        })
        .boxed()
    }

    /// Dials once the control link is up, which redials by itself. Not for ever: openraft keeps the
    /// entries that are on their way.
    async fn dial(&self) -> io::Result<Connection> {
        let up = timeout(self.shared.timing.election, self.peer.control.until(true)).await;
        up.map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
        dial(&self.shared, &self.peer, Link::Append).await
    }
}

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Session<'_, S> {
    /// The next answer; none when all are in and no request comes any more, or after an error.
    async fn next(&mut self) -> Option<Answer> {
        if self.over {
            return None;
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.begin().await {
                Ok(begun) => begun?,
                Err(error) => {
                    self.over = true;
                    return Some(Err(rpc_error(&error)));
                }
            },
        };
        let answer = self.exchange(&mut connection).await;
        self.over = true;
        match answer {
            Ok(Some(answer)) => {
                // A refusal ends the session, and whatever was sent behind it is refused too.
                self.over = answer.is_err() && self.under_way > 0;
                self.connection = Some(connection).filter(|_| !self.over);
                Some(Ok(answer))
            }
            Ok(None) => {
                self.home.idle = Some(connection);
                None
            }
            Err(error) => Some(Err(network_error(&error))),
        }
    }

    /// Dials and sends the first request; none when there is none. openraft's pauses after errors are
    /// in its giving the request, so it is taken first.
    async fn begin(&mut self) -> io::Result<Option<Connection>> {
        let Some(request) = self.requests.next().await else { return Ok(None) };
        let mut connection = self.home.dial().await?;
        self.send(&mut connection, request).await?;
        Ok(Some(connection))
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> io::Result<()> {
        self.home.shared.led.tells(&request.vote, request.leader_commit);
        Request::Append(request).put(0, &mut self.out);
        connection.writer.write_all_buf(&mut self.out).await?;
        self.under_way += 1;
        Ok(())
    }

    async fn exchange(
        &mut self,
        connection: &mut Connection,
    ) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        loop {
            if self.ended && self.under_way == 0 {
                return Ok(None);
            }
            let takes_more = !self.ended && self.under_way < WINDOW;
            tokio::select! {
                frame = timeout(ANSWER_PATIENCE, connection.reader.next()) => match frame {
                    Ok(frame) => return self.answered(Reply::get(frame?)?),
                    Err(_) if self.under_way == 0 => {}
                    Err(late) => return Err(late.into()),
                },
                request = self.requests.next(), if takes_more => match request {
                    Some(request) => self.send(connection, request).await?,
                    None => self.ended = true,
                },
            }
        }
    }

    fn answered(&mut self, reply: Reply) -> io::Result<Option<StreamAppendResult<TypeConfig>>> {
        match reply {
            Reply::Append(result) if self.under_way > 0 => {
                self.under_way -= 1;
                Ok(Some(result))
            }
            other => Err(crate::raft::codec::bad(format!(
                "{other:?} came where the answer to an append was expected"
            ))),
        }
    }
}

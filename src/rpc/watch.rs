//! The Watch service: carries a client's stream of watches.
//!
//! A reader task takes requests as they come, whether or not the client takes its answers, up to the bound
//! that [`Requests::poll_ready`] sets; the answers are pulled by the connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use futures::Stream;
use http::{Request, Response};
use prost::Message as _;
use rand::Rng;
use tokio::task::{AbortHandle, JoinHandle};
use tonic::Status;

use super::gate::{Gate, Registered};
use super::grpc::{self, Messages, Meter};
use super::header::Headers;
use super::{answer, parse, status};
use crate::clock::{Clock, Sleep};
use crate::mvcc::Store;
use crate::proto::etcdserverpb as pb;
use crate::types::Revision;
use crate::watch::{self, CatchUp, CaughtUp, CloseReason, Hub, Message, Next, Requests, WatchId};

/// The shortest interval between two progress messages of a watcher.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) struct Watch {
    pub(super) gate: Arc<Gate>,
    pub(super) headers: Headers,
    pub(super) hub: Hub,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) progress_interval: Duration,
    /// Largest message of a client, and of a fragment to it.
    pub(super) message_bytes_max: usize,
}

impl Watch {
    pub(super) fn serve(&self, meter: Meter, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let requires_leader = match self.gate.stream(&parts.headers) {
            Ok(requires_leader) => requires_leader,
            Err(status) => return grpc::refuse(&status),
        };
        let stream = self.hub.stream();
        let requests = stream.requests();
        let messages = Messages::new(&parts.headers, body, self.message_bytes_max);
        let reader = tokio::spawn(read(messages, requests.clone()));
        let answers = Answers {
            _registered: requires_leader.then(|| self.gate.register(requests.clone())),
            reader: reader.abort_handle(),
            headers: self.headers.clone(),
            store: self.headers.state.store().clone(),
            requests,
            stream,
            ready: VecDeque::new(),
            long: None,
            waiting: VecDeque::new(),
            ticks: Ticks::new(self.clock.clone(), self.progress_interval),
            fragment_bytes: self.message_bytes_max,
            ended: false,
        };
        grpc::streaming(meter, answers)
    }
}

/// Does what the client asks until it has no more to ask; its watchers go on.
async fn read(mut messages: Messages, requests: Requests) {
    use pb::watch_request::RequestUnion;
    loop {
        std::future::poll_fn(|context| requests.poll_ready(context)).await;
        let request: pb::WatchRequest = match messages.next().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "watch stream cannot be read");
                return requests.close(CloseReason::Unreadable);
            }
        };
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => requests.create(parse::watch_create(create)),
            Some(RequestUnion::CancelRequest(cancel)) => requests.cancel(WatchId(cancel.watch_id)),
            Some(RequestUnion::ProgressRequest(_)) => requests.progress(),
            None => tracing::debug!("watch request that asks for nothing is ignored"),
        }
    }
}

/// The progress interval of one stream: a random tenth longer than asked, so that streams which were opened
/// together do not tick together.
struct Ticks {
    clock: Arc<dyn Clock>,
    interval: Duration,
    next: Sleep,
}

impl Ticks {
    fn new(clock: Arc<dyn Clock>, interval: Duration) -> Self {
        let interval = interval.max(PROGRESS_INTERVAL_MIN);
        let interval = interval + rand::rng().random_range(Duration::ZERO..interval / 10);
        let next = clock.sleep(interval);
        Ticks { clock, interval, next }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let due = self.next.as_mut().poll(context);
        if due.is_ready() {
            self.next = self.clock.sleep(self.interval);
        }
        due
    }
}

/// What goes to the client.
struct Answers {
    _registered: Option<Registered>,
    reader: AbortHandle,
    headers: Headers,
    store: Store,
    requests: Requests,
    stream: watch::Stream,
    ready: VecDeque<pb::WatchResponse>,
    /// A long read of history, on a thread of its own, and those that wait for it to end.
    long: Option<JoinHandle<CaughtUp>>,
    waiting: VecDeque<CatchUp>,
    ticks: Ticks,
    fragment_bytes: usize,
    ended: bool,
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Stream for Answers {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            while self.ticks.poll(context).is_ready() {
                self.requests.tick();
            }
            let message = match self.poll_long(context) {
                Some(message) => message,
                None => match self.stream.poll_take(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Next::Nothing) => continue,
                    Poll::Ready(Next::Message(message)) => message,
                    Poll::Ready(Next::CatchUp(catch_up)) => match self.catch_up(catch_up) {
                        Some(message) => message,
                        None => continue,
                    },
                },
            };
            if let Some(status) = self.answer(message) {
                self.ended = true;
                return Poll::Ready(Some(Err(status)));
            }
        }
    }
}

impl Answers {
    fn catch_up(&mut self, catch_up: CatchUp) -> Option<Message> {
        if catch_up.is_short(&self.store) {
            let done = catch_up.run(&self.store);
            return self.stream.caught_up(done);
        }
        self.waiting.push_back(catch_up);
        None
    }

    /// Brings the long reads of history forward; answers what one of them brought.
    fn poll_long(&mut self, context: &mut Context<'_>) -> Option<Message> {
        loop {
            if self.long.is_none() {
                let (catch_up, store) = (self.waiting.pop_front()?, self.store.clone());
                self.long = Some(tokio::task::spawn_blocking(move || catch_up.run(&store)));
            }
            let Poll::Ready(done) = Pin::new(self.long.as_mut()?).poll(context) else { return None };
            self.long = None;
            match done {
                Ok(done) => {
                    if let Some(message) = self.stream.caught_up(done) {
                        return Some(message);
                    }
                }
                Err(_) => return Some(Message::Closed(CloseReason::Stopped)),
            }
        }
    }

    /// Makes the responses to a message; the status with which the stream ends, if it is the last.
    fn answer(&mut self, message: Message) -> Option<Status> {
        let response = match message {
            Message::Created { id, revision } => {
                pb::WatchResponse { created: true, ..self.response(id, revision) }
            }
            Message::Refused { reason, revision } => pb::WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: reason.to_string(),
                ..self.response(WatchId::NONE, revision)
            },
            Message::Canceled { id, revision } => {
                pb::WatchResponse { canceled: true, ..self.response(id, revision) }
            }
            Message::Compacted { id, compacted } => pb::WatchResponse {
                canceled: true,
                compact_revision: compacted.0,
                ..self.response(id, Revision(0))
            },
            Message::Progress { id, revision } => self.response(id, revision),
            Message::Events { id, revision, events, fragment } => {
                let events = events.into_iter().map(|told| answer::event(told.event, told.prev_kv)).collect();
                let response = pb::WatchResponse { events, ..self.response(id, revision) };
                if fragment {
                    self.ready.extend(fragments(response, self.fragment_bytes));
                    return None;
                }
                response
            }
            Message::Closed(reason) => {
                return Some(match reason {
                    CloseReason::NoLeader => status::no_leader(),
                    CloseReason::Stopped => status::stopped(),
                    CloseReason::Unreadable => Status::internal("grpc: error unmarshalling request"),
                });
            }
        };
        self.ready.push_back(response);
        None
    }

    fn response(&self, id: WatchId, revision: Revision) -> pb::WatchResponse {
        pb::WatchResponse { header: self.headers.at(revision), watch_id: id.0, ..Default::default() }
    }
}

/// Parts of at least one event that stay below `bytes_max` if they can; all but the last say so.
fn fragments(response: pb::WatchResponse, bytes_max: usize) -> Vec<pb::WatchResponse> {
    if response.encoded_len() < bytes_max || response.events.len() < 2 {
        return vec![response];
    }
    let pb::WatchResponse { events, .. } = response;
    let empty = pb::WatchResponse { fragment: true, events: Vec::new(), ..response };
    let empty_bytes = empty.encoded_len();
    let mut parts = vec![empty.clone()];
    let mut bytes = empty_bytes;
    for event in events {
        let length = event.encoded_len();
        let with_tag = 1 + prost::length_delimiter_len(length) + length;
        let part = parts.last_mut().expect("there is always a part");
        if !part.events.is_empty() && bytes + with_tag >= bytes_max {
            parts.push(pb::WatchResponse { events: vec![event], ..empty.clone() });
            bytes = empty_bytes + with_tag;
        } else {
            part.events.push(event);
            bytes += with_tag;
        }
    }
    parts.last_mut().expect("there is always a part").fragment = false;
    parts
}

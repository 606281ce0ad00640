//! gRPC over HTTP, as much of it as a server of this API needs: framing, the three call shapes, trailers.
//!
//! Written by hand instead of through tonic's server because a put costs little more than its framing:
//! a request that came in one DATA frame is decoded where it lies, an answer is one DATA frame and its
//! trailers, and there are no layers between. No compression: a compressed message is refused.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::{Body as _, Frame};
use prometheus::IntCounter;
use prost::Message;
use tonic::{Code, Status};

use crate::telemetry::metrics::{Metrics, RpcKind, RpcMetrics};

/// Bytes before each message: the compression flag and the length.
const PREFIX_BYTES: usize = 5;

/// A response header that only some calls set.
pub(super) type Extra = Option<(HeaderName, HeaderValue)>;

/// An answer with what it carries beside its message.
pub(super) struct Reply<M> {
    pub(super) message: M,
    pub(super) header: Extra,
}

impl<M> From<M> for Reply<M> {
    fn from(message: M) -> Self {
        Reply { message, header: None }
    }
}

/// An answer's message as it goes out; large ones come in parts that were encoded elsewhere.
pub(super) enum Encoded {
    Whole(Bytes),
    Parts(VecDeque<Bytes>),
}

/// The counters of one call; a call that ends without a code was broken off by the client.
#[derive(Clone)]
pub(super) struct Meter {
    method: RpcMetrics,
    sent_bytes: IntCounter,
    received_bytes: IntCounter,
}

impl Meter {
    pub(super) fn new(metrics: &Metrics, kind: RpcKind, service: &'static str, method: &'static str) -> Self {
        Meter {
            method: metrics.rpc(kind, service, method),
            sent_bytes: metrics.network.client_grpc_sent_bytes.clone(),
            received_bytes: metrics.network.client_grpc_received_bytes.clone(),
        }
    }

    fn begin(self) -> Running {
        self.method.started.inc();
        Running { meter: self, begun: Instant::now(), code: Code::Cancelled }
    }
}

/// A call under way; counted as ended when it is dropped.
struct Running {
    meter: Meter,
    begun: Instant,
    code: Code,
}

impl Running {
    fn received(&self, bytes: usize) {
        self.meter.method.received.inc();
        self.meter.received_bytes.inc_by(bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.meter.method.sent.inc();
        self.meter.sent_bytes.inc_by(bytes as u64);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.meter.method.handled(self.code as i32, self.begun.elapsed());
    }
}

/// Serves a call of one request and one answer, which the call encodes: with [`frame`], or in parts.
pub(super) async fn unary<Q, F>(
    meter: Meter,
    request: Request<Body>,
    bytes_max: usize,
    call: impl FnOnce(HeaderMap, Q) -> F,
) -> Response<Body>
where
    Q: Message + Default,
    F: Future<Output = Result<(Encoded, Extra), Status>>,
{
    let mut running = meter.begin();
    let answer = async {
        let (parts, body) = request.into_parts();
        let message = read_one(&running, &parts.headers, body, bytes_max).await?;
        call(parts.headers, message).await
    };
    let (encoded, extra) = match answer.await {
        Ok(answer) => answer,
        Err(status) => {
            running.code = status.code();
            return refuse(&status);
        }
    };
    running.code = Code::Ok;
    let parts = match encoded {
        Encoded::Whole(bytes) => Parts::One(bytes),
        Encoded::Parts(parts) => Parts::Many(parts),
    };
    running.sent(parts.len());
    let mut response = Response::new(Body::new(UnaryBody { parts }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    if let Some((name, value)) = extra {
        headers.insert(name, value);
    }
    response
}

/// Serves a call of one request and a stream of answers.
pub(super) async fn server_stream<Q, A, M, F>(
    meter: Meter,
    request: Request<Body>,
    bytes_max: usize,
    call: impl FnOnce(HeaderMap, Q) -> F,
) -> Response<Body>
where
    Q: Message + Default,
    A: Message + 'static,
    M: Stream<Item = Result<A, Status>> + Send + 'static,
    F: Future<Output = Result<M, Status>>,
{
    let mut running = meter.begin();
    let answer = async {
        let (parts, body) = request.into_parts();
        let message = read_one(&running, &parts.headers, body, bytes_max).await?;
        call(parts.headers, message).await
    };
    match answer.await {
        Ok(messages) => stream_of(running, messages),
        Err(status) => {
            running.code = status.code();
            refuse(&status)
        }
    }
}

/// The answer to a call whose requests are read beside it. Errors of `messages` end it with their status.
pub(super) fn streaming<A>(
    meter: Meter,
    messages: impl Stream<Item = Result<A, Status>> + Send + 'static,
) -> Response<Body>
where
    A: Message + 'static,
{
    stream_of(meter.begin(), messages)
}

fn stream_of<A>(
    running: Running,
    messages: impl Stream<Item = Result<A, Status>> + Send + 'static,
) -> Response<Body>
where
    A: Message + 'static,
{
    let mut response =
        Response::new(Body::new(StreamBody { running, messages: Box::pin(messages), ended: false }));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// An answer that is nothing but its status, in the headers.
pub(super) fn refuse(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = trailers(status);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

fn trailers(status: &Status) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(2);
    match status.code() {
        Code::Ok => {
            map.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        }
        // Texts hold what a client sent (a URL, a method's name); what no header can carry is left out.
        _ => {
            if status.add_header(&mut map).is_err() {
                map.insert(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32));
            }
        }
    }
    map
}

/// One message with its prefix.
pub(super) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame_prefix(&mut out, length);
    message.encode_raw(&mut out);
    out.freeze()
}

/// The prefix of a message of `length` bytes.
pub(super) fn frame_prefix(out: &mut BytesMut, length: usize) {
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("an answer is smaller than 4 GiB: the whole key space is"));
}

/// Reads the only message of a unary call.
async fn read_one<Q>(
    running: &Running,
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Q, Status>
where
    Q: Message + Default,
{
    let mut messages = Messages::new(headers, body, bytes_max);
    let message = std::future::poll_fn(|context| messages.poll_bytes(context)).await?;
    let message = message.ok_or_else(|| Status::internal("the request holds no message"))?;
    running.received(message.len());
    decode(message)
}

fn decode<Q: Message + Default>(bytes: Bytes) -> Result<Q, Status> {
    Q::decode(bytes).map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

/// The messages of a request's body, one after the other.
pub(super) struct Messages {
    body: Body,
    /// What has come and is not yet a whole message.
    unread: Bytes,
    bytes_max: usize,
    encoding: Option<HeaderValue>,
    ended: bool,
}

impl Messages {
    pub(super) fn new(headers: &HeaderMap, body: Body, bytes_max: usize) -> Self {
        let encoding = headers.get("grpc-encoding").cloned();
        Messages { body, unread: Bytes::new(), bytes_max, encoding, ended: false }
    }

    /// The next message; None when the client has no more to say.
    pub(super) async fn next<Q: Message + Default>(&mut self) -> Result<Option<Q>, Status> {
        let bytes = std::future::poll_fn(|context| self.poll_bytes(context)).await?;
        bytes.map(decode).transpose()
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                return Poll::Ready(match self.unread.is_empty() {
                    true => Ok(None),
                    false => Err(Status::internal("the request ends in the middle of a message")),
                });
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.add(data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(Status::cancelled(error.to_string()))),
            }
        }
    }

    fn add(&mut self, data: Bytes) {
        if self.unread.is_empty() {
            self.unread = data;
        } else {
            let mut joined = BytesMut::from(std::mem::take(&mut self.unread));
            joined.extend_from_slice(&data);
            self.unread = joined.freeze();
        }
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.unread.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let length = u32::from_be_bytes([self.unread[1], self.unread[2], self.unread[3], self.unread[4]]);
        let length = length as usize;
        if length > self.bytes_max {
            let text = format!("grpc: received message larger than max ({length} vs. {})", self.bytes_max);
            return Err(Status::resource_exhausted(text));
        }
        if self.unread[0] != 0 {
            let encoding = self.encoding.as_ref().map_or("", |e| e.to_str().unwrap_or_default());
            let text = format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
            return Err(Status::unimplemented(text));
        }
        if self.unread.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.unread.advance(PREFIX_BYTES);
        Ok(Some(self.unread.split_to(length)))
    }
}

/// One message, then the trailers of a call that went well.
struct UnaryBody {
    parts: Parts,
}

enum Parts {
    One(Bytes),
    Many(VecDeque<Bytes>),
    Trailers,
    Ended,
}

impl Parts {
    fn len(&self) -> usize {
        match self {
            Parts::One(bytes) => bytes.len(),
            Parts::Many(parts) => parts.iter().map(Bytes::len).sum(),
            Parts::Trailers | Parts::Ended => 0,
        }
    }
}

impl http_body::Body for UnaryBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match std::mem::replace(&mut self.parts, Parts::Trailers) {
            Parts::One(bytes) => Frame::data(bytes),
            Parts::Many(mut parts) => match parts.pop_front() {
                Some(bytes) => {
                    self.parts = Parts::Many(parts);
                    Frame::data(bytes)
                }
                None => self.end(),
            },
            Parts::Trailers => self.end(),
            Parts::Ended => {
                self.parts = Parts::Ended;
                return Poll::Ready(None);
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.parts, Parts::Ended)
    }
}

impl UnaryBody {
    fn end(&mut self) -> Frame<Bytes> {
        self.parts = Parts::Ended;
        Frame::trailers(trailers(&Status::new(Code::Ok, "")))
    }
}

struct StreamBody<S> {
    running: Running,
    messages: Pin<Box<S>>,
    ended: bool,
}

impl<S, A> http_body::Body for StreamBody<S>
where
    S: Stream<Item = Result<A, Status>>,
    A: Message,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.messages.as_mut().poll_next(context)) {
            Some(Ok(message)) => {
                let bytes = frame(&message);
                self.running.sent(bytes.len());
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.ended = true;
        self.running.code = status.code();
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::PutRequest;

    fn message(value: &'static str) -> (PutRequest, Bytes) {
        let message = PutRequest { key: "k".into(), value: value.into(), ..Default::default() };
        let bytes = frame(&message);
        (message, bytes)
    }

    fn messages(parts: Vec<Bytes>, bytes_max: usize) -> Messages {
        let parts = futures::stream::iter(parts.into_iter().map(Ok::<_, Infallible>));
        Messages::new(&HeaderMap::new(), Body::from_stream(parts), bytes_max)
    }

    async fn read_all(mut messages: Messages) -> Result<Vec<PutRequest>, Status> {
        let mut all = Vec::new();
        while let Some(message) = messages.next().await? {
            all.push(message);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn messages_are_read_however_the_bytes_are_cut() {
        let ((a, a_bytes), (b, b_bytes)) = (message("one"), message("two"));
        let mut joined = BytesMut::from(a_bytes.as_ref());
        joined.extend_from_slice(&b_bytes);
        let joined = joined.freeze();
        for cut in 0..joined.len() {
            let parts = vec![joined.slice(..cut), joined.slice(cut..)];
            let read = read_all(messages(parts, 100)).await.expect("whole messages");
            assert_eq!(read, [a.clone(), b.clone()], "cut at {cut}");
        }
        let bytes = joined.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        assert_eq!(read_all(messages(bytes, 100)).await.expect("whole messages"), [a, b]);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_with_grpcs_code() {
        let (_, bytes) = message("long enough to be too large");
        let mut compressed = BytesMut::from(bytes.as_ref());
        compressed[0] = 1;
        let table = [
            (messages(vec![bytes.clone()], 10), Code::ResourceExhausted),
            (messages(vec![compressed.freeze()], 100), Code::Unimplemented),
            (messages(vec![bytes.slice(..bytes.len() - 1)], 100), Code::Internal),
            (messages(vec![Bytes::from_static(b"\0\0\0\0\x02\xff\xff")], 100), Code::Internal),
        ];
        for (messages, code) in table {
            assert_eq!(read_all(messages).await.expect_err("no message").code(), code);
        }
    }
}

//! One watch stream: requests go in, responses come out; several watchers may share it.

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic_prost::ProstCodec;

use super::error::Error;
use super::exchange::{answered, unreachable};
use super::{Client, Endpoint};
use crate::proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;

/// An open stream to one member. It ends with the member or its leader; the caller opens it anew from the
/// revision it has seen last.
#[derive(Debug)]
pub struct WatchStream {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    responses: tonic::Streaming<pb::WatchResponse>,
    endpoint: Endpoint,
}

impl Client {
    /// Opens a watch stream to the next endpoint that can be reached, with `first` as its first request.
    /// The stream demands a leader: a member without one ends it.
    pub async fn watch(&self, first: pb::WatchCreateRequest) -> Result<WatchStream, Error> {
        let mut last = Error::NoEndpoint;
        for _ in 0..self.endpoints.len() {
            match self.watch_at(self.next_endpoint(), first.clone()).await {
                Err(error) if error.is_unsent() => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    async fn watch_at(
        &self,
        endpoint: &Endpoint,
        first: pb::WatchCreateRequest,
    ) -> Result<WatchStream, Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        // The request must lie in the stream before it opens: a server may answer with headers only then.
        let _ = requests.send(pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(first)) });
        let mut grpc = self.grpc(endpoint);
        grpc.ready().await.map_err(|error| unreachable(endpoint, &error))?;
        let mut request = tonic::Request::new(UnboundedReceiverStream::new(outgoing));
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        match grpc.streaming(request, path, ProstCodec::<pb::WatchRequest, pb::WatchResponse>::new()).await {
            Ok(answer) => {
                Ok(WatchStream { requests, responses: answer.into_inner(), endpoint: endpoint.clone() })
            }
            Err(status) => Err(answered(endpoint, status.code(), status.message(), &status)),
        }
    }
}

impl WatchStream {
    /// The endpoint that serves this stream.
    pub fn endpoint(&self) -> &str {
        self.endpoint.text()
    }

    /// Asks for one more watcher; a `created` response tells its id.
    pub fn create(&self, request: pb::WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request));
    }

    /// Ends one watcher; a `canceled` response follows.
    pub fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }));
    }

    /// Asks for a progress response with id -1, sent when all watchers of the stream are in step.
    pub fn progress(&self) {
        self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
    }

    /// The next response; `None` when the member closed the stream in order.
    pub async fn next(&mut self) -> Option<Result<pb::WatchResponse, Error>> {
        match self.responses.message().await {
            Ok(response) => response.map(Ok),
            Err(status) => Some(Err(answered(&self.endpoint, status.code(), status.message(), &status))),
        }
    }

    /// A request on a stream that has ended is dropped: `next` tells the end.
    fn send(&self, request: RequestUnion) {
        let _ = self.requests.send(pb::WatchRequest { request_union: Some(request) });
    }
}

//! One request and its answer: which endpoint, how often, until when.

use std::future::Future;
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic_prost::ProstCodec;

use super::endpoint::Endpoint;
use super::error::{Code, Error};
use super::{Client, IF_MEMBERSHIP};
use crate::types::LogIndex;

/// Attempts of one call that only reads; between rounds over the endpoints lies [`RETRY_AFTER`].
const ATTEMPTS_MAX: usize = 100;
const RETRY_AFTER: Duration = Duration::from_millis(25);

/// Whether a member may see the request a second time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    Never,
}

/// One call before it is sent.
pub(super) struct Call<'a, Q> {
    pub path: &'static str,
    pub request: &'a Q,
    pub repeat: Repeat,
    /// The membership that the caller has seen.
    pub seen: Option<LogIndex>,
}

impl Client {
    /// Sends a request until it is answered, as often as it may be repeated and the deadline allows.
    pub(super) async fn exchange<Q, A>(&self, call: Call<'_, Q>) -> Result<(A, MetadataMap), Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.check_size(call.request)?;
        let deadline = Instant::now().checked_add(self.timeouts.call);
        let round = self.endpoints.len();
        let mut attempts = 0;
        let mut last = None;
        loop {
            let endpoint = self.next_endpoint();
            let error = match within(deadline, self.attempt(endpoint, &call, deadline)).await {
                None => return Err(self.too_late(last)),
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => error,
            };
            attempts += 1;
            if !self.may_try_again(&error, call.repeat, attempts) {
                return Err(error);
            }
            last = Some(error);
            if attempts % round == 0 && within(deadline, tokio::time::sleep(RETRY_AFTER)).await.is_none() {
                return Err(self.too_late(last));
            }
        }
    }

    pub(super) fn too_late(&self, last: Option<Error>) -> Error {
        Error::Deadline { after: self.timeouts.call, last: last.map(Box::new) }
    }

    pub(super) fn grpc(&self, endpoint: &Endpoint) -> tonic::client::Grpc<tonic::transport::Channel> {
        tonic::client::Grpc::new(endpoint.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    pub(super) fn check_size(&self, request: &impl Message) -> Result<(), Error> {
        let size = request.encoded_len();
        if size > self.request_bytes_max {
            return Err(Error::TooLarge { size, limit: self.request_bytes_max });
        }
        Ok(())
    }

    fn may_try_again(&self, error: &Error, repeat: Repeat, attempts: usize) -> bool {
        let others_left = attempts < self.endpoints.len();
        match error {
            Error::Unreachable { .. } => self.patient || others_left,
            Error::Answered { code: Code::Unavailable, .. } => {
                repeat == Repeat::Safe && attempts < ATTEMPTS_MAX && (self.patient || others_left)
            }
            // A learner refuses what a voter behind the next endpoint may do.
            Error::Answered { text, .. } if text == "etcdserver: rpc not supported for learner" => {
                others_left
            }
            _ => false,
        }
    }

    async fn attempt<Q, A>(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_, Q>,
        deadline: Option<Instant>,
    ) -> Result<(A, MetadataMap), Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(endpoint);
        grpc.ready().await.map_err(|error| unreachable(endpoint, &error))?;
        let mut request = tonic::Request::new(call.request.clone());
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(LogIndex(index)) = call.seen {
            request.metadata_mut().insert(IF_MEMBERSHIP, MetadataValue::from(index));
        }
        let path = PathAndQuery::from_static(call.path);
        match grpc.unary(request, path, ProstCodec::<Q, A>::new()).await {
            Ok(answer) => {
                endpoint.note_reached();
                let (metadata, message, _) = answer.into_parts();
                Ok((message, metadata))
            }
            Err(status) => Err(answered(endpoint, status.code(), status.message(), &status)),
        }
    }
}

pub(super) async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
    }
}

pub(super) fn unreachable(endpoint: &Endpoint, error: &(dyn std::error::Error + 'static)) -> Error {
    endpoint.note_failed();
    let mut root = error;
    while let Some(deeper) = root.source() {
        root = deeper;
    }
    Error::Unreachable { endpoint: endpoint.text().to_owned(), reason: root.to_string() }
}

/// A status with an error of connecting at its root means that nothing was sent.
pub(super) fn answered(
    endpoint: &Endpoint,
    code: Code,
    text: &str,
    status: &(dyn std::error::Error + 'static),
) -> Error {
    let mut cause = Some(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return unreachable(endpoint, error);
        }
        cause = error.source();
    }
    Error::Answered { endpoint: endpoint.text().to_owned(), code, text: text.to_owned() }
}

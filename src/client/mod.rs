//! The few server calls that operator, ctl and tests need: choose an endpoint, send once, say what came back.
//!
//! A [`Client`] spreads its calls over its endpoints in turn and goes on to the next one when an
//! endpoint cannot be reached, for then nothing was sent. What a member may have begun to do is never
//! sent again; calls that only read are. It holds no opinion on what the answers mean: that is for
//! the callers. TLS is not spoken yet, so `https://` endpoints are refused rather than sent in plain text.

mod calls;
mod dial;
mod endpoint;
mod error;
mod exchange;
mod http;
mod names;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use calls::{Consistency, Membership, Role};
pub use dial::dial;
pub use endpoint::Endpoint;
pub use error::{Code, Error};
pub use http::{Health, HttpAnswer, MemberState, Position, Waiting};
pub use names::{Names, SrvTarget};
pub use watch::WatchStream;

/// Request metadata that makes a membership call conditional: it is refused when the membership is no
/// longer the one of this log index (decimal). See [`crate::types::LogIndex`].
pub const IF_MEMBERSHIP: &str = "kvorum-if-membership";

/// Answer metadata of a member list: the log index at which the membership last changed (decimal).
pub const MEMBERSHIP: &str = "kvorum-membership";

/// Without this limit a careless caller would meet the server's, which answers less clearly.
/// In bytes; the same as other etcd clients have.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one attempt to connect to one endpoint, name resolution included.
    pub dial: Duration,
    /// For one call with all its attempts; [`Duration::MAX`] waits for ever.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { dial: Duration::from_secs(2), call: Duration::from_secs(5) }
    }
}

/// A cheap handle to one cluster's endpoints; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    endpoints: Arc<[Endpoint]>,
    names: Names,
    turn: Arc<AtomicUsize>,
    timeouts: Timeouts,
    patient: bool,
    request_bytes_max: usize,
    answer_bytes_max: usize,
}

impl Client {
    /// Takes endpoints as users write them (`10.0.0.1:2379`, `http://name:2379`, `unix:/path`); connects
    /// when a call needs it. Must be called inside a tokio runtime.
    pub fn connect<E>(endpoints: E, timeouts: Timeouts) -> Result<Client, Error>
    where
        E: IntoIterator,
        E::Item: AsRef<str>,
    {
        Client::connect_by(Names::default(), endpoints, timeouts)
    }

    /// The same, with names resolved by `names`.
    pub fn connect_by<E>(names: Names, endpoints: E, timeouts: Timeouts) -> Result<Client, Error>
    where
        E: IntoIterator,
        E::Item: AsRef<str>,
    {
        let parse = |text: E::Item| Endpoint::parse(text.as_ref(), timeouts.dial, &names);
        let endpoints: Result<Vec<_>, _> = endpoints.into_iter().map(parse).collect();
        let endpoints = endpoints?;
        if endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(Client {
            endpoints: endpoints.into(),
            names,
            turn: Arc::default(),
            timeouts,
            patient: false,
            request_bytes_max: REQUEST_BYTES_MAX,
            answer_bytes_max: usize::MAX,
        })
    }

    /// A patient client keeps trying endpoints that cannot be reached until the call's deadline, as
    /// command-line tools do. Without it, a call fails once every endpoint was tried.
    pub fn patient(mut self, patient: bool) -> Client {
        self.patient = patient;
        self
    }

    /// The same connections with another limit for each call; [`Duration::MAX`] for none.
    pub fn with_call_timeout(mut self, call: Duration) -> Client {
        self.timeouts.call = call;
        self
    }

    /// Limits of one message, in bytes.
    pub fn with_message_limits(mut self, request_bytes_max: usize, answer_bytes_max: usize) -> Client {
        self.request_bytes_max = request_bytes_max;
        self.answer_bytes_max = answer_bytes_max;
        self
    }

    /// The endpoints as they were given.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(Endpoint::text)
    }

    /// A client of one endpoint only, over the same connection when the endpoint is one of ours.
    pub fn only(&self, endpoint: &str) -> Result<Client, Error> {
        let one = match self.endpoints.iter().find(|ours| ours.text() == endpoint) {
            Some(ours) => ours.clone(),
            None => Endpoint::parse(endpoint, self.timeouts.dial, &self.names)?,
        };
        Ok(Client { endpoints: Arc::from([one]), turn: Arc::default(), ..self.clone() })
    }

    /// One client for each endpoint, in the order given.
    pub fn each(&self) -> impl Iterator<Item = Client> + '_ {
        self.endpoints.iter().map(|one| Client {
            endpoints: Arc::from([one.clone()]),
            turn: Arc::default(),
            ..self.clone()
        })
    }

    /// The next endpoint in turn; those that could not be reached a moment ago come last.
    fn next_endpoint(&self) -> &Endpoint {
        let count = self.endpoints.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .map(|step| &self.endpoints[(first + step) % count])
            .find(|endpoint| !endpoint.failed_lately())
            .unwrap_or(&self.endpoints[first % count])
    }
}

#[cfg(test)]
mod tests;

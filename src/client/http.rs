//! What members tell over plain HTTP on their client port: health, readiness, state.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::dial::dial_address;
use super::endpoint::Address;
use super::error::Error;
use super::{Client, Endpoint};

/// No answer of these paths is larger; a stray server must not fill our memory.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// An HTTP answer, whatever its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    pub code: u16,
    pub body: Bytes,
}

impl HttpAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a health path says, with its reason in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub healthy: bool,
    pub reason: String,
}

/// What a member of ours says of its own standing (`/kvorum/state`). Fields that a server of another
/// version does not send are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemberState {
    /// starting, hold, safe, refused, learner, voter or removed.
    pub state: String,
    /// Why it is in that state, for people.
    pub reason: String,
    /// The peers that stand between this member and its duty.
    pub waiting_for: Vec<Waiting>,
    pub position: Position,
}

/// A peer that is missing, and why.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Waiting {
    /// In hex.
    pub member: String,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub because: String,
}

/// Who and where a member is. Identities are in hex, and empty while they are not known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Position {
    pub cluster_id: String,
    pub member_id: String,
    /// This life of its disk; a wiped disk comes back with another one.
    pub disk: String,
    /// The leader that it follows; empty: none.
    pub leader: String,
    pub term: u64,
    /// Last entry of the log.
    pub last_index: u64,
    pub committed: u64,
    pub applied: u64,
}

impl Client {
    /// `/health`: with a leader and without alarms the member is healthy.
    pub async fn health(&self) -> Result<Health, Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Body {
            health: String,
            reason: String,
        }
        let answer = self.http_get("/health").await?;
        let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(Health { healthy: answer.is_success() && body.health == "true", reason: body.reason })
    }

    /// `/readyz`: whether the member can serve linearizable reads now.
    pub async fn ready(&self) -> Result<Health, Error> {
        let answer = self.http_get("/readyz").await?;
        Ok(Health { healthy: answer.is_success(), reason: answer.text().trim_end().to_owned() })
    }

    /// `/kvorum/state`; only members of ours have it.
    pub async fn state(&self) -> Result<MemberState, Error> {
        const PATH: &str = "/kvorum/state";
        let endpoint = self.next_endpoint();
        let answer = self.http_get_at(endpoint, PATH).await?;
        let fail =
            |reason: String| Error::Http { endpoint: endpoint.text().to_owned(), path: PATH.into(), reason };
        if !answer.is_success() {
            return Err(fail(format!("answered {}: {}", answer.code, answer.text().trim_end())));
        }
        serde_json::from_slice(&answer.body).map_err(|error| fail(format!("not a member's state: {error}")))
    }

    /// Any path of the next endpoint, within the call's timeout.
    pub async fn http_get(&self, path: &str) -> Result<HttpAnswer, Error> {
        self.http_get_at(self.next_endpoint(), path).await
    }

    async fn http_get_at(&self, endpoint: &Endpoint, path: &str) -> Result<HttpAnswer, Error> {
        let after = self.timeouts.call.min(Duration::from_secs(3600));
        tokio::time::timeout(after, get(endpoint, path))
            .await
            .unwrap_or(Err(Error::Deadline { after, last: None }))
    }
}

/// One request on a connection of its own: these paths must answer while the gRPC connection is in trouble.
async fn get(endpoint: &Endpoint, path: &str) -> Result<HttpAnswer, Error> {
    let stream = dial_address(endpoint.address(), endpoint.names(), endpoint.dial_timeout()).await.map_err(
        |error| {
            endpoint.note_failed();
            Error::Unreachable { endpoint: endpoint.text().to_owned(), reason: error.to_string() }
        },
    )?;
    let fail =
        |reason: String| Error::Http { endpoint: endpoint.text().to_owned(), path: path.to_owned(), reason };
    let host = match endpoint.address() {
        Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix { .. } => "localhost".to_owned(),
    };
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| fail(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| fail(error.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| fail(error.to_string()))?;
        let code = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| fail(error.to_string()))?
            .to_bytes();
        Ok(HttpAnswer { code, body })
    };
    // The connection does the sending while the exchange waits; it never ends before the answer is whole.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

//! One HTTP request to a peer, on a connection of its own, within a time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::client::Names;
use crate::flags::HostUrl;

/// No answer of a peer is larger.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Speaks HTTP to peers. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct PeerHttp {
    names: Names,
}

pub(super) struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl PeerHttp {
    pub(super) fn new(names: Names) -> PeerHttp {
        PeerHttp { names }
    }

    /// Who is asked for names.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Asks; the error is a short text for people.
    pub(super) async fn ask(
        &self,
        url: &HostUrl,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Response, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.send(url, request, within).await
    }

    /// Sends a whole request to whoever listens at `to`, a proxy for instance.
    pub(super) async fn send(
        &self,
        to: &HostUrl,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Response, String> {
        match tokio::time::timeout(within, self.exchange(to, request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("nothing within {within:?}")),
        }
    }

    /// Asks for JSON, sending some where `body` is given.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        url: &HostUrl,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, String> {
        let (method, body) = match body {
            None => (Method::GET, Bytes::new()),
            Some(body) => {
                (Method::POST, Bytes::from(serde_json::to_vec(body).map_err(|error| error.to_string())?))
            }
        };
        let response = self.ask(url, method, path, body, within).await?;
        if response.status != 200 {
            return Err(format!("{path} answers HTTP {}; is a member of Kvorum there?", response.status));
        }
        serde_json::from_slice(&response.body)
            .map_err(|error| format!("{path} answers no known JSON: {error}"))
    }

    async fn exchange(&self, to: &HostUrl, request: Request<Full<Bytes>>) -> io::Result<Response> {
        let stream = self.connect(to).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
        };
        // The connection moves the bytes while the answer is awaited, and ends with it.
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    }

    async fn connect(&self, url: &HostUrl) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", url.host()));
        for ip in self.addresses(url).await? {
            match TcpStream::connect(SocketAddr::new(ip, url.port())).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The addresses of a URL's host now.
    pub(super) async fn addresses(&self, url: &HostUrl) -> io::Result<Vec<IpAddr>> {
        self.names.addresses(url.host()).await
    }

    /// Whether two lists of URLs mean the same places: as texts, else by addresses and ports. The error says
    /// what could not be resolved.
    pub(super) async fn same_places(&self, one: &[HostUrl], other: &[HostUrl]) -> Result<bool, String> {
        let (mut left, mut right) = (one.to_vec(), other.to_vec());
        left.sort();
        right.sort();
        if left == right {
            return Ok(true);
        }
        if left.len() != right.len() {
            return Ok(false);
        }
        Ok(self.places(&left).await? == self.places(&right).await?)
    }

    async fn places(&self, urls: &[HostUrl]) -> Result<Vec<Vec<SocketAddr>>, String> {
        let mut places = Vec::new();
        for url in urls {
            let addresses = self
                .addresses(url)
                .await
                .map_err(|error| format!("{} is not resolved: {error}", url.host()))?;
            let mut place: Vec<SocketAddr> =
                addresses.into_iter().map(|ip| SocketAddr::new(ip, url.port())).collect();
            place.sort();
            places.push(place);
        }
        places.sort();
        Ok(places)
    }
}

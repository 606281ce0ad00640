//! One endpoint: the text a user wrote, the address it means, its one HTTP/2 connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use parking_lot::Mutex;
use tonic::transport::Channel;

use super::dial::Connector;
use super::error::Error;
use super::names::Names;

/// How long an endpoint that could not be reached is passed over while others are at hand.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// Servers end connections that are pinged more often than every five seconds.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(6);

/// Large answers must not wait for window updates.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Where an endpoint's text leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix { path: String },
}

/// One endpoint of a [`super::Client`].
#[derive(Clone, Debug)]
pub struct Endpoint {
    text: Arc<str>,
    address: Address,
    names: Names,
    dial: Duration,
    channel: Channel,
    failed: Arc<Mutex<Option<Instant>>>,
}

impl Endpoint {
    pub(super) fn parse(text: &str, dial: Duration, names: &Names) -> Result<Endpoint, Error> {
        let text = text.trim();
        let bad = |reason: String| Error::BadEndpoint { endpoint: text.to_owned(), reason };
        let address = parse_address(text).map_err(bad)?;
        let authority = match &address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix { .. } => "localhost".to_owned(),
        };
        let uri: Uri = format!("http://{authority}").parse().map_err(|error| bad(format!("{error}")))?;
        let channel = tonic::transport::Endpoint::from(uri)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .connect_with_connector_lazy(Connector::new(address.clone(), names.clone(), dial));
        let names = names.clone();
        Ok(Endpoint { text: text.into(), address, names, dial, channel, failed: Arc::default() })
    }

    /// The endpoint as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn dial_timeout(&self) -> Duration {
        self.dial
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn note_reached(&self) {
        *self.failed.lock() = None;
    }

    pub(super) fn note_failed(&self) {
        *self.failed.lock() = Some(Instant::now());
    }

    pub(super) fn failed_lately(&self) -> bool {
        self.failed.lock().is_some_and(|at| at.elapsed() < PASSED_OVER)
    }
}

/// `host:port`, `http://host:port[/...]`, `unix:path`, `unix://path`, `unix:///path`.
pub(super) fn parse_address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
        return Ok(Address::Unix { path: path.to_owned() });
    }
    let rest = match text.split_once("://") {
        None => text,
        Some(("http", rest)) => rest,
        Some(("https" | "unixs", _)) => {
            return Err(
                "TLS is not served yet; nothing is sent in plain text to an endpoint that asks for it".into(),
            );
        }
        Some((scheme, _)) => {
            return Err(format!("scheme {scheme:?} is not known; http or unix would be right"));
        }
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').ok_or("has no port; HOST:PORT would be right")?;
    let port = port.parse().map_err(|_| format!("port {port:?} is not a number from 0 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // etcd listens on all addresses when the host is left out; a caller then means this machine.
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(Address::Tcp { host: host.to_owned(), port })
}

//! Connecting by name: names are resolved anew at each dial, since addresses of Pods change,
//! and without the C library, since a static binary has no dependable resolver there.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Address;
use super::names::Names;

/// A byte stream to a member.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn addresses(names: &Names, host: &str) -> io::Result<Vec<IpAddr>> {
    names
        .addresses(host)
        .await
        .map_err(|error| io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}: {error}")))
}

/// Connects to the first address of `host` that answers, within `timeout` all in all; TCP_NODELAY is set.
pub async fn dial(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    dial_by(&Names::default(), host, port, timeout).await
}

async fn dial_by(names: &Names, host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let attempt = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("lookup {host}: no address"));
        for address in addresses(names, host).await? {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = io::Error::new(error.kind(), format!("dial {address}:{port}: {error}")),
            }
        }
        Err(last)
    };
    tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("dial {host}:{port}: no connection within {timeout:?}"),
        ))
    })
}

pub(super) async fn dial_address(
    address: &Address,
    names: &Names,
    timeout: Duration,
) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Tcp { host, port } => Ok(Box::new(dial_by(names, host, *port, timeout).await?)),
        Address::Unix { path } => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// What tonic asks for a connection whenever it has none.
#[derive(Clone)]
pub(super) struct Connector {
    address: Address,
    names: Names,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(address: Address, names: Names, timeout: Duration) -> Self {
        Connector { address, names, timeout }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { address, names, timeout } = self.clone();
        Box::pin(async move { dial_address(&address, &names, timeout).await.map(TokioIo::new) })
    }
}

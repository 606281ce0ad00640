//! A port that speaks HTTP/1 and HTTP/2: accept, serve, and stop gracefully.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::{Keepalive, SocketOptions};
use crate::flags::HostUrl;

/// Above h2's default: it charges unread small frames against half of this window, and a client that
/// opens thousands of watches on one stream sends many (h2 0.4.16 and later).
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const BACKLOG: i32 = 1024;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http {
    pub(super) streams_max: u32,
    pub(super) keepalive: Keepalive,
}

/// What a port answers now. A later stage replaces it whole: connections of the earlier one are asked
/// to finish, so that no client stays with a member that was still starting when it came.
#[derive(Clone)]
pub(super) struct Stage(Arc<ArcSwap<Current>>);

struct Current {
    routes: Router,
    over: CancellationToken,
}

impl Stage {
    pub(super) fn new(routes: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Current { routes, over: CancellationToken::new() })))
    }

    pub(super) fn replace(&self, routes: Router) {
        self.0.swap(Arc::new(Current { routes, over: CancellationToken::new() })).over.cancel();
    }

    /// Ends the stage without another: connections finish.
    pub(super) fn end(&self) {
        self.0.load().over.cancel();
    }
}

/// Opens the listening socket of a URL. The host is an address or `localhost` (config saw to it).
pub(super) fn listen(url: &HostUrl, options: SocketOptions) -> io::Result<TcpListener> {
    let ip = url.ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = SocketAddr::new(ip, url.port());
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted member must get its port back at once, connections in TIME_WAIT or not (as Go does).
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| io::Error::new(error.kind(), format!("listen {url}: {error}")))
}

/// The next connection. Errors of single connections are no reason to stop; a shortage of file
/// descriptors passes, so accepting goes on after a pause.
pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small answers wait for the acknowledgement of the one before.
                if stream.set_nodelay(true).is_ok() {
                    return stream;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves HTTP on every connection until `stop`; `tracker` knows when the last has finished.
pub(super) async fn serve(
    listener: TcpListener,
    stage: Stage,
    http: Http,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            () = stop.cancelled() => return stage.end(),
        };
        tracker.spawn(serve_connection(stream, stage.clone(), http));
    }
}

/// Serves one connection for as long as its stage lasts; HTTP/1 or HTTP/2 is told by its first bytes.
pub(super) async fn serve_connection(stream: TcpStream, stage: Stage, http: Http) {
    let current = stage.0.load_full();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .max_concurrent_streams(http.streams_max)
        .keep_alive_interval(http.keepalive.interval)
        .keep_alive_timeout(http.keepalive.timeout);
    builder.http1().timer(TokioTimer::new());
    let service = TowerToHyperService::new(current.routes.clone());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = current.over.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

//! The peer port: members' own framed connections and HTTP share it, told apart by their first bytes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::port::{Http, Stage, accept, serve_connection};
use crate::raft::{Handle, PREFACE};

/// A connection must say what it is within this time.
const PREFACE_WAIT_MAX: Duration = Duration::from_secs(10);

/// What the peer port serves: HTTP from the first moment (founding needs it), peers once Raft runs.
#[derive(Clone)]
pub(super) struct PeerPort {
    pub(super) stage: Stage,
    pub(super) http: Http,
    /// Empty until Raft runs; peers that come too early are turned away and dial again.
    pub(super) raft: Arc<OnceLock<Handle>>,
}

impl PeerPort {
    pub(super) async fn serve(self, listener: TcpListener, stop: CancellationToken, tracker: TaskTracker) {
        loop {
            let stream = tokio::select! {
                stream = accept(&listener) => stream,
                () = stop.cancelled() => return self.stage.end(),
            };
            tracker.spawn(self.clone().serve_connection(stream));
        }
    }

    async fn serve_connection(self, stream: TcpStream) {
        match tokio::time::timeout(PREFACE_WAIT_MAX, is_peer(&stream)).await {
            Ok(true) => {
                if let Some(raft) = self.raft.get()
                    && let Err(error) = raft.serve_peer(stream).await
                {
                    tracing::warn!(%error, "peer connection cannot be handed to raft");
                }
            }
            Ok(false) => serve_connection(stream, self.stage, self.http).await,
            Err(_) => tracing::debug!("peer connection said nothing"),
        }
    }
}

/// Whether the connection begins with the members' preface. Waits for as many bytes as it takes to tell.
async fn is_peer(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    let mut seen = 0;
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return false,
            Ok(count) if first[..count] != PREFACE[..count] => return false,
            Ok(count) if count == PREFACE.len() => return true,
            // The preface came in pieces; peek answers at once, so wait a little for the rest.
            Ok(count) if count == seen => tokio::time::sleep(Duration::from_millis(1)).await,
            Ok(count) => seen = count,
        }
    }
}

//! Opening a connection to a peer: its URLs in turn, the preface, who we are and whom we mean.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::PREFACE;
use super::frame::FrameReader;
use super::message::{Hello, Link, Welcome};
use crate::raft::Timing;
use crate::raft::peers::Peer;
use crate::raft::shared::Shared;

/// An established connection.
pub(super) struct Connection {
    pub reader: FrameReader<OwnedReadHalf>,
    pub writer: OwnedWriteHalf,
}

/// Dials `peer`, wherever the replicated state says it is now.
pub(super) async fn dial(shared: &Arc<Shared>, peer: &Peer, link: Link) -> io::Result<Connection> {
    let members = shared.state.members();
    let urls = members.get(peer.id).map_or(&peer.added_as.peer_urls, |member| &member.peer_urls);
    let mut error = io::Error::new(io::ErrorKind::NotFound, format!("member {} has no peer URL", peer.id));
    for url in urls {
        let attempt = dial_url(shared, peer, link, url);
        match timeout(shared.timing.dial_timeout(), attempt).await.unwrap_or_else(|late| Err(late.into())) {
            Ok(connection) => return Ok(connection),
            Err(failed) => error = io::Error::new(failed.kind(), format!("{url}: {failed}")),
        }
    }
    Err(error)
}

async fn dial_url(shared: &Arc<Shared>, peer: &Peer, link: Link, url: &str) -> io::Result<Connection> {
    let addresses = shared.names.addresses(url, shared.timing.dial_timeout()).await?;
    let stream = connect(&addresses).await?;
    tune(&stream, &shared.timing)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = FrameReader::new(reader);
    let mut greeting = BytesMut::from(PREFACE);
    Hello { cluster: shared.cluster.0, from: shared.me, to: peer.id, link }.put(&mut greeting);
    writer.write_all(&greeting).await?;
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::ConnectionRefused, why.to_owned()));
    match Welcome::get(reader.next().await?)? {
        Welcome::Come => Ok(Connection { reader, writer }),
        Welcome::OtherCluster => refused("the member there belongs to another cluster"),
        Welcome::NotMe => refused("another member is there"),
        Welcome::Removed => {
            shared.removed();
            refused("this member has been removed from the cluster")
        }
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// A dead link must be noticed in about an election timeout, and small messages must not wait.
pub(super) fn tune(stream: &TcpStream, timing: &Timing) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(timing.link_patience()))?;
    let keepalive =
        TcpKeepalive::new().with_time(timing.link_patience()).with_interval(timing.link_patience());
    socket.set_tcp_keepalive(&keepalive)
}

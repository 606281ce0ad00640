//! The snapshot link: one checkpoint file from the leader to a member that fell too far behind, on
//! a connection of its own, so that nothing waits behind it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::dial::dial;
use super::frame::FrameReader;
use super::message::{Link, Reply, SnapshotPart};
use crate::raft::checkpoint::{self, SnapshotData};
use crate::raft::codec::{self, bad};
use crate::raft::peers::Peer;
use crate::raft::shared::Shared;
use crate::raft::types::{Snapshot, SnapshotMeta, Vote};
use crate::storage::checkpoint::{CheckpointFile, CheckpointWriter};

const PIECE_BYTES: usize = 1 << 20;
/// A receiver that takes no piece for so long is not going to.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
/// Syncing and restoring a large checkpoint takes its time.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

/// Sends `file` and waits until the receiver installed it; answers with the receiver's vote.
pub(super) async fn send(
    shared: &Arc<Shared>,
    peer: &Peer,
    vote: Vote,
    file: &CheckpointFile,
) -> io::Result<Vote> {
    let mut connection = dial(shared, peer, Link::Snapshot).await?;
    tracing::info!(peer = %peer.id, index = file.position.index + 1, bytes = file.size_bytes, "sending snapshot");
    put(&mut connection.writer, &SnapshotPart::Head { vote, meta: file.meta.clone() }).await?;
    let mut from = shared.checkpoints.read_raw(file)?;
    loop {
        let (piece, read_on) = spawn_blocking(move || read_piece(&mut from).map(|piece| (piece, from)))
            .await
            .map_err(io::Error::other)??;
        if piece.is_empty() {
            break;
        }
        from = read_on;
        put(&mut connection.writer, &SnapshotPart::Piece(piece)).await?;
    }
    put(&mut connection.writer, &SnapshotPart::End).await?;
    match Reply::get(timeout(INSTALL_PATIENCE, connection.reader.next()).await??)? {
        Reply::Snapshot(vote) => Ok(vote),
        other => Err(bad(format!("{other:?} came where the answer to a snapshot was expected"))),
    }
}

fn read_piece(from: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    from.take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

async fn put(writer: &mut OwnedWriteHalf, part: &SnapshotPart) -> io::Result<()> {
    let mut out = BytesMut::new();
    part.put(&mut out);
    timeout(PIECE_PATIENCE, writer.write_all_buf(&mut out)).await?
}

/// Takes one snapshot in and has it installed.
pub(super) async fn receive(
    shared: &Arc<Shared>,
    mut reader: FrameReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    let SnapshotPart::Head { vote, meta } = SnapshotPart::get(reader.next().await?)? else {
        return Err(bad("a snapshot must begin with its head".into()));
    };
    let (last, last_membership) = codec::get_checkpoint_meta(meta)?;
    tracing::info!(index = last.index + 1, "receiving snapshot");
    let mut file = Box::new(shared.checkpoints.receive(checkpoint::position(&last))?);
    loop {
        match SnapshotPart::get(timeout(PIECE_PATIENCE, reader.next()).await??)? {
            SnapshotPart::Piece(piece) => file = write_piece(file, piece).await?,
            SnapshotPart::End => break,
            SnapshotPart::Head { .. } => {
                return Err(bad("a second head came in the middle of a snapshot".into()));
            }
        }
    }
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership };
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(file) };
    let raft = shared.raft().map_err(io::Error::other)?;
    let response = raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)?;
    let mut out = BytesMut::new();
    Reply::Snapshot(response.vote).put(0, &mut out);
    writer.write_all_buf(&mut out).await
}

async fn write_piece(mut file: Box<CheckpointWriter>, piece: Bytes) -> io::Result<Box<CheckpointWriter>> {
    spawn_blocking(move || file.write_all(&piece).map(|()| file)).await.map_err(io::Error::other)?
}

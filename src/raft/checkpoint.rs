//! Checkpoints of the state machine: written in the background, sent to members that fell behind.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::storage::RaftSnapshotBuilder;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::codec;
use super::types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
use crate::apply;
use crate::storage::Checkpoints;
use crate::storage::checkpoint::{CheckpointFile, CheckpointWriter, Position};

/// What openraft hands from the state machine to the transport and back.
pub(super) enum SnapshotData {
    /// A checkpoint that lies complete on our disk.
    File(CheckpointFile),
    /// One that came from the leader. It gets its name when it is installed, after the vote that
    /// goes with it is durable.
    Received(Box<CheckpointWriter>),
}

/// The newest checkpoint, kept so that its file is not checked again for every send.
#[derive(Clone, Default)]
pub(super) struct Latest(Arc<Mutex<Option<CheckpointFile>>>);

impl Latest {
    pub(super) fn new(file: Option<CheckpointFile>) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    pub(super) fn get(&self) -> Option<CheckpointFile> {
        self.0.lock().clone()
    }

    /// Takes the newer one: a checkpoint that was being written while a snapshot came is older.
    pub(super) fn offer(&self, file: CheckpointFile) {
        let mut latest = self.0.lock();
        if latest.as_ref().is_none_or(|latest| latest.position < file.position) {
            *latest = Some(file);
        }
    }
}

/// Writes one frozen view of the state, away from the Raft thread.
pub(super) struct Builder {
    pub checkpoints: Checkpoints,
    pub latest: Latest,
    pub frozen: Option<apply::Checkpoint>,
    pub last: Option<LogId>,
    pub membership: StoredMembership,
    /// Cleared when this builder is done, so that the next one may begin.
    pub busy: Arc<AtomicBool>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (Some(frozen), Some(last)) = (self.frozen.take(), self.last) else {
            return Err(io::Error::other("nothing is applied yet, or a checkpoint of it was built already"));
        };
        let (checkpoints, position) = (self.checkpoints.clone(), position(&last));
        let meta = codec::checkpoint_meta(&last, &self.membership);
        let written = spawn_blocking(move || write(&checkpoints, position, &meta, frozen)).await;
        let file = written.map_err(io::Error::other)??;
        tracing::info!(index = last.index + 1, bytes = file.size_bytes, "wrote checkpoint");
        self.latest.offer(file.clone());
        let meta = SnapshotMeta { last_log_id: Some(last), last_membership: self.membership.clone() };
        Ok(Snapshot { meta, snapshot: SnapshotData::File(file) })
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        self.busy.store(false, Ordering::Release);
    }
}

fn write(
    checkpoints: &Checkpoints,
    position: Position,
    meta: &[u8],
    frozen: apply::Checkpoint,
) -> io::Result<CheckpointFile> {
    let mut writer = checkpoints.create(position, meta)?;
    frozen.write_to(&mut writer)?;
    writer.flush()?;
    writer.finish()
}

pub(super) fn position(last: &LogId) -> Position {
    Position { term: last.leader_id.term.0, index: last.index }
}

/// What openraft needs to know of a checkpoint file.
pub(super) fn meta(file: &CheckpointFile) -> io::Result<SnapshotMeta> {
    let (last, last_membership) = codec::get_checkpoint_meta(file.meta.clone())?;
    Ok(SnapshotMeta { last_log_id: Some(last), last_membership })
}

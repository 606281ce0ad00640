//! The state machine: the only owner of the [`Applier`].
//!
//! Committed entries come as a stream; each batch ends with the applied index moving, the answers
//! going out to this member's own proposals, and, now and then, a checkpoint being asked for.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftStateMachine};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::Instant;

use super::admit;
use super::checkpoint::{self, Builder, Latest, SnapshotData};
use super::codec;
use super::error::Error;
use super::proposals::{Answer, Proposed};
use super::shared::{OnApplied, Shared};
use super::types::{
    Entry, LogId, Membership, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, client_index,
};
use crate::apply::{Applier, Envelope};
use crate::membership::Member;
use crate::storage::Checkpoints;
use crate::types::{LogIndex, MemberId, Term};

/// Entries applied before other tasks of the Raft thread get their turn (a heartbeat must not wait).
const TURN_ENTRIES: usize = 128;
/// A checkpoint is due after so many bytes of entries, however few they are ...
const CHECKPOINT_BYTES: usize = 256 << 20;
/// ... and after so long, if anything was applied at all.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30 * 60);

pub(super) struct StateMachine {
    /// Away only while a snapshot is restored into it.
    applier: Option<Applier>,
    last: Option<LogId>,
    membership: StoredMembership,
    checkpoints: Checkpoints,
    latest: Latest,
    since_checkpoint: SinceCheckpoint,
    snapshot_count: u64,
    answers: Vec<(u64, Answer)>,
    shared: Arc<Shared>,
    on_applied: OnApplied,
}

struct SinceCheckpoint {
    entries: u64,
    bytes: usize,
    when: Instant,
    busy: Arc<AtomicBool>,
}

impl SinceCheckpoint {
    fn new() -> Self {
        Self { entries: 0, bytes: 0, when: Instant::now(), busy: Arc::default() }
    }

    fn restart(&mut self) {
        (self.entries, self.bytes, self.when) = (0, 0, Instant::now());
    }

    fn is_due(&self, snapshot_count: u64) -> bool {
        self.entries > snapshot_count
            || self.bytes >= CHECKPOINT_BYTES
            || (self.entries > 0 && self.when.elapsed() >= CHECKPOINT_INTERVAL)
    }
}

impl StateMachine {
    /// Restores the newest checkpoint into `applier`, if there is one.
    pub(super) fn open(
        mut applier: Applier,
        checkpoints: Checkpoints,
        snapshot_count: u64,
        shared: Arc<Shared>,
        on_applied: OnApplied,
    ) -> io::Result<Self> {
        let file = checkpoints.latest()?;
        let meta = file.as_ref().map(checkpoint::meta).transpose()?;
        if let Some(file) = &file {
            applier.restore(&mut checkpoints.read(file)?).map_err(io::Error::other)?;
            on_applied(applier.state().store().revision(), &[]);
        }
        let SnapshotMeta { last_log_id, last_membership } = meta.unwrap_or_default();
        shared.applied.advance(client_index(last_log_id));
        Ok(Self {
            applier: Some(applier),
            last: last_log_id,
            membership: last_membership,
            checkpoints,
            latest: Latest::new(file),
            since_checkpoint: SinceCheckpoint::new(),
            snapshot_count,
            answers: Vec::new(),
            shared,
            on_applied,
        })
    }

    fn applier(&mut self) -> io::Result<&mut Applier> {
        self.applier.as_mut().ok_or_else(|| io::Error::other("a snapshot could not be restored"))
    }

    fn apply_entry(&mut self, entry: Entry) -> io::Result<()> {
        let (term, index) = (entry.log_id.leader_id.term.0, entry.log_id.index);
        self.shared.led.applies(entry.log_id);
        let new_term = self.last.is_some_and(|last| last.leader_id.term.0 < term);
        self.since_checkpoint.entries += 1;
        match entry.payload {
            EntryPayload::Blank => self.applier()?.apply_blank(LogIndex(index + 1), Term(term)),
            EntryPayload::Normal(proposal) => self.apply_proposal(term, index, &proposal)?,
            EntryPayload::Membership(membership) => self.apply_membership(&entry.log_id, membership)?,
        }
        self.last = Some(entry.log_id);
        if new_term {
            // Everything met so far must be answered before what was not met is sent anew.
            self.shared.proposals.answer(self.answers.drain(..));
            self.shared.proposals.term_began(term);
        }
        Ok(())
    }

    fn apply_proposal(&mut self, term: u64, index: u64, proposal: &Proposal) -> io::Result<()> {
        let envelope = Envelope::decode(codec::envelope(proposal)).map_err(io::Error::other)?;
        self.since_checkpoint.bytes += proposal.0.len();
        let (id, term, index) = (envelope.id, Term(term), LogIndex(index + 1));
        let applied = self.applier()?.apply(index, term, envelope);
        (self.on_applied)(applied.revision, &applied.events);
        if id.origin == self.shared.me {
            let answer = match applied.outcome {
                Ok(outcome) => Ok(Proposed { outcome, term, index }),
                Err(rejection) => Err(Error::Rejected(rejection)),
            };
            self.answers.push((id.sequence, answer));
        }
        Ok(())
    }

    fn apply_membership(&mut self, position: &LogId, membership: Membership) -> io::Result<()> {
        let members = members(&membership);
        let me = self.shared.me;
        let was_in = self.membership.get_node(&me).is_some();
        let (term, index) = (Term(position.leader_id.term.0), LogIndex(position.index + 1));
        self.applier()?.apply_membership(index, term, members);
        let is_in = membership.get_node(&me).is_some();
        self.membership = StoredMembership::new(Some(*position), membership);
        self.shared.membership_applied();
        // A member that joins replays memberships from before its time; those say nothing.
        if was_in && !is_in {
            self.shared.removed();
        }
        Ok(())
    }

    fn end_batch(&mut self) {
        self.shared.applied.advance(client_index(self.last));
        self.shared.proposals.answer(self.answers.drain(..));
        if self.since_checkpoint.is_due(self.snapshot_count)
            && !self.since_checkpoint.busy.load(Ordering::Acquire)
        {
            self.shared.checkpoint_due.notify_one();
        }
    }

    /// Restores a snapshot in place, on another thread, for it may be long.
    async fn restore(&mut self, data: SnapshotData) -> io::Result<()> {
        let mut applier =
            self.applier.take().ok_or_else(|| io::Error::other("a snapshot is being restored"))?;
        let checkpoints = self.checkpoints.clone();
        let restored = spawn_blocking(move || {
            let file = match data {
                SnapshotData::File(file) => file,
                SnapshotData::Received(writer) => writer.finish()?,
            };
            applier.restore(&mut checkpoints.read(&file)?).map_err(io::Error::other)?;
            Ok::<_, io::Error>((applier, file))
        });
        let (applier, file) = restored.await.map_err(io::Error::other)??;
        self.applier = Some(applier);
        self.latest.offer(file);
        Ok(())
    }
}

/// The member list that a membership of openraft stands for.
pub(super) fn members(membership: &Membership) -> Vec<Member> {
    let member = |(_, node): (&MemberId, &Member)| Member {
        is_learner: admit::is_learner(membership, node),
        ..node.clone()
    };
    membership.nodes().map(member).collect()
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let mut count = 0;
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(());
            }
            count += 1;
            if count % TURN_ENTRIES == 0 {
                self.end_batch();
                yield_now().await;
            }
        }
        self.end_batch();
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        if self.since_checkpoint.busy.load(Ordering::Acquire) {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.since_checkpoint.busy.store(true, Ordering::Release);
        self.since_checkpoint.restart();
        Builder {
            checkpoints: self.checkpoints.clone(),
            latest: self.latest.clone(),
            frozen: self.applier.as_ref().map(Applier::checkpoint),
            last: self.last,
            membership: self.membership.clone(),
            busy: Arc::clone(&self.since_checkpoint.busy),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let was_in = self.membership.get_node(&self.shared.me).is_some();
        self.restore(snapshot).await?;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.since_checkpoint.restart();
        self.shared.proposals.lose_track();
        let revision = self.applier()?.state().store().revision();
        (self.on_applied)(revision, &[]);
        self.shared.membership_applied();
        if was_in && self.membership.get_node(&self.shared.me).is_none() {
            self.shared.removed();
        }
        mem::take(&mut self.answers);
        self.end_batch();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(file) = self.latest.get() else { return Ok(None) };
        Ok(Some(Snapshot { meta: checkpoint::meta(&file)?, snapshot: SnapshotData::File(file) }))
    }
}

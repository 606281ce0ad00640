//! Applies the log, entry by entry: the only writer of the replicated state.
//!
//! Every entry ends in an outcome or in a rejection, the same on every member. A fault, that is, anything
//! that could differ between members, must not come up here: whoever decodes entries stops the member.

use std::io;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, RestoreError, Restored};
use super::command::{Command, Envelope};
use super::outcome::{Outcome, Rejection};
use super::proposals::Proposals;
use super::state::{Cluster, State};
use crate::membership::{AlarmKind, Member, Members};
use crate::mvcc::{Event, Leases, Op, TxnOp, WriteTxn};
use crate::types::{LeaseId, LogIndex, Revision, Term};

/// What applying one entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub outcome: Result<Outcome, Rejection>,
    /// What changed in the key space, in order; all of it at `revision`.
    pub events: Vec<Event>,
    /// The store's revision now.
    pub revision: Revision,
}

/// The state machine. Owned by the thread that applies; readers hold [`State`].
pub struct Applier {
    state: State,
    proposals: Proposals,
}

/// No lease exists yet.
struct NoLeases;

impl Leases for NoLeases {
    fn is_known(&self, _: LeaseId) -> bool {
        false
    }
}

impl Default for Applier {
    fn default() -> Self {
        Self::new()
    }
}

impl Applier {
    /// An empty store at revision 1, and nobody in the cluster.
    pub fn new() -> Self {
        Applier { state: State::new(), proposals: Proposals::default() }
    }

    /// A handle for readers; it stays valid across [`Applier::restore`].
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Applies a command. Entries come in the order of the log, each once.
    pub fn apply(&mut self, index: LogIndex, term: Term, envelope: Envelope) -> Applied {
        self.begin(index);
        let result = match self.admit(&envelope) {
            Ok(()) => self.carry_out(index, envelope.command),
            Err(rejection) => Err(rejection),
        };
        self.state.set_applied(index, term);
        let (outcome, revision, events) = match result {
            Ok(done) => (Ok(done.outcome), done.revision, done.events),
            Err(rejection) => (Err(rejection), self.state.store().revision(), Vec::new()),
        };
        Applied { outcome, events, revision }
    }

    /// An entry without a command was applied: only the position moves.
    pub fn apply_blank(&mut self, index: LogIndex, term: Term) {
        self.begin(index);
        self.state.set_applied(index, term);
    }

    /// A membership entry was applied: `members` is the whole membership now. What is known of a member
    /// already, its name and URLs, is kept; its role is taken from the list.
    pub fn apply_membership(&mut self, index: LogIndex, term: Term, members: Vec<Member>) {
        self.begin(index);
        self.change_members(|list| {
            list.replace(index, members);
            Ok::<_, Rejection>(())
        })
        .expect("a membership entry cannot be rejected any more");
        self.state.set_applied(index, term);
    }

    /// A consistent view of everything at this position; cheap to take, to be written by another thread.
    pub fn checkpoint(&self) -> Checkpoint {
        let (index, term) = self.state.applied();
        Checkpoint {
            index,
            term,
            cluster: self.state.cluster(),
            proposals: self.proposals.clone(),
            space: self.state.store().freeze(),
        }
    }

    /// Replaces everything by what a checkpoint holds. Reads all of it before anything is replaced.
    ///
    /// # Errors
    /// What is wrong with the checkpoint; then nothing has changed.
    pub fn restore(&mut self, from: &mut dyn io::Read) -> Result<(), RestoreError> {
        let restored = Restored::read(from)?;
        self.state.store().install(restored.space);
        self.state.set_cluster(restored.cluster);
        self.state.set_applied(restored.index, restored.term);
        self.proposals = restored.proposals;
        Ok(())
    }

    fn begin(&self, index: LogIndex) {
        let (applied, _) = self.state.applied();
        assert!(index > applied, "entry {index} is applied after entry {applied}");
    }

    fn admit(&mut self, envelope: &Envelope) -> Result<(), Rejection> {
        if !self.proposals.admit(envelope.id) {
            return Err(Rejection::AlreadyApplied);
        }
        let cluster = self.state.cluster();
        let command = &envelope.command;
        if cluster.alarms.has(AlarmKind::Corrupt) && touches_keys(command) {
            return Err(Rejection::Corrupt);
        }
        if cluster.alarms.has(AlarmKind::NoSpace) && puts(command) {
            return Err(Rejection::NoSpace);
        }
        Ok(())
    }

    fn carry_out(&mut self, index: LogIndex, command: Command) -> Result<Done, Rejection> {
        match command {
            Command::Put(op) => self.write(|txn| {
                txn.check_put(&op, &NoLeases)?;
                Ok(Outcome::Put(txn.put(&op)))
            }),
            Command::DeleteRange(op) => self.write(|txn| Ok(Outcome::DeleteRange(txn.delete(&op)))),
            Command::Txn(op) => self.write(|txn| Ok(Outcome::Txn(txn.txn(&op, &NoLeases)?))),
            Command::Compact { revision, .. } => {
                let done = self.write(|txn| {
                    txn.compact(revision)?;
                    Ok(Outcome::Compact { revision: txn.revision() })
                })?;
                self.state.store().compaction_decided();
                Ok(done)
            }
            Command::RaiseAlarm(alarm) => {
                Ok(self.alter(|cluster| Outcome::Alarms(cluster.alarms.raise(alarm))))
            }
            Command::ClearAlarm { member, kind } => {
                Ok(self.alter(|cluster| Outcome::Alarms(cluster.alarms.clear(member, kind))))
            }
            Command::Publish { member, name, client_urls } => {
                self.change_members(|list| list.publish(member, name, client_urls))
            }
            Command::UpdateMember { member, peer_urls } => {
                self.change_members(|list| list.update(index, member, peer_urls))
            }
            Command::SetClusterVersion(version) => Ok(self.alter(|cluster| {
                cluster.version = Some(version);
                Outcome::Applied
            })),
        }
    }

    /// Runs one write to the key space. An error means that nothing was written.
    fn write(
        &self,
        change: impl FnOnce(&mut WriteTxn<'_>) -> Result<Outcome, Rejection>,
    ) -> Result<Done, Rejection> {
        let mut txn = self.state.store().write();
        let outcome = change(&mut txn)?;
        let (revision, events) = txn.commit();
        Ok(Done { outcome, revision, events })
    }

    /// Changes what lies beside the key space.
    fn alter(&self, change: impl FnOnce(&mut Cluster) -> Outcome) -> Done {
        let mut cluster = Cluster::clone(&self.state.cluster());
        let outcome = change(&mut cluster);
        self.state.set_cluster(cluster);
        Done { outcome, revision: self.state.store().revision(), events: Vec::new() }
    }

    fn change_members<E>(&self, change: impl FnOnce(&mut Members) -> Result<(), E>) -> Result<Done, Rejection>
    where
        Rejection: From<E>,
    {
        let mut members = Members::clone(&self.state.members());
        change(&mut members)?;
        Ok(self.alter(|cluster| {
            cluster.members = Arc::new(members);
            Outcome::Members(cluster.members.to_vec())
        }))
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.state.store().close();
    }
}

struct Done {
    outcome: Outcome,
    revision: Revision,
    events: Vec<Event>,
}

/// What the alarm CORRUPT forbids.
fn touches_keys(command: &Command) -> bool {
    matches!(command, Command::Put(_) | Command::DeleteRange(_) | Command::Txn(_) | Command::Compact { .. })
}

/// What the alarm NOSPACE forbids: whatever might put, on whichever path.
fn puts(command: &Command) -> bool {
    match command {
        Command::Put(_) => true,
        Command::Txn(op) => txn_puts(op),
        _ => false,
    }
}

fn txn_puts(op: &TxnOp) -> bool {
    op.success.iter().chain(&op.failure).any(|step| match step {
        Op::Put(_) => true,
        Op::Txn(op) => txn_puts(op),
        Op::Range(_) | Op::Delete(_) => false,
    })
}

//! Starting a member's Raft on a thread of its own.

use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use tokio::runtime;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use super::applied::Applied;
use super::courier::Courier;
use super::error::StartError;
use super::handle::Handle;
use super::log_store::LogStore;
use super::proposals::Proposals;
use super::shared::{OnApplied, Shared};
use super::state_machine::StateMachine;
use super::transport::{Names, Network};
use super::types::Raft;
use super::{admit, courier, failover, read_index, status, submit};
use crate::apply::Applier;
use crate::storage::Checkpoints;
use crate::storage::wal::{Recovered, Wal};
use crate::types::{ClusterId, MemberId};

/// How often a leader shows itself, and how long its silence is borne (`--heartbeat-interval`,
/// `--election-timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub heartbeat: Duration,
    /// An election begins one to two of these after the last heartbeat.
    pub election: Duration,
}

impl Timing {
    /// Time to resolve a name, connect and be welcomed.
    pub(super) fn dial_timeout(&self) -> Duration {
        self.election.max(Duration::from_secs(1))
    }

    /// How long a link may be silent before it counts as dead. Generous, for a busy machine is not a
    /// dead one: elections do not hang on it.
    pub(super) fn link_patience(&self) -> Duration {
        (3 * self.election).max(Duration::from_secs(3))
    }

    pub(super) fn ping_interval(&self) -> Duration {
        self.election / 2
    }
}

/// Everything a member's Raft stands on.
pub struct Start {
    pub me: MemberId,
    pub cluster: ClusterId,
    pub wal: Wal,
    pub recovered: Recovered,
    pub checkpoints: Checkpoints,
    /// Empty; the newest checkpoint is restored into it here.
    pub applier: Applier,
    pub timing: Timing,
    /// Applied entries after which a checkpoint is made (`--snapshot-count`).
    pub snapshot_count: u64,
    /// Entries kept behind a checkpoint for members that lag (`--experimental-snapshot-catchup-entries`).
    pub catchup_entries: u64,
    pub pre_vote: bool,
    /// Largest encoded proposal (`--max-request-bytes`).
    pub max_request_bytes: usize,
    pub on_applied: OnApplied,
    pub names: Names,
}

/// Restores what the disk holds, applies the log up to what is known to be committed, and starts.
/// Blocks until that is done, so that nothing older than before the restart is ever served.
///
/// # Errors
/// When the checkpoint or the log cannot be read, or the timing makes no sense.
pub fn start(start: Start) -> Result<Handle, StartError> {
    let config = config(&start)?;
    let callers = Callers { courier: Courier::here(), runtime: runtime::Handle::try_current().ok() };
    let (tell, told) = mpsc::channel();
    let body = move || match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(start, config, &callers, &tell)),
        // The receiver waits for exactly one message.
        Err(error) => drop(tell.send(Err(StartError::Thread(error)))),
    };
    thread::Builder::new().name("raft".into()).spawn(body).map_err(StartError::Thread)?;
    told.recv().unwrap_or_else(|_| Err(StartError::Raft("its thread ended".into())))
}

/// The thread that starts the member, and calls it.
struct Callers {
    courier: Courier,
    runtime: Option<runtime::Handle>,
}

type Tell = mpsc::Sender<Result<Handle, StartError>>;

/// The Raft thread: open, tell how that went, work until stopped.
async fn run(start: Start, config: Config, callers: &Callers, tell: &Tell) {
    match open(start, config, callers).await {
        Ok(shared) => {
            // The starter waits for exactly one message.
            let _ = tell.send(Ok(Handle { shared: Arc::clone(&shared) }));
            shared.stop.cancelled().await;
            close(&shared).await;
        }
        Err(error) => drop(tell.send(Err(error))),
    }
}

async fn open(start: Start, config: Config, callers: &Callers) -> Result<Arc<Shared>, StartError> {
    let log = LogStore::open(start.wal.clone(), &start.recovered).map_err(StartError::Log)?;
    let shared = share(&start, &callers.courier, &log);
    let state_machine = StateMachine::open(
        start.applier,
        start.checkpoints,
        start.snapshot_count,
        Arc::clone(&shared),
        start.on_applied,
    )
    .map_err(StartError::Checkpoint)?;
    let network = Network(Arc::clone(&shared));
    let raft = Raft::new(start.me, Arc::new(config), network, log, state_machine).await;
    let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
    // Set once, here.
    let _ = shared.raft.set(raft);
    shared.spawn(status::follow(Arc::clone(&shared)));
    shared.spawn(submit::run(Arc::clone(&shared)));
    shared.spawn(read_index::run(Arc::clone(&shared)));
    courier::ring_for_readers(&shared, callers.runtime.as_ref());
    shared.spawn(failover::run(Arc::clone(&shared)));
    shared.spawn(admit::run(Arc::clone(&shared)));
    shared.spawn(make_checkpoints(Arc::clone(&shared)));
    Ok(shared)
}

fn share(start: &Start, courier: &Courier, log: &LogStore) -> Arc<Shared> {
    Arc::new(Shared {
        me: start.me,
        cluster: start.cluster,
        timing: start.timing,
        max_request_bytes: start.max_request_bytes,
        runtime: runtime::Handle::current(),
        state: start.applier.state(),
        checkpoints: start.checkpoints.clone(),
        names: start.names.clone(),
        applied: Applied::new(courier.clone()),
        proposals: Proposals::new(courier.clone()),
        reads: Default::default(),
        promise: log.promise(),
        led: Default::default(),
        peers: Default::default(),
        status: watch::Sender::new(status::Status { me: start.me, ..Default::default() }),
        leader_clock: Default::default(),
        campaigns: Default::default(),
        memberships: watch::Sender::new(0),
        removed: watch::Sender::new(false),
        fault: watch::Sender::new(None),
        committed_hint: log.hint(),
        checkpoint_due: Notify::new(),
        changing: Mutex::new(()),
        stop: CancellationToken::new(),
        stopped: CancellationToken::new(),
        raft: OnceLock::new(),
    })
}

/// Asks openraft for a checkpoint whenever the state machine says one is due. openraft drops the log
/// behind it, but for the entries that it keeps for members that lag.
async fn make_checkpoints(shared: Arc<Shared>) {
    loop {
        shared.checkpoint_due.notified().await;
        let Ok(raft) = shared.raft() else { return };
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

async fn close(shared: &Shared) {
    if let Ok(raft) = shared.raft() {
        // An error means that its task is gone already.
        let _ = raft.shutdown().await;
    }
    shared.committed_hint.write();
    shared.peers.close();
    shared.proposals.stop();
    shared.reads.stop();
    shared.applied.stop();
    shared.stopped.cancel();
}

fn config(start: &Start) -> Result<Config, StartError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (heartbeat, election) = (millis(start.timing.heartbeat), millis(start.timing.election));
    let config = Config {
        heartbeat_interval: heartbeat,
        // An election begins `max` plus a random time between `min` and `max` after the last
        // heartbeat. `min` is also how long openraft waits for a vote, which costs the voter a sync:
        // on a slow disk one heartbeat interval would be too little.
        election_timeout_min: (heartbeat + 1).max(election / 4),
        election_timeout_max: election,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: start.catchup_entries,
        max_payload_entries: 4096,
        enable_pre_vote: Some(start.pre_vote),
        enable_leader_restore: Some(false),
        removed_leader_step_down: StepDownPolicy::After(20),
        install_snapshot_timeout: 600_000,
        ..Config::default()
    };
    config.validate().map_err(|error| StartError::Timing {
        heartbeat_ms: heartbeat,
        election_ms: election,
        reason: error.to_string(),
    })
}

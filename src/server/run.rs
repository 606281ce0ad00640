//! Start, wait, stop.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::compactor;
use super::config::Config;
use super::facts::{Running, count_events, count_leader_changes};
use super::peer_port::PeerPort;
use super::port::{self, Http, Stage};
use super::publish;
use crate::apply::{Applier, State};
use crate::bootstrap::{self, Founding, Identity, Standing};
use crate::client::Names;
use crate::clock::{Clock, SystemClock};
use crate::raft::{self, Handle};
use crate::rpc;
use crate::storage::{self, Checkpoints, DataDir, wal};
use crate::telemetry::health::{self, Facts};
use crate::telemetry::http_guard::{Guard, guarded};
use crate::telemetry::metrics::Metrics;
use crate::types::{ETCD_VERSION, KVORUM_VERSION, MemberId};
use crate::watch::Hub;

/// How long connections may take to finish once the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// How a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The member was removed from its cluster.
    Removed,
}

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Port(io::Error),
    #[error(transparent)]
    DataDir(#[from] storage::OpenError),
    #[error(transparent)]
    Log(#[from] wal::Error),
    #[error("compaction thread: {0}")]
    Thread(io::Error),
    #[error("checkpoints: {0}")]
    Checkpoints(io::Error),
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::Error),
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    #[error("founding: {0}")]
    Founding(raft::Error),
    #[error(transparent)]
    Fault(#[from] raft::Fault),
}

/// Runs a member until `stop`, its removal, or a fault.
pub async fn run(config: Config, stop: CancellationToken) -> Result<Ended, Error> {
    tracing::info!(
        etcd_version = ETCD_VERSION,
        kvorum_version = KVORUM_VERSION,
        name = config.name,
        data_dir = %config.data_dir.display(),
        heartbeat_interval = ?config.heartbeat,
        election_timeout = ?config.election,
        snapshot_count = config.snapshot_count,
        "starting a member"
    );
    config.log_notes();
    let metrics = Metrics::new(config.extensive_metrics);
    metrics.set_features(&config.feature_gates);
    metrics.log_slow_calls(config.warning_unary_request);
    let data = DataDir::open(&config.data_dir, config.wal_dir.as_deref())?;
    let names = Names::asking(config.name_servers.iter().copied());
    let founding = Founding::new(config.first_start.clone(), &data, names)?;
    let ports = Ports::open(&config, &founding, &metrics)?;
    let come = async {
        match founding.identity().await {
            Err(bootstrap::Error::Refused(reason)) if config.hold_when_refused => {
                founding.stay_refused(&reason).await;
                Err(bootstrap::Error::Refused(reason))
            }
            identity => identity,
        }
    };
    let identity = tokio::select! {
        identity = come => identity?,
        () = stop.cancelled() => {
            ports.close().await;
            return Ok(Ended::Stopped);
        }
    };
    let member = match Member::start(&config, &data, &identity, &metrics).await {
        // A crash loop would tell nobody anything.
        Err(Error::Log(corrupt @ wal::Error::Corrupt { .. })) => {
            let reason = corrupt.to_string();
            tokio::select! {
                () = founding.stay_out(&reason) => {}
                () = stop.cancelled() => {}
            }
            ports.close().await;
            return Ok(Ended::Stopped);
        }
        started => started?,
    };
    tokio::spawn(count_leader_changes(member.raft.clone(), metrics.clone()));
    founding.running(member.standing());
    ports.go_live(&config, &identity, &member, &metrics);
    tracing::info!(local_member_id = %identity.me, cluster_id = %identity.cluster, "member started");
    let ended = member.wait(&config, &identity, &stop).await;
    tracing::info!(?ended, "stopping");
    member.raft.shutdown(config.request_timeout()).await;
    // Streams never end by themselves, and connections wait for their streams.
    member.hub.close();
    ports.close().await;
    ended
}

/// The parts that live once it is known who the member is.
struct Member {
    raft: Handle,
    state: State,
    hub: Hub,
    clock: Arc<dyn Clock>,
}

impl Member {
    async fn start(
        config: &Config,
        data: &DataDir,
        identity: &Identity,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let (fsync, written) = (metrics.clone(), metrics.clone());
        let options = wal::Options {
            on_sync: Some(Arc::new(move |took| fsync.disk.wal_fsync.observe(took))),
            on_write: Some(Arc::new(move |bytes| written.disk.count_written(bytes))),
            unsafe_no_fsync: config.unsafe_no_fsync,
            ..wal::Options::default()
        };
        let (wal, recovered) = wal::Wal::open(data.wal(), options)?;
        let checkpoints =
            Checkpoints::open(&data.snap(), config.max_snapshots.unwrap_or(0)).map_err(Error::Checkpoints)?;
        let applier = Applier::new();
        let state = applier.state();
        let store = state.store().clone();
        thread::Builder::new()
            .name("compaction".into())
            .spawn(move || store.trim_until_closed())
            .map_err(Error::Thread)?;
        let hub = Hub::new(state.store().clone());
        let (watchers, written) = (hub.clone(), metrics.clone());
        let raft = raft::start(raft::Start {
            me: identity.me,
            cluster: identity.cluster,
            wal,
            recovered,
            checkpoints,
            applier,
            timing: raft::Timing { heartbeat: config.heartbeat, election: config.election },
            snapshot_count: config.snapshot_count,
            catchup_entries: config.snapshot_catchup_entries,
            pre_vote: config.pre_vote,
            max_request_bytes: config.max_request_bytes,
            on_applied: Box::new(move |revision, events| {
                count_events(&written, events);
                watchers.notify(revision, events);
            }),
            names: names_of_peers(config),
        })?;
        if let Some(founders) = &identity.founders {
            raft.found(founders.clone()).await.map_err(Error::Founding)?;
        }
        metrics.identify(identity.me);
        Ok(Self { raft, state, hub, clock: Arc::new(SystemClock) })
    }

    /// What `bootstrap` tells others about this member from now on.
    fn standing(&self) -> bootstrap::Running {
        let (raft, state) = (self.raft.clone(), self.state.clone());
        let standing = move || {
            let status = raft.status();
            Standing {
                is_learner: status.role == raft::Role::Learner,
                is_removed: state.members().is_removed(status.me),
                leader: status.leader,
                term: status.term.0,
                last_index: status.last_log.0,
                committed: status.committed.0,
                applied: status.applied.0,
            }
        };
        let state = self.state.clone();
        bootstrap::Running {
            standing: Box::new(standing),
            members: Box::new(move || state.members().to_vec()),
        }
    }

    /// Tells the cluster about this member, then waits for the end.
    async fn wait(
        &self,
        config: &Config,
        identity: &Identity,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let client_urls: Vec<String> = config.advertise_client.iter().map(ToString::to_string).collect();
        let work = async {
            publish::attributes(&self.raft, &self.state, identity.me, &config.name, &client_urls).await;
            notify_ready();
            tracing::info!("ready to serve client requests");
            publish::cluster_version(self.raft.clone(), self.state.clone()).await;
            self.compact(config).await
        };
        tokio::select! {
            () = stop.cancelled() => Ok(Ended::Stopped),
            () = self.raft.removed() => self.removed(config, identity.me, stop).await,
            fault = self.raft.fault() => Err(fault.into()),
            never = work => match never {},
        }
    }

    /// Compacts by itself where that is asked for; never ends.
    async fn compact(&self, config: &Config) -> Infallible {
        if let Some(mode) = config.auto_compaction {
            let store = self.state.store().clone();
            compactor::run(mode, self.raft.clone(), store, Arc::clone(&self.clock)).await;
        }
        std::future::pending().await
    }

    /// A removed member exits, as in etcd; under an operator it stays up and says what it is.
    async fn removed(&self, config: &Config, me: MemberId, stop: &CancellationToken) -> Result<Ended, Error> {
        tracing::warn!(local_member_id = %me, "the member has been permanently removed from the cluster");
        if config.hold_when_removed {
            stop.cancelled().await;
        }
        Ok(Ended::Removed)
    }
}

/// The open ports and what they answer now.
struct Ports {
    stop: CancellationToken,
    tracker: TaskTracker,
    client: Stage,
    client_http: Stage,
    metrics: Stage,
    peer: Stage,
    raft: Arc<OnceLock<Handle>>,
    /// Bootstrap's own routes, served from the first moment to the last.
    state_routes: Router,
    founding_routes: Router,
}

impl Ports {
    /// Opens every port; until the member runs they tell what it waits for.
    fn open(config: &Config, founding: &Founding, metrics: &Metrics) -> Result<Self, Error> {
        let http = Http { streams_max: config.max_concurrent_streams, keepalive: config.keepalive };
        let facts = founding.facts();
        let starting = founding.client_routes().merge(rpc::not_running());
        let starting = starting.merge(health::routes(facts.clone(), metrics.clone()));
        let ports = Self {
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            client: Stage::new(starting.clone()),
            client_http: Stage::new(starting),
            metrics: Stage::new(health::metrics_routes(facts.clone(), metrics.clone())),
            peer: Stage::new(founding.peer_routes().merge(health::version_route(facts, metrics.clone()))),
            raft: Arc::default(),
            state_routes: founding.client_routes(),
            founding_routes: founding.peer_routes(),
        };
        for url in &config.listen.peer {
            let port = PeerPort { stage: ports.peer.clone(), http, raft: Arc::clone(&ports.raft) };
            let listener = port::listen(url, config.socket).map_err(Error::Port)?;
            tokio::spawn(port.serve(listener, ports.stop.clone(), ports.tracker.clone()));
        }
        let sets = [
            (&config.listen.client, &ports.client),
            (&config.listen.client_http, &ports.client_http),
            (&config.listen.metrics, &ports.metrics),
        ];
        for (urls, stage) in sets {
            for url in urls {
                let listener = port::listen(url, config.socket).map_err(Error::Port)?;
                ports.serve(listener, stage, http);
            }
        }
        Ok(ports)
    }

    fn serve(&self, listener: TcpListener, stage: &Stage, http: Http) {
        tokio::spawn(port::serve(listener, stage.clone(), http, self.stop.clone(), self.tracker.clone()));
    }

    /// Replaces "starting" by the member's services.
    fn go_live(&self, config: &Config, identity: &Identity, member: &Member, metrics: &Metrics) {
        let facts: Arc<dyn Facts> = Arc::new(Running {
            raft: member.raft.clone(),
            state: member.state.clone(),
            hub: member.hub.clone(),
            request_timeout: config.request_timeout(),
            quota_bytes: quota_bytes(config),
        });
        let guard = Guard { origins: config.cors.clone(), hosts: config.host_whitelist.clone() };
        let http = health::routes(facts.clone(), metrics.clone()).merge(self.state_routes.clone());
        let http = guarded(http, guard);
        let grpc = services(config, identity, member, metrics).routes();
        if config.listen.client_http.is_empty() {
            self.client.replace(grpc.merge(http));
        } else {
            self.client.replace(grpc);
            self.client_http.replace(http);
        }
        self.metrics.replace(health::metrics_routes(facts.clone(), metrics.clone()));
        let peer = self.founding_routes.clone();
        self.peer.replace(peer.merge(health::version_route(facts, metrics.clone())));
        // Set once, here.
        let _ = self.raft.set(member.raft.clone());
    }

    async fn close(self) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(DRAIN_MAX, self.tracker.wait()).await.is_err() {
            tracing::warn!(connections = self.tracker.len(), "connections did not finish in time");
        }
    }
}

fn services(config: &Config, identity: &Identity, member: &Member, metrics: &Metrics) -> rpc::Services {
    rpc::Services {
        cluster: identity.cluster,
        me: identity.me,
        handle: member.raft.clone(),
        state: member.state.clone(),
        hub: member.hub.clone(),
        clock: Arc::clone(&member.clock),
        metrics: metrics.clone(),
        limits: rpc::Limits {
            txn_ops_max: config.max_txn_ops,
            request_bytes_max: config.max_request_bytes,
            election: config.election,
            progress_interval: config.watch_progress_notify_interval,
            strict_reconfig: config.strict_reconfig_check,
            learners_max: config.max_learners,
            quota_bytes: quota_bytes(config),
        },
    }
}

/// A resolver of its own: raft has its own runtime.
fn names_of_peers(config: &Config) -> raft::Names {
    let names = Names::asking(config.name_servers.iter().copied());
    raft::Names::by(move |name| {
        let names = names.clone();
        async move { names.addresses(&name).await }
    })
}

fn quota_bytes(config: &Config) -> i64 {
    config.quota_bytes().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(config.quota_backend_bytes)
}

/// Tells the service manager that started us, where there is one (sd_notify's protocol).
fn notify_ready() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|datagram| datagram.send_to(b"READY=1", std::path::Path::new(&socket)));
    if let Err(error) = sent {
        tracing::warn!(%error, "failed to notify the service manager");
    }
}

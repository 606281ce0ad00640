//! How a member comes to a cluster: disk and flags -> [`Begin`] -> `roll` (who the members are, from the
//! flags, a discovery service or SRV records) -> found or join -> [`Identity`].
//!
//! What is decided is pure (`begin`, `discovery/roster`, `srv::judge`, `handshake`); `discovery`, `srv`, `found` and `join` ask
//! services and peers and carry it out; `routes` answers them. An empty disk never founds a second cluster, and a member ID that has once started
//! never starts again from an empty disk: `handshake` says why that holds.

mod begin;
pub mod discovery;
mod facts;
mod first_start;
mod found;
mod handshake;
mod identity;
pub mod ids;
mod initial_cluster;
mod join;
mod peer_http;
mod report;
mod roll;
mod routes;
mod shared;
mod srv;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use begin::{Begin, begin};
pub use first_start::{ClusterState, FirstStart, Source};
use found::Founded;
pub use identity::Identity;
pub use initial_cluster::InitialCluster;
pub use report::{Position, Report, ServerState, Standing, Waiting};
use shared::Shared;
pub use shared::{DiskError, Running};
pub use srv::SrvSource;

use crate::client::Names;
use crate::storage::DataDir;
use crate::telemetry::health::Facts;

/// Why a member cannot come to a cluster by waiting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The flags do not fit together or do not fit the cluster; in etcd's words where it has some.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A member on its way into a cluster, and what it tells others meanwhile and afterwards.
pub struct Founding {
    shared: Arc<Shared>,
    first: FirstStart,
}

impl Founding {
    /// Reads who this member is. Nothing is decided yet; the routes answer from now on.
    pub fn new(first: FirstStart, data: &DataDir, names: Names) -> Result<Founding, Error> {
        Ok(Founding { shared: Arc::new(Shared::open(data, names)?), first })
    }

    /// Finds out who this member is, and in which cluster; durable when it returns. Waits as long as it takes,
    /// for ever where the disk must stay out; the report says for what.
    ///
    /// # Errors
    /// [`Error::Refused`] for mistakes that no waiting mends, [`Error::Disk`].
    pub async fn identity(&self) -> Result<Identity, Error> {
        let document = self.shared.document();
        let owner = self.shared.owner()?;
        match begin(document.as_ref(), owner.as_ref(), self.first.state) {
            Begin::Start(identity) => {
                if !matches!(self.first.source, Source::Listed(_)) {
                    tracing::warn!("discovery flags are ignored since the member has already started");
                }
                return Ok(identity);
            }
            Begin::StayOut(reason) => self.stay_out(&reason).await,
            Begin::Found => {
                let roll = roll::call(&self.shared, &self.first).await?;
                if let Founded::Invited { cluster, me } =
                    found::found(&self.shared, &self.first, &roll).await?
                {
                    tracing::info!(cluster_id = %cluster, local_member_id = %me, "a running cluster expects this member");
                    join::join_invited(&self.shared, &roll, cluster, me).await?;
                }
            }
            Begin::Join(resume) => {
                let roll = roll::call(&self.shared, &self.first).await?;
                join::join(&self.shared, &roll, resume).await?;
            }
        }
        let settled = self.shared.document().and_then(|document| document.identity());
        settled.ok_or_else(|| Error::Refused("the way into the cluster ended without an identity".to_owned()))
    }

    /// Holds the member in state refused for this reason; never returns.
    pub async fn stay_refused(&self, reason: &str) {
        self.shared.set_report(ServerState::Refused, reason, Vec::new());
        tracing::error!(state = ServerState::Refused.as_str(), reason, "the member cannot come to a cluster");
        std::future::pending::<()>().await;
    }

    /// Holds the member in state safe for this reason; never returns.
    pub async fn stay_out(&self, reason: &str) {
        self.shared.set_report(ServerState::Safe, reason, Vec::new());
        tracing::error!(state = ServerState::Safe.as_str(), reason, "the disk cannot be trusted");
        std::future::pending::<()>().await;
    }

    /// For the peer port: the handshake and `/members`, from the first moment to the last.
    pub fn peer_routes(&self) -> Router {
        routes::peer(self.shared.clone())
    }

    /// For the client port: `/kvorum/state`, from the first moment to the last.
    pub fn client_routes(&self) -> Router {
        routes::client(self.shared.clone())
    }

    /// What probes are told until the member runs.
    pub fn facts(&self) -> Arc<dyn Facts> {
        Arc::new(facts::Starting { shared: self.shared.clone() })
    }

    /// From now on the report and the member list are the running member's. While there is no leader, who is
    /// missing is looked up now and then, and logged when it changes.
    pub fn running(&self, running: Running) {
        self.shared.set_running(running);
        tokio::spawn(watch_leader(Arc::downgrade(&self.shared)));
    }

    /// The report of this moment, as `/kvorum/state` tells it without asking peers.
    pub fn report(&self) -> Report {
        self.shared.own_report()
    }
}

/// How often a member looks whether it has a leader.
const LEADER_LOOK: Duration = Duration::from_secs(5);

async fn watch_leader(shared: std::sync::Weak<Shared>) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(LEADER_LOOK).await;
        let Some(shared) = shared.upgrade() else { return };
        let leaderless =
            shared.standing().is_some_and(|standing| standing.leader.is_none() && !standing.is_removed);
        let summary = if leaderless { shared.full_report().await.summary() } else { String::new() };
        if leaderless && summary != said {
            tracing::warn!(reason = summary, "no leader");
        }
        said = summary;
    }
}

#[cfg(test)]
mod tests;

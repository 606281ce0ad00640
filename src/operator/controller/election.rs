//! Only one replica works at a time: the one that holds the Lease.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;

use super::Options;

/// How long a Lease holds that is not renewed: the longest pause when its holder dies.
const LEASE_SECONDS: u64 = 15;

/// So long before its end it is renewed; clocks of two nodes may differ by as much.
const RENEW_BEFORE_END_SECONDS: u64 = 5;

/// A place in the line for the Lease.
pub(super) struct Election {
    held: Receiver<bool>,
    manager: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Election {
    pub(super) async fn enter(client: Client, options: &Options) -> Result<Election, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, &options.lease_name)
            .with_namespace(&options.lease_namespace)
            .with_identity(&options.identity)
            .with_duration(LEASE_SECONDS)
            .with_grace(RENEW_BEFORE_END_SECONDS)
            .build()
            .await?;
        let (held, manager) = manager.watch().await;
        Ok(Election { held, manager })
    }

    /// Returns once this replica holds the Lease.
    pub(super) async fn won(&mut self) {
        self.until(true).await;
    }

    /// Returns once it does not any more.
    pub(super) async fn lost(&mut self) {
        self.until(false).await;
    }

    async fn until(&mut self, wanted: bool) {
        // The manager ends only after this receiver; if it ends before, nothing is held.
        if self.held.wait_for(|held| *held == wanted).await.is_err() && wanted {
            std::future::pending().await
        }
    }

    /// Gives the Lease back, so that the next one need not wait for its end.
    pub(super) async fn leave(self) {
        drop(self.held);
        if let Ok(Err(error)) = self.manager.await {
            tracing::warn!(%error, "lease not given back");
        }
    }
}

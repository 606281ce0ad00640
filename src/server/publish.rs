//! What a member says of itself to the cluster after it started: its name, its client URLs, and, when it
//! leads, the version that all members speak.

use std::time::Duration;

use crate::apply::{Command, State};
use crate::membership::Member;
use crate::raft::Handle;
use crate::types::{CLUSTER_VERSION, MemberId};

/// Pause after a proposal that did not get through; the cluster may have no leader yet.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Proposes name and client URLs until the cluster knows them. Returns at once where it does already.
pub(super) async fn attributes(
    raft: &Handle,
    state: &State,
    me: MemberId,
    name: &str,
    client_urls: &[String],
) {
    let known = |member: &Member| member.name == name && member.client_urls == client_urls;
    while !state.members().get(me).is_some_and(known) {
        let command =
            Command::Publish { member: me, name: name.to_owned(), client_urls: client_urls.to_vec() };
        if let Err(error) = raft.propose(command).await {
            tracing::debug!(%error, "failed to publish local member to cluster");
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
    tracing::info!(local_member_id = %me, name, "published local member to cluster through raft");
}

/// Whenever this member leads and no version is decided, decides it.
pub(super) async fn cluster_version(raft: Handle, state: State) {
    let mut status = raft.subscribe();
    loop {
        if state.cluster_version().is_some() {
            return;
        }
        if raft.status().is_leader() {
            let command = Command::SetClusterVersion(CLUSTER_VERSION.to_owned());
            if raft.propose(command).await.is_err() {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        } else if status.changed().await.is_err() {
            return;
        }
    }
}

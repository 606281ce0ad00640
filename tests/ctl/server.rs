//! A cluster that can begin again, of real etcd or of ours: the same addresses, the same identities, no data.

use kvorum::client::Consistency;

use crate::common::address::Address;
use crate::common::bench::Bench;
use crate::common::cluster::{Cluster, Plan};
use crate::common::member::PATIENCE;
use crate::common::tools::Server;
use crate::common::wait::{holds, until};

/// What a cluster needs to begin again.
pub(super) struct Place(Vec<Address>);

impl Place {
    pub(super) fn new(members: usize) -> Place {
        Place((0..members).map(|_| Address::claim()).collect())
    }

    /// Starts all members without data and waits until nothing of their own is left to be written.
    pub(super) async fn begin(&self, bench: &Bench, server: &Server) -> Asked {
        let plan = Plan {
            server: server.clone(),
            members: self.0.len(),
            // Nobody pulls the plug.
            flags: vec!["--unsafe-no-fsync".to_owned()],
            ..Plan::default()
        };
        let mut cluster = Cluster::prepare_at(bench, plan, &self.0);
        cluster.start().await;
        until("the members to be under their final names and version", PATIENCE, async || {
            for member in &cluster.members {
                is_settled(&cluster, member).await?;
            }
            Ok(())
        })
        .await;
        Asked(cluster)
    }
}

async fn is_settled(cluster: &Cluster, member: &crate::common::member::Member) -> Result<(), String> {
    let client = member.client();
    let version = client.http_get("/version").await.map_err(|error| error.to_string())?.text();
    holds(version.contains("\"etcdcluster\":\"3.7.0\""), &version)?;
    let list = client.members(Consistency::Serializable).await.map_err(|error| error.to_string())?.members;
    let named = list.iter().all(|member| !member.name.is_empty());
    holds(named && list.len() == cluster.members.len(), &list)
}

/// A running cluster; it ends with this value.
pub(super) struct Asked(Cluster);

impl Asked {
    /// As `--endpoints` takes them.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.0.members.iter().map(|member| endpoint(&member.client_url)).collect()
    }

    pub(super) fn first_peer_url(&self) -> &str {
        &self.0.members[0].peer_url
    }

    /// The members' identities in the order of the member list.
    pub(super) async fn member_ids(&self) -> Vec<u64> {
        let list = self.0.client().members(Consistency::Serializable).await.expect("a list is answered");
        list.members.iter().map(|member| member.id).collect()
    }

    /// Identity and endpoint of each member, the leader first.
    pub(super) async fn leader_first(&mut self) -> Vec<(u64, String)> {
        let leader = self.0.leadership().await.id.0;
        let mut found = Vec::new();
        for member in &self.0.members {
            let id = member.id().await.0;
            found.push((id != leader, id, endpoint(&member.client_url)));
        }
        found.sort();
        found.into_iter().map(|(_, id, endpoint)| (id, endpoint)).collect()
    }
}

fn endpoint(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

//! The flags that matter until a member belongs to a cluster, and never again.

use std::time::Duration;

use super::discovery::{ServiceUrl, ServiceV3};
use super::initial_cluster::InitialCluster;
use super::srv::SrvSource;
use crate::flags::{HostUrl, Scheme, TLS_LATER};

/// What the flags say about founding or joining.
#[derive(Clone, Debug)]
pub struct FirstStart {
    pub name: String,
    pub state: ClusterState,
    pub token: String,
    pub source: Source,
    /// This member's own peer URLs.
    pub advertise_peer: Vec<HostUrl>,
    /// Found only after leave was given to this very disk.
    pub await_grant: bool,
    /// How long a discovery service may be away, or SRV records be incomplete, before that is final.
    pub patience: Duration,
}

/// Where the members are listed.
#[derive(Clone, Debug)]
pub enum Source {
    /// `--initial-cluster`, as the user wrote it.
    Listed(String),
    /// `--discovery`: a registry of etcd's v2 API, and the HTTP proxy on the way to it.
    DiscoveryV2 { url: ServiceUrl, proxy: Option<HostUrl> },
    /// `--discovery-token` and `--discovery-endpoints`: a registry in the key space of an etcd or a Kvorum.
    DiscoveryV3(ServiceV3),
    /// `--discovery-srv`: DNS records.
    Srv(SrvSource),
}

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

impl FirstStart {
    /// The members that `--initial-cluster` lists, checked as etcd checks them, but for the comparison of the
    /// own URLs, which may need name resolution: [`FirstStart::own_urls_differ`].
    ///
    /// # Errors
    /// In etcd's words.
    pub fn members(&self) -> Result<InitialCluster, String> {
        let Source::Listed(text) = &self.source else {
            return Err("initial cluster unset and no discovery URL found".to_owned());
        };
        let cluster = InitialCluster::parse(text)
            .map_err(|problem| format!("error setting up initial cluster: {problem}"))?;
        if let Some(url) = cluster.urls().find(|url| url.scheme() != Scheme::Http) {
            return Err(format!("--initial-cluster {url} is refused: {TLS_LATER}"));
        }
        if cluster.urls_of(&self.name).is_none() {
            let name = &self.name;
            return Err(format!("couldn't find local name {name:?} in the initial cluster configuration"));
        }
        if cluster.has_duplicate_url() {
            return Err(format!("initial cluster {cluster} has duplicate url"));
        }
        Ok(cluster)
    }

    /// etcd's text when the own URLs in `--initial-cluster` are not those of `--initial-advertise-peer-urls`;
    /// `resolution` is what comparing their addresses said. None: they are the same texts.
    pub fn own_urls_differ(&self, cluster: &InitialCluster, resolution: &str) -> Option<String> {
        let listed = cluster.urls_of(&self.name).unwrap_or_default();
        let advertised = &self.advertise_peer;
        let joined = |urls: &[&HostUrl]| urls.iter().map(|url| url.as_str()).collect::<Vec<_>>().join(",");
        let named = |urls: &[&HostUrl]| {
            urls.iter().map(|url| format!("{}={url}", self.name)).collect::<Vec<_>>().join(",")
        };
        let all: Vec<&HostUrl> = advertised.iter().collect();
        let not_advertised: Vec<&HostUrl> = listed.iter().filter(|url| !advertised.contains(url)).collect();
        if !not_advertised.is_empty() {
            return Some(format!(
                "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({resolution})",
                named(&not_advertised),
                joined(&all),
            ));
        }
        let not_listed: Vec<&HostUrl> = advertised.iter().filter(|url| !listed.contains(url)).collect();
        if !not_listed.is_empty() {
            return Some(format!(
                "--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                joined(&not_listed),
                named(&all),
            ));
        }
        None
    }
}

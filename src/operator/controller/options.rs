//! What `kvorum-operator run` is told, by flags or by the environment that the chart sets.

use std::net::SocketAddr;

use clap::Args;

use crate::operator::build::Image;

/// Settings of the operator in a Pod.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Namespaces whose clusters are managed, with commas between them; all when empty
    #[arg(long, env = "KVORUM_WATCH_NAMESPACES", value_delimiter = ',', default_value = "")]
    watch_namespaces: Vec<String>,

    /// Image of clusters that name none in spec.image
    #[arg(long, env = "KVORUM_SERVER_IMAGE", default_value = concat!("kvorum:", env!("CARGO_PKG_VERSION")))]
    server_image: String,

    /// How nodes get that image, and any other of members
    #[arg(long, env = "KVORUM_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,

    /// Where /metrics, /livez and /readyz are served
    #[arg(long, env = "KVORUM_LISTEN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,

    /// Whether to hold a Lease while working, so that further replicas stand by
    #[arg(long, env = "KVORUM_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Name of the Lease
    #[arg(long, env = "KVORUM_LEASE_NAME", default_value = "kvorum-operator")]
    pub lease_name: String,

    /// Namespace of the Lease: the operator's own
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,

    /// This replica among its like: the Pod's name
    #[arg(long, env = "POD_NAME", default_value_t = format!("kvorum-operator-{}", std::process::id()))]
    pub identity: String,

    /// Clusters that are worked on at the same time
    #[arg(long, env = "KVORUM_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// debug, info, warn or error
    #[arg(long, env = "KVORUM_LOG_LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error"])]
    pub log_level: String,

    /// How log lines look
    #[arg(long, env = "KVORUM_LOG_FORMAT", default_value = "json", value_parser = ["json", "console"])]
    pub log_format: String,
}

impl Options {
    /// The namespaces to watch; none means all.
    pub fn namespaces(&self) -> Vec<&str> {
        self.watch_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect()
    }

    pub fn image(&self) -> Image {
        Image { name: self.server_image.clone(), pull_policy: self.image_pull_policy.clone() }
    }
}

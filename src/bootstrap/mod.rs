//! How a member comes to a cluster.

pub mod ids;
mod initial_cluster;

pub use initial_cluster::InitialCluster;

//! Messages and services of the etcd v3 API, generated from the .proto files beside this one.
//!
//! Proto types stop in `rpc::parse` on the server's side, except inside a Command's encoding;
//! `client` and `ctl` speak them outright.

#![allow(clippy::all, unreachable_pub)]

/// Key-value records (`mvccpb`).
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// The etcd v3 services (`etcdserverpb`).
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// The gRPC health checking protocol.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The encoding of what the replicated log carries.
pub(crate) mod command {
    tonic::include_proto!("command");
}

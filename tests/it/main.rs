//! Real servers, started, stopped, killed and asked as users do.
//!
//! `KVORUM_TEST_SERVER` names another program with etcd's flags to tell the stories to; what only our
//! server does is marked [`common::bench::our_story`].

#[path = "../common/mod.rs"]
mod common;

mod bootstrap;
mod checkpoint;
mod command_line;
mod crash;
mod discovery;
mod discovery_v3;
mod empty_disk;
mod http;
mod leadership;
mod membership;
mod operator;
mod quota;
mod srv;
mod timing;
mod watch;

use kvorum::proto::etcdserverpb as pb;

/// A linearizable read of one key.
fn range_request(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

/// A linearizable read of all keys that begin with `prefix`.
fn prefix_request(prefix: &str) -> pb::RangeRequest {
    pb::RangeRequest { range_end: common::load::prefix_end(prefix).into(), ..range_request(prefix) }
}

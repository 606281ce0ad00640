//! Ours against real etcd: the same random requests to both, and the answers must be equal: fields, order,
//! revisions, gRPC codes and texts. Identities and URLs are normalised; the Raft term is left out
//! where votes may split.
//!
//! The seed is always the same, so that a landing depends on nothing but what lands; `KVORUM_SEED` sets another,
//! `KVORUM_SEED=new` a new one; `KVORUM_DIFFERENTIAL_SECONDS` sets how long each test goes on (default 25);
//! `KVORUM_TEST_SERVER` names another server to put in our place: real etcd tests the comparison itself.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "other test binaries pause members and judge histories")]
mod common;

mod answers;
mod cluster;
mod generate;
mod rounds;
mod stories;
mod watches;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::Cluster;
use common::bench::{Bench, Turn, story};
use common::tools;

/// What a test takes beside its random requests.
const BESIDE: Duration = Duration::from_secs(90);

fn seed() -> u64 {
    match std::env::var("KVORUM_SEED").as_deref() {
        Ok("new") => SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs(),
        Ok(seed) => seed.parse().expect("KVORUM_SEED is a number or \"new\""),
        Err(_) => 1_795_380_235,
    }
}

fn duration() -> Duration {
    let seconds = std::env::var("KVORUM_DIFFERENTIAL_SECONDS").ok();
    Duration::from_secs(seconds.map_or(25, |s| s.parse().expect("KVORUM_DIFFERENTIAL_SECONDS is a number")))
}

/// Ours and etcd, each of `size` members.
async fn pair(bench: &Bench, size: usize) -> anyhow::Result<[Cluster; 2]> {
    let (ours, etcd) = tokio::join!(
        Cluster::start(bench, tools::server(), size),
        Cluster::start(bench, tools::etcd(), size)
    );
    Ok([ours?, etcd?])
}

/// One test, on a bench of its own.
fn tell(test: impl AsyncFnOnce(&Bench) -> anyhow::Result<()>) {
    story(Turn::Shared, duration() + BESIDE, async |bench| {
        test(bench).await.unwrap_or_else(|error| panic!("{error:?}"));
    });
}

#[test]
fn random_requests_to_a_single_member() {
    tell(async |bench| rounds::run(pair(bench, 1).await?, seed(), duration()).await);
}

#[test]
fn random_requests_to_three_members() {
    tell(async |bench| rounds::run(pair(bench, 3).await?, seed(), duration()).await);
}

#[test]
fn told_stories_of_a_single_member() {
    tell(async |bench| stories::single(pair(bench, 1).await?).await);
}

#[test]
fn told_stories_of_three_members() {
    tell(async |bench| stories::three(pair(bench, 3).await?).await);
}

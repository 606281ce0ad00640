//! Heartbeat and election timings have the effect that they promise.

use std::time::{Duration, Instant};

use crate::common::bench::{Bench, Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::tools::server;

/// Beside the timings themselves: two rounds of messages with a sync each, and being scheduled on two
/// processors that other stories' members also use.
const SLACK: Duration = Duration::from_millis(500);

/// Pauses the leader, so that its connections stay up and only heartbeats are missing, and measures until
/// another leads. The last heartbeat left within one interval before the pause.
async fn elections_after_silence(bench: &Bench, cluster: &mut Cluster, count: usize) -> Vec<Duration> {
    let mut measured = Vec::new();
    for _ in 0..count {
        let before = cluster.leadership().await;
        let begun = Instant::now();
        cluster.members[before.leader].pause();
        cluster.next_leader(before, 10 * cluster.plan.election + SLACK).await;
        measured.push(begun.elapsed());
        cluster.members[before.leader].resume();
    }
    bench.note(&format!(
        "heartbeat {:?}, election {:?}: {measured:?}",
        cluster.plan.heartbeat, cluster.plan.election
    ));
    measured
}

/// An election begins T to 2T after the last heartbeat. Two members that begin it at the same moment may
/// split the votes; such a round is repeated, so that only the greater part must keep the upper bound.
fn assert_within_timeouts(plan: &Plan, measured: &[Duration]) {
    // etcd counts in ticks of one heartbeat, of which the first may have begun before the silence did.
    let tick = if server().is_ours { Duration::ZERO } else { plan.heartbeat };
    let earliest = plan.election - plan.heartbeat - tick;
    let latest = 2 * plan.election + SLACK;
    assert!(measured.iter().all(|time| *time >= earliest), "earlier than {earliest:?}: {measured:?}");
    let late = measured.iter().filter(|time| **time > latest).count();
    assert!(late * 3 <= measured.len(), "later than {latest:?} more often than votes split: {measured:?}");
}

#[test]
fn elections_begin_between_one_and_two_timeouts_after_the_last_heartbeat() {
    story(Turn::Alone, Duration::from_secs(60), async |bench| {
        let timing = |heartbeat, election| Plan {
            heartbeat: Duration::from_millis(heartbeat),
            election: Duration::from_millis(election),
            ..Plan::default()
        };
        let mut quick = Cluster::form(bench, timing(100, 500)).await;
        let measured = elections_after_silence(bench, &mut quick, 5).await;
        assert_within_timeouts(&quick.plan, &measured);
        drop(quick);
        let mut slow = Cluster::form(bench, timing(200, 2000)).await;
        let measured = elections_after_silence(bench, &mut slow, 2).await;
        assert_within_timeouts(&slow.plan, &measured);
    });
}

#[test]
fn timings_come_from_the_environment_too() {
    story(Turn::Alone, Duration::from_secs(60), async |bench| {
        let plan = Plan {
            heartbeat: Duration::from_millis(200),
            election: Duration::from_millis(2000),
            ..Plan::default()
        };
        let mut cluster = Cluster::prepare(bench, plan);
        for member in &mut cluster.members {
            member.flags.retain(|flag| !flag.starts_with("--heartbeat") && !flag.starts_with("--election"));
            member.environment = vec![
                ("ETCD_HEARTBEAT_INTERVAL".to_owned(), "200".to_owned()),
                ("ETCD_ELECTION_TIMEOUT".to_owned(), "2000".to_owned()),
            ];
        }
        cluster.start().await;
        let measured = elections_after_silence(bench, &mut cluster, 2).await;
        assert_within_timeouts(&cluster.plan, &measured);
    });
}

//! Heartbeat and election timings have the effect that they promise.

use std::time::{Duration, Instant};

use crate::common::bench::{Bench, Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::member::PATIENCE;
use crate::common::tools::server;

/// Most silences until the quickest election is judged: each may be late, for two members that begin at the
/// same moment split the votes, and on a busy machine all of them wait for a processor.
const SILENCES_MAX: usize = 20;

/// Pauses the leader again and again, so that its connections stay up and only heartbeats are missing, and
/// measures until another leads, `least` times and until one election was quick.
///
/// An election begins T to 2T after the last heartbeat: none may be earlier, and one must be seen that is
/// not later. The last heartbeat left within one interval before the pause.
async fn elections_begin_in_time(bench: &Bench, cluster: &mut Cluster, least: usize) {
    let Plan { heartbeat, election, .. } = cluster.plan;
    // etcd counts in ticks of one heartbeat, of which the first may have begun before the silence did.
    let tick = if server().is_ours { Duration::ZERO } else { heartbeat };
    let (earliest, latest) = (election - heartbeat - tick, 2 * election - heartbeat);
    let mut measured = Vec::new();
    while measured.len() < least || measured.iter().all(|time| *time > latest) {
        assert!(measured.len() < SILENCES_MAX, "all later than {latest:?}: {measured:?}");
        let before = cluster.leadership().await;
        let begun = Instant::now();
        cluster.members[before.leader].pause();
        cluster.next_leader(before, PATIENCE).await;
        let time = begun.elapsed();
        cluster.members[before.leader].resume();
        assert!(time >= earliest, "earlier than {earliest:?}: {time:?} after {measured:?}");
        measured.push(time);
    }
    bench.note(&format!("heartbeat {heartbeat:?}, election {election:?}: {measured:?}"));
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
        elections_begin_in_time(bench, &mut quick, 5).await;
        drop(quick);
        let mut slow = Cluster::form(bench, timing(200, 2000)).await;
        elections_begin_in_time(bench, &mut slow, 2).await;
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
        elections_begin_in_time(bench, &mut cluster, 2).await;
    });
}

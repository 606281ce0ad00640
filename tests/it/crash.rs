//! kill -9 of any member, of all, and of the leader again and again: nothing acknowledged is lost.

use std::time::{Duration, Instant};

use crate::common::bench::{Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::load::Load;

/// The client notices and asks again, two rounds of messages with a sync each, all on two processors
/// that the load also uses.
const SLACK: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(20);

#[test]
fn killing_each_member_and_then_all_loses_nothing() {
    story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let flags = vec!["--snapshot-count=300".to_owned()];
        let mut cluster = Cluster::form(bench, Plan { flags, ..Plan::default() }).await;
        let load = Load::start(&cluster, 4);
        load.progress(50, WITHIN).await;
        for at in 0..3 {
            cluster.members[at].kill();
            load.progress(50, WITHIN).await;
            cluster.start().await;
            load.progress(50, WITHIN).await;
        }
        for _ in 0..2 {
            cluster.members.iter_mut().for_each(|member| member.kill());
            cluster.start().await;
            load.progress(50, WITHIN).await;
        }
        let judged = load.judge(&mut cluster).await;
        bench.note(&format!("{judged:?}"));
    });
}

#[test]
fn killing_the_leader_again_and_again_loses_nothing_and_another_leads_soon() {
    story(Turn::Alone, Duration::from_secs(90), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let load = Load::start(&cluster, 4);
        let mut took = Vec::new();
        for _ in 0..5 {
            load.progress(30, WITHIN).await;
            let before = cluster.leadership().await;
            let begun = Instant::now();
            cluster.members[before.leader].kill();
            cluster.next_leader(before, WITHIN).await;
            took.push(begun.elapsed());
            load.progress(1, WITHIN).await;
            cluster.start().await;
        }
        let judged = load.judge(&mut cluster).await;
        bench.note(&format!("{judged:?}; kill to next leader: {took:?}"));
        let latest = 2 * cluster.plan.election + SLACK;
        assert!(took.iter().all(|time| *time <= latest), "later than {latest:?}: {took:?}");
    });
}

#[test]
fn a_paused_leader_that_wakes_up_tells_nobody_what_is_over() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let plan = Plan { election: Duration::from_millis(500), ..Plan::default() };
        let mut cluster = Cluster::form(bench, plan).await;
        let load = Load::start(&cluster, 4);
        for _ in 0..3 {
            load.progress(30, WITHIN).await;
            let before = cluster.leadership().await;
            cluster.members[before.leader].pause();
            cluster.next_leader(before, WITHIN).await;
            cluster.members[before.leader].resume();
        }
        load.progress(30, WITHIN).await;
        let judged = load.judge(&mut cluster).await;
        bench.note(&format!("{judged:?}"));
    });
}

//! kill -9 of any member, of all, and of the leader again and again: nothing acknowledged is lost.

use std::time::{Duration, Instant};

use kvorum::client::Client;
use tokio_util::sync::CancellationToken;

use crate::common::bench::{Turn, our_story, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::load::Load;
use crate::common::member::PATIENCE;
use crate::common::tools::server;
use crate::common::wait::{holds, until};

/// The client notices and asks again, two rounds of messages with a sync each, all on two processors
/// that the load also uses.
const SLACK: Duration = Duration::from_millis(500);

#[test]
fn killing_each_member_and_then_all_loses_nothing() {
    story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let flags = vec!["--snapshot-count=300".to_owned()];
        let mut cluster = Cluster::form(bench, Plan { flags, ..Plan::default() }).await;
        let load = Load::start(&cluster, 4);
        load.progress(50, PATIENCE).await;
        for at in 0..3 {
            cluster.members[at].kill();
            load.progress(50, PATIENCE).await;
            cluster.start().await;
            load.progress(50, PATIENCE).await;
        }
        for _ in 0..2 {
            cluster.members.iter_mut().for_each(|member| member.kill());
            cluster.start().await;
            load.progress(50, PATIENCE).await;
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
            load.progress(30, PATIENCE).await;
            let before = cluster.leadership().await;
            let begun = Instant::now();
            cluster.members[before.leader].kill();
            cluster.next_leader(before, PATIENCE).await;
            took.push(begun.elapsed());
            load.progress(1, PATIENCE).await;
            cluster.start().await;
        }
        let judged = load.judge(&mut cluster).await;
        bench.note(&format!("{judged:?}; kill to next leader: {took:?}"));
        let latest = 2 * cluster.plan.election + SLACK;
        assert!(took.iter().all(|time| *time <= latest), "later than {latest:?}: {took:?}");
    });
}

/// Reads at one member until `end`; the longest time between two answers.
async fn longest_silence(client: Client, end: CancellationToken) -> Duration {
    let (mut longest, mut answered) = (Duration::ZERO, Instant::now());
    while !end.is_cancelled() {
        if client.range(&crate::range_request("read")).await.is_ok() {
            longest = longest.max(answered.elapsed());
            answered = Instant::now();
        }
    }
    longest.max(answered.elapsed())
}

#[test]
fn readers_at_followers_wait_no_longer_than_for_the_next_leader() {
    story(Turn::Alone, Duration::from_secs(90), async |bench| {
        // So long that a wait for the leader that died would show.
        let plan = Plan {
            heartbeat: Duration::from_millis(500),
            election: Duration::from_secs(5),
            ..Plan::default()
        };
        let mut cluster = Cluster::form(bench, plan).await;
        cluster.put("read", "by all").await;
        let before = cluster.leadership().await;
        let end = CancellationToken::new();
        let followers = (0..3).filter(|at| *at != before.leader).map(|at| &cluster.members[at]);
        // Two of one kind, so that some wait for a round that is under way.
        let readers: Vec<_> = followers
            .flat_map(|member| [member.client().clone(), member.client().clone()])
            .map(|client| tokio::spawn(longest_silence(client, end.clone())))
            .collect();
        // The readers are at it, and the links were up for a while.
        for _ in 0..50 {
            cluster.put("read", "by all").await;
        }
        let begun = Instant::now();
        cluster.members[before.leader].kill();
        let after = cluster.next_leader(before, PATIENCE).await;
        let failover = begun.elapsed();
        for member in &mut cluster.members {
            if member.is_running() {
                until("a read", PATIENCE, async || {
                    let read = member.client().range(&crate::range_request("read")).await;
                    read.map_err(|error| error.to_string())
                })
                .await;
            }
        }
        end.cancel();
        let mut silences = Vec::new();
        for reader in readers {
            silences.push(reader.await.expect("a reader ends"));
        }
        bench.note(&format!("failover {failover:?} to {}, silences {silences:?}", after.leader));
        if server().is_ours {
            let latest = failover + cluster.plan.election / 2;
            assert!(silences.iter().all(|silence| *silence < latest), "{failover:?}: {silences:?}");
        }
    });
}

#[test]
fn a_member_that_is_gone_is_told_of_once_and_met_soon_when_it_returns() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let leader = cluster.leadership().await.leader;
        let gone = (leader + 1) % 3;
        let id = cluster.members[gone].id().await;
        let load = Load::start(&cluster, 4);
        load.progress(20, PATIENCE).await;
        let lines = |log: &str| log.lines().count();
        let before = lines(&cluster.members[leader].log_text());
        cluster.members[gone].kill();
        load.progress(500, PATIENCE).await;
        cluster.start().await;
        let about = format!("\"peer\":\"{id}\"");
        let told = until("the leader to tell that the member is back", PATIENCE, async || {
            let log = cluster.members[leader].log_text();
            let told = log.lines().skip(before).filter(|line| line.contains(&about));
            let told = told.map(str::to_owned).collect::<Vec<_>>();
            holds(told.iter().any(|line| line.contains("\"msg\":\"connected to peer\"")), &told)
                .map(|()| told)
        })
        .await;
        // What else a busy machine has the leader say is of no matter here.
        let is_of_peer = |line: &&String| line.contains(&id.to_string()) || line.contains("openraft");
        let of_peer: Vec<_> = told.iter().filter(is_of_peer).collect();
        assert!(of_peer[0].contains("lost connection to peer"), "{told:#?}");
        assert_eq!(of_peer.len(), 2, "one line when it goes and one when it returns: {told:#?}");
        cluster.assert_equal_stores().await;
        load.judge(&mut cluster).await;
    });
}

#[test]
fn a_paused_leader_that_wakes_up_tells_nobody_what_is_over() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let plan = Plan { election: Duration::from_millis(500), ..Plan::default() };
        let mut cluster = Cluster::form(bench, plan).await;
        let load = Load::start(&cluster, 4);
        for _ in 0..3 {
            load.progress(30, PATIENCE).await;
            let before = cluster.leadership().await;
            cluster.members[before.leader].pause();
            cluster.next_leader(before, PATIENCE).await;
            cluster.members[before.leader].resume();
        }
        load.progress(30, PATIENCE).await;
        let judged = load.judge(&mut cluster).await;
        bench.note(&format!("{judged:?}"));
    });
}

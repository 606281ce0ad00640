//! Watchers see every write once and in order, whatever happens to leaders and members.

use std::time::Duration;

use crate::common::bench::{Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::history;
use crate::common::load::{Load, PREFIX, events, put_request};
use crate::common::member::PATIENCE;

const END: &str = "load/~watched";

#[test]
fn watchers_on_every_member_have_no_gap_and_no_double_across_leader_changes() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let plan = Plan { election: Duration::from_millis(500), ..Plan::default() };
        let mut cluster = Cluster::form(bench, plan).await;
        let first = cluster.put("first", "of all").await + 1;
        let mut watchers = Vec::new();
        for client in cluster.members.iter().map(|member| member.client().clone()).chain([cluster.client()]) {
            watchers.push(tokio::spawn(async move { events(&client, PREFIX, first, END).await }));
        }
        let load = Load::start(&cluster, 3);
        load.progress(30, PATIENCE).await;

        let before = cluster.leadership().await;
        let target = cluster.members[(before.leader + 1) % 3].id().await;
        cluster.members[before.leader].client().move_leader(target).await.expect("leadership moves");
        load.progress(30, PATIENCE).await;

        let before = cluster.leadership().await;
        cluster.members[before.leader].pause();
        cluster.next_leader(before, PATIENCE).await;
        cluster.members[before.leader].resume();
        load.progress(30, PATIENCE).await;

        let before = cluster.leadership().await;
        cluster.members[before.leader].kill();
        cluster.next_leader(before, PATIENCE).await;
        cluster.start().await;
        load.progress(30, PATIENCE).await;

        let calls = load.stop().await;
        cluster.client().put(&put_request(END, "end")).await.expect("the last put succeeds");
        let whole = events(&cluster.client(), PREFIX, 1, END).await;
        for watcher in watchers {
            let seen = watcher.await.expect("no watcher fails");
            history::order_of_events(&seen).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(seen == whole, "a watcher saw {} events of {}", seen.len(), whole.len());
        }
        let written = &whole[..whole.len() - 1];
        let judged = history::judge(&calls, written).unwrap_or_else(|wrong| panic!("{wrong}"));
        bench.note(&format!("{judged:?}"));
    });
}

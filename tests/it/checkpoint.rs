//! Checkpoints: when they are made, and what they are good for.

use std::path::Path;
use std::time::Duration;

use crate::common::bench::{Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::member::PATIENCE;
use crate::common::wait::{holds, until};

/// Checkpoint files in a member's data folder.
fn checkpoints(data_dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(data_dir.join("member/snap")) else { return 0 };
    let is_checkpoint = |name: &str| name.ends_with(".snap") || name.ends_with(".checkpoint");
    entries.flatten().filter(|entry| is_checkpoint(&entry.file_name().to_string_lossy())).count()
}

async fn put_many(cluster: &Cluster, count: usize) {
    for number in 0..count {
        cluster.put(&format!("many/{}", number % 10), &number.to_string()).await;
    }
}

#[test]
fn a_checkpoint_is_made_after_snapshot_count_entries() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let one = || Plan { members: 1, ..Plan::default() };
        let mut by_flag =
            Cluster::prepare(bench, Plan { flags: vec!["--snapshot-count=100".into()], ..one() });
        by_flag.start().await;
        let mut by_variable = Cluster::prepare(bench, one());
        let member = &mut by_variable.members[0];
        member.environment = vec![("ETCD_SNAPSHOT_COUNT".to_owned(), "100".to_owned())];
        by_variable.start().await;
        for cluster in [&by_flag, &by_variable] {
            let data_dir = &cluster.members[0].data_dir;
            put_many(cluster, 50).await;
            assert_eq!(checkpoints(data_dir), 0, "too early");
            put_many(cluster, 60).await;
            until("a checkpoint", PATIENCE, async || {
                holds(checkpoints(data_dir) > 0, "there is none in the folder")
            })
            .await;
        }
    });
}

#[test]
fn a_member_that_lags_behind_the_log_catches_up_by_snapshot() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let flags = vec!["--snapshot-count=50".to_owned(), catch_up_entries(10)];
        let mut cluster = Cluster::form(bench, Plan { flags, ..Plan::default() }).await;
        put_many(&cluster, 10).await;
        let away = (cluster.leadership().await.leader + 1) % 3;
        cluster.members[away].kill();
        put_many(&cluster, 400).await;
        cluster.start().await;
        cluster.assert_equal_stores().await;
        let (all, behind) = (cluster.client(), cluster.members[away].client());
        let there = all.range(&crate::range_request("many/9")).await.expect("a read is answered");
        let here = behind.range(&crate::range_request("many/9")).await.expect("a read is answered");
        assert_eq!(here.kvs, there.kvs);
    });
}

fn catch_up_entries(count: usize) -> String {
    format!("--snapshot-catchup-entries={count}")
}

#[test]
fn everything_comes_back_from_checkpoint_and_log() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let flags = vec!["--snapshot-count=50".to_owned()];
        let mut cluster = Cluster::form(bench, Plan { flags, ..Plan::default() }).await;
        put_many(&cluster, 175).await;
        let everything = crate::prefix_request("many/");
        let before = cluster.client().range(&everything).await.expect("a read is answered");
        for _ in 0..2 {
            cluster.members.iter_mut().for_each(|member| member.kill());
            cluster.start().await;
            let after = cluster.client().range(&everything).await.expect("a read is answered");
            assert_eq!(after.kvs, before.kvs);
            assert_eq!(after.header.unwrap_or_default().revision, before.header.unwrap_or_default().revision);
        }
        cluster.assert_equal_stores().await;
    });
}

//! An empty disk never founds a second cluster (it does with etcd: etcd-io/etcd#12227).

use std::time::Duration;

use kvorum::proto::etcdserverpb as pb;

use crate::common::bench::{Turn, our_story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::load::text;
use crate::common::member::{Member, PATIENCE};
use crate::common::wait::{holds, until};

/// Until a member says that it is in one of `states`, waiting for the member at `missing`; all it says.
async fn says(member: &Member, states: &[&str], missing: &str) -> String {
    until(&format!("{} to be one of {states:?} and to name {missing}", member.name), PATIENCE, async || {
        let state = member.state().await?;
        let said = format!("{}: {}", state.state, state.reason);
        let is_missing = state.waiting_for.iter().any(|one| one.peer_urls.iter().any(|url| url == missing));
        holds(states.contains(&state.state.as_str()) && is_missing && !state.reason.is_empty(), &said)?;
        Ok(said)
    })
    .await
}

#[test]
fn wiped_members_found_no_second_cluster_beside_the_one_that_holds_the_data() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        cluster.put("precious", "data").await;
        cluster.assert_equal_stores().await;
        for member in &mut cluster.members {
            member.stop().await;
        }
        // Two lose their disks and come back alone, with the flags that founded the cluster.
        for at in [0, 1] {
            cluster.members[at].wipe();
            cluster.members[at].start();
        }
        let absent = cluster.members[2].peer_url.clone();
        for at in [0, 1] {
            let member = &cluster.members[at];
            bench.note(&format!(
                "{} alone: {}",
                member.name,
                says(member, &["starting", "safe"], &absent).await
            ));
        }
        nothing_forms(&mut cluster, &[0, 1], cluster_elections(3)).await;

        // The third comes back with the data: they are not overwritten, and it serves what it can alone.
        cluster.members[2].start();
        let serializable = pb::RangeRequest { serializable: true, ..crate::range_request("precious") };
        let survivor = cluster.members[2].client().clone();
        let kept = until("a serializable read at the third", PATIENCE, async || {
            survivor.range(&serializable).await.map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(kept.kvs.first().map(|kv| text(&kv.value)).as_deref(), Some("data"));

        // All three say what is missing.
        for (at, state, missing) in [(0, "safe", 2), (1, "safe", 2), (2, "voter", 0), (2, "voter", 1)] {
            let missing = cluster.members[missing].peer_url.clone();
            let said = says(&cluster.members[at], &[state], &missing).await;
            bench.note(&format!("{} beside the others: {said}", cluster.members[at].name));
        }
        nothing_forms(&mut cluster, &[0, 1, 2], cluster_elections(3)).await;
        let still = survivor.range(&serializable).await.expect("a serializable read is answered");
        assert_eq!(still.kvs, kept.kvs);
    });
}

/// The time in which that many elections would have taken place.
fn cluster_elections(count: u32) -> Duration {
    2 * Plan::default().election * count
}

/// No member of these gets a leader or takes a write during `time`, and none ends.
async fn nothing_forms(cluster: &mut Cluster, members: &[usize], time: Duration) {
    let until = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < until {
        for &at in members {
            let member = &mut cluster.members[at];
            assert!(member.is_running(), "{} has ended instead of telling", member.name);
            if let Ok(status) = member.status().await {
                assert_eq!(status.leader, 0, "{} follows a leader", member.name);
            }
            let healthy = member.client().health().await.is_ok_and(|health| health.healthy);
            assert!(!healthy, "{} says that it is healthy", member.name);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_wiped_member_does_not_come_back_under_its_old_identity() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        cluster.put("key", "1").await;
        cluster.members[1].kill();
        cluster.members[1].wipe();
        cluster.members[1].start();
        let reason = until("the wiped member to say why it does not serve", PATIENCE, async || {
            let state = cluster.members[1].state().await?;
            holds(state.state == "safe", &state)?;
            Ok(state.reason)
        })
        .await;
        bench.note(&reason);
        // The others go on.
        let others = cluster.members[0].client().put(&crate::common::load::put_request("key", "2")).await;
        others.expect("two of three serve");
    });
}

#[test]
fn founding_waits_for_every_member_and_says_for_whom() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::prepare(bench, Plan::default());
        cluster.members[0].start();
        cluster.members[1].start();
        let absent = cluster.members[2].peer_url.clone();
        for at in [0, 1] {
            bench.note(&says(&cluster.members[at], &["starting"], &absent).await);
        }
        nothing_forms(&mut cluster, &[0, 1], cluster_elections(1)).await;
        cluster.start().await;
        cluster.put("formed", "by three").await;
    });
}

#[test]
fn a_disk_that_dies_before_the_formation_is_replaced_by_an_empty_one() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::prepare(bench, Plan::default());
        cluster.members[0].start();
        cluster.members[1].start();
        let absent = cluster.members[2].peer_url.clone();
        for at in [0, 1] {
            says(&cluster.members[at], &["starting"], &absent).await;
        }
        // They have met each other by now, or meet soon: either way the new disk is taken.
        let before = cluster.members[1].state().await.expect("it answers").position.disk;
        cluster.members[1].kill();
        cluster.members[1].wipe();
        cluster.start().await;
        cluster.put("formed", "with a new disk").await;
        cluster.assert_equal_stores().await;
        let after = cluster.members[1].state().await.expect("it answers").position.disk;
        assert!(!before.is_empty() && before != after, "{before} {after}");
    });
}

#[test]
fn a_single_member_founds_only_on_the_disk_that_was_given_leave() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let flags = vec!["--kvorum-await-founding-grant".to_owned()];
        let mut cluster = Cluster::prepare(bench, Plan { members: 1, flags, ..Plan::default() });
        let holds_for_leave = async |member: &Member| {
            until("the member to wait for leave", PATIENCE, async || {
                let state = member.state().await?;
                holds(state.state == "hold" && state.reason.contains("waits for leave"), &state)?;
                Ok(state.position.disk)
            })
            .await
        };
        let at = cluster.members[0].client_url.trim_start_matches("http://").to_owned();
        let grant = async |disk: &str| {
            let path = format!("/kvorum/founding/grant/{disk}");
            crate::discovery::call(&at, "POST", &path, "").await.expect("it answers")
        };
        cluster.members[0].start();
        let disk = holds_for_leave(&cluster.members[0]).await;
        let (code, said) = grant("abc").await;
        assert!(code == 409 && said.contains(&disk), "{code} {said}");
        assert_eq!(grant(&disk).await.0, 200);
        cluster.start().await;
        cluster.put("precious", "data").await;
        // A member needs no leave again.
        cluster.members[0].kill();
        cluster.start().await;
        assert_eq!(grant(&disk).await.0, 409);
        // Its disk is lost: the leave was not given to this one.
        cluster.members[0].kill();
        cluster.members[0].wipe();
        cluster.members[0].start();
        let other = holds_for_leave(&cluster.members[0]).await;
        assert_ne!(disk, other);
        assert_eq!(grant(&disk).await.0, 409);
        holds_for_leave(&cluster.members[0]).await;
    });
}

//! What probes and dashboards read over plain HTTP.

use std::time::Duration;

use serde_json::Value;

use crate::common::bench::{Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::member::PATIENCE;
use crate::common::wait::{holds, until};

#[test]
fn probes_version_and_metrics_answer_as_etcd_answers() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let one = Plan { members: 1, ..Plan::default() };
        let cluster = Cluster::form(bench, one).await;
        cluster.put("key", "value").await;
        let client = cluster.members[0].client();
        let get =
            async |path: &str| client.http_get(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        for (path, code, body) in [
            ("/health", 200, r#"{"health":"true","reason":""}"#),
            ("/health?serializable=true", 200, r#"{"health":"true","reason":""}"#),
            ("/livez", 200, "ok\n"),
            ("/readyz", 200, "ok\n"),
            ("/livez/serializable_read", 200, "ok\n"),
            ("/readyz/linearizable_read", 200, "ok\n"),
            ("/readyz/data_corruption", 200, "ok\n"),
            ("/readyz/non_learner", 200, "ok\n"),
            ("/readyz/no_such_check", 404, "404 page not found\n"),
            ("/no_such_path", 404, "404 page not found\n"),
        ] {
            let answer = get(path).await;
            assert_eq!((answer.code, answer.text().as_str()), (code, body), "{path}");
        }
        let verbose = get("/readyz?verbose").await.text();
        assert!(verbose.contains("[+]linearizable_read ok"), "{verbose}");

        until("the cluster version to be decided", PATIENCE, async || {
            let version: Value =
                serde_json::from_slice(&get("/version").await.body).expect("/version is JSON");
            assert_eq!(version["etcdserver"], "3.7.3");
            holds(version["etcdcluster"] == "3.7.0", &version)
        })
        .await;

        let metrics = get("/metrics").await.text();
        for line in [
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 1",
            "etcd_server_version{server_version=\"3.7.3\"} 1",
            "etcd_debugging_mvcc_keys_total 1",
        ] {
            assert!(metrics.lines().any(|one| one == line), "{line:?} is not among the metrics");
        }
        for family in [
            "etcd_disk_wal_fsync_duration_seconds",
            "etcd_server_proposals_committed_total",
            "etcd_server_proposals_pending",
            "etcd_server_proposals_failed_total",
            "etcd_server_read_indexes_failed_total",
            "etcd_disk_wal_write_bytes_total",
            "etcd_mvcc_range_total",
            "etcd_server_leader_changes_seen_total",
            "etcd_mvcc_db_total_size_in_bytes",
            "process_resident_memory_bytes",
        ] {
            assert!(metrics.contains(&format!("# TYPE {family} ")), "{family} is not among the metrics");
        }
    });
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

#[test]
fn periodic_compaction_keeps_the_history_short() {
    // The other mode compacts every five minutes; its story is told to a clock of its own in the server.
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let flags =
            vec!["--auto-compaction-mode=periodic".to_owned(), "--auto-compaction-retention=1s".to_owned()];
        let cluster = Cluster::form(bench, Plan { members: 1, flags, ..Plan::default() }).await;
        let first = cluster.put("key", "1").await;
        cluster.put("key", "2").await;
        let old =
            kvorum::proto::etcdserverpb::RangeRequest { revision: first, ..crate::range_request("key") };
        until("the first revision to be compacted", PATIENCE, async || {
            // Compaction goes by what was current a while ago, so writes must go on.
            cluster.put("key", "more").await;
            match cluster.members[0].client().range(&old).await {
                Ok(answer) => Err(format!("it is there: {answer:?}")),
                Err(error) => holds(error.text() == Some(COMPACTED), &error),
            }
        })
        .await;
    });
}

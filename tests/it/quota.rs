//! The space quota: when the key space is full, and how room is made. Ours alone: etcd may carry out a write that
//! it refuses, when the room went while the write was under way.

use std::time::Duration;

use kvorum::client::{Client, Error};
use kvorum::proto::etcdserverpb as pb;
use kvorum::types::MemberId;

use crate::common::bench::{Turn, our_story};
use crate::common::cluster::{Cluster, Plan};

const FULL: &str = "etcdserver: mvcc: database space exceeded";
const VALUE_BYTES: usize = 200_000;
const QUOTA_BYTES: usize = 2_000_000;

async fn put(client: &Client, key: &str, value: Vec<u8>) -> Result<i64, Error> {
    let request = pb::PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() };
    Ok(client.put(&request).await?.header.unwrap_or_default().revision)
}

/// Writes until the answer is no, and gives the last revision that was written.
async fn fill(client: &Client) -> i64 {
    let mut last = 0;
    for number in 0..2 * QUOTA_BYTES / VALUE_BYTES {
        match put(client, &format!("fill/{number}"), vec![b'x'; VALUE_BYTES]).await {
            Ok(revision) => last = revision,
            Err(error) => {
                assert_eq!(error.text(), Some(FULL), "put {number}");
                return last;
            }
        }
    }
    panic!("twice the quota was written");
}

#[test]
fn a_full_key_space_raises_an_alarm_and_refuses_writes_until_room_is_made() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let flags = vec![format!("--quota-backend-bytes={QUOTA_BYTES}")];
        let cluster = Cluster::form(bench, Plan { flags, ..Plan::default() }).await;
        let (full, other) = (cluster.members[0].client(), cluster.members[1].client());
        let last = fill(full).await;

        let alarms = other.alarms().await.expect("alarms are listed").alarms;
        let id = cluster.members[0].id().await;
        let told: Vec<_> = alarms.iter().map(|alarm| (MemberId(alarm.member_id), alarm.alarm())).collect();
        assert_eq!(told, [(id, pb::AlarmType::Nospace)]);
        let refused = put(other, "small", b"v".to_vec()).await.expect_err("every member refuses");
        assert_eq!(refused.text(), Some(FULL));
        let health = other.http_get("/health").await.expect("/health answers");
        let unhealthy = r#"{"health":"false","reason":"ALARM NOSPACE"}"#;
        assert_eq!((health.code, health.text().trim_end()), (503, unhealthy));
        other.range(&crate::range_request("fill/0")).await.expect("reads go on");

        make_room(full, last).await;
        let written = put(full, "small", b"v".to_vec()).await.expect("there is room again");
        assert_eq!(written, last + 2, "nothing that was refused took effect");
        fill(full).await;
    });
}

/// The way out that etcd's manual tells: delete, compact, defragment, disarm.
async fn make_room(client: &Client, last: i64) {
    let prefix = crate::prefix_request("fill/");
    let all = pb::DeleteRangeRequest { key: prefix.key, range_end: prefix.range_end, prev_kv: false };
    client.delete_range(&all).await.expect("a delete needs no room");
    let compact = pb::CompactionRequest { revision: last + 1, physical: true };
    client.compact(&compact).await.expect("a compaction needs no room");
    client.defragment().await.expect("defragmented");
    for alarm in client.alarms().await.expect("alarms are listed").alarms {
        client.disarm(&alarm).await.expect("disarmed");
    }
}

//! Stories in a fixed order, for what random requests must not do to a cluster: alarms, membership, who leads.

use std::future::Future;

use anyhow::{Context, bail};
use kvorum::proto::etcdserverpb as pb;
use pb::request_op::Request;

use crate::answers::{self, Answer};
use crate::cluster::{Clients, Cluster, Member};

/// How long two members must be linked before a change of membership counts on it, and some more.
const LINKED: std::time::Duration = std::time::Duration::from_millis(5500);

/// A member gives its leader up within two election timeouts, and its streams after three more.
const LEADERLESS: std::time::Duration = std::time::Duration::from_secs(15);

/// etcd looks at it every five seconds.
const STORAGE_VERSION_KNOWN: std::time::Duration = std::time::Duration::from_secs(30);

/// Both clusters, and what was found different so far.
struct Pair {
    clusters: [Cluster; 2],
    /// Names for identities that both clusters made during the story.
    extra: [Vec<(String, String)>; 2],
    differences: Vec<String>,
}

macro_rules! same {
    ($pair:expr, $member:expr, $story:expr, $service:ident . $method:ident ( $request:expr )) => {{
        let request = $request;
        let mut texts = Vec::new();
        for cluster in &$pair.clusters {
            let member: &Member = &cluster.members[$member];
            texts.push(answers::of(member.$service().$method(request.clone()).await));
        }
        $pair.compare($story, texts)
    }};
}

impl Pair {
    fn new(clusters: [Cluster; 2]) -> Self {
        Pair { clusters, extra: Default::default(), differences: Vec::new() }
    }

    fn compare(&mut self, story: &str, answers: Vec<Answer>) -> String {
        let normal = |side: usize, answer: &Answer| {
            let mut names = self.clusters[side].names();
            names.aliases.extend(self.extra[side].iter().cloned());
            let mut text = answers::normalised(&answer.text, &names);
            for field in ["db_size: ", "db_size_in_use: ", "raft_index: ", "raft_applied_index: "] {
                text = answers::drop_number(&text, field);
            }
            text
        };
        let (ours, etcds) = (normal(0, &answers[0]), normal(1, &answers[1]));
        if ours != etcds {
            self.differences.push(format!("{story}\nours: {ours}\netcd: {etcds}"));
        }
        etcds
    }

    fn end(self) -> anyhow::Result<()> {
        if self.differences.is_empty() {
            return Ok(());
        }
        bail!("{} answers differ\n{}", self.differences.len(), self.differences.join("\n\n"))
    }

    /// Learns the identity of the member with this peer URL on each side, and names it.
    async fn identify(&mut self, peer_url: &str, name: &str) -> anyhow::Result<[u64; 2]> {
        let mut ids = [0; 2];
        for (side, cluster) in self.clusters.iter().enumerate() {
            let request = pb::MemberListRequest { linearizable: true };
            let list = cluster.members[0].cluster().member_list(request).await?.into_inner().members;
            let member = list.iter().find(|member| member.peer_ur_ls.iter().any(|url| url == peer_url));
            ids[side] = member.with_context(|| format!("{peer_url} is in no member's list: {list:?}"))?.id;
            self.extra[side].push((ids[side].to_string(), name.to_string()));
        }
        Ok(ids)
    }
}

/// A call that would rather fail than wait for a leader.
fn requiring_leader<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("hasleader", tonic::metadata::MetadataValue::from_static("true"));
    request
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "v".into(), ..Default::default() }
}

/// Passes the check for keys named twice, which leaves out a delete of "every key from this one on".
fn deleted_and_put(key: &'static str) -> pb::TxnRequest {
    let everything = pb::DeleteRangeRequest { key: key.into(), range_end: "\0".into(), prev_kv: false };
    let requests = [Request::RequestDeleteRange(everything), Request::RequestPut(put(key))];
    let success = requests.map(|request| pb::RequestOp { request: Some(request) }).to_vec();
    pb::TxnRequest { success, ..Default::default() }
}

fn range(key: &'static str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.into(), ..Default::default() }
}

pub(crate) async fn single(clusters: [Cluster; 2]) -> anyhow::Result<()> {
    let mut pair = Pair::new(clusters);
    fresh_store(&mut pair).await;
    alarms(&mut pair).await;
    learners(&mut pair).await?;
    watches(&mut pair).await?;
    a_running_learner(&mut pair).await?;
    pair.end()
}

/// What nobody has written yet, and the special revisions of a first compaction.
async fn fresh_store(pair: &mut Pair) {
    same!(pair, 0, "status", maintenance.status(pb::StatusRequest {}));
    same!(pair, 0, "hash of an empty store", maintenance.hash_kv(pb::HashKvRequest::default()));
    for revision in [-1, 0, 1, 0, 2, 1] {
        let compact = pb::CompactionRequest { revision, physical: false };
        same!(pair, 0, "first compactions", kv.compact(compact));
    }
    same!(pair, 0, "first put", kv.put(put("a")));
    same!(pair, 0, "hash of one put", maintenance.hash_kv(pb::HashKvRequest::default()));
    same!(pair, 0, "physical compaction", kv.compact(pb::CompactionRequest { revision: 2, physical: true }));
    same!(pair, 0, "hash after compaction", maintenance.hash_kv(pb::HashKvRequest { revision: 2 }));
    same!(pair, 0, "hash below compaction", maintenance.hash_kv(pb::HashKvRequest { revision: 1 }));
    same!(pair, 0, "hash of the future", maintenance.hash_kv(pb::HashKvRequest { revision: 9 }));
    same!(pair, 0, "a key deleted and put again", kv.txn(deleted_and_put("a")));
    same!(pair, 0, "hash when nothing else lives", maintenance.hash_kv(pb::HashKvRequest::default()));
    same!(pair, 0, "put beside it", kv.put(put("b")));
    same!(pair, 0, "hash at its revision", maintenance.hash_kv(pb::HashKvRequest { revision: 3 }));
    same!(pair, 0, "hash one revision later", maintenance.hash_kv(pb::HashKvRequest { revision: 4 }));
    same!(pair, 0, "defragment", maintenance.defragment(pb::DefragmentRequest {}));
    same!(pair, 0, "member list", cluster.member_list(pb::MemberListRequest { linearizable: true }));
    same!(pair, 0, "move to nobody", maintenance.move_leader(pb::MoveLeaderRequest { target_id: 5 }));
}

async fn alarms(pair: &mut Pair) {
    for alarm in [pb::AlarmType::None, pb::AlarmType::Nospace, pb::AlarmType::Corrupt] {
        let kind = alarm as i32;
        let request = |action: i32| pb::AlarmRequest { action, member_id: 7, alarm: kind };
        same!(pair, 0, "raise an alarm", maintenance.alarm(request(1)));
        same!(pair, 0, "raise it again", maintenance.alarm(request(1)));
        same!(pair, 0, "alarms", maintenance.alarm(pb::AlarmRequest::default()));
        same!(pair, 0, "alarms of a kind", maintenance.alarm(request(0)));
        same!(pair, 0, "put under an alarm", kv.put(put("a")));
        same!(pair, 0, "put without a key under an alarm", kv.put(put("")));
        same!(pair, 0, "range under an alarm", kv.range(range("a")));
        same!(
            pair,
            0,
            "delete under an alarm",
            kv.delete_range(pb::DeleteRangeRequest { key: "b".into(), ..Default::default() })
        );
        for op in [
            pb::request_op::Request::RequestPut(put("t")),
            pb::request_op::Request::RequestRange(range("t")),
            pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
                key: "t".into(),
                ..Default::default()
            }),
        ] {
            let success = vec![pb::RequestOp { request: Some(op) }];
            let txn = pb::TxnRequest { success, ..Default::default() };
            same!(pair, 0, "transaction under an alarm", kv.txn(txn));
        }
        let compact = pb::CompactionRequest { revision: 2, physical: false };
        same!(pair, 0, "compaction under an alarm", kv.compact(compact));
        same!(
            pair,
            0,
            "clear the alarm of another member",
            maintenance.alarm(pb::AlarmRequest { member_id: 8, ..request(2) })
        );
        same!(pair, 0, "clear the alarm", maintenance.alarm(request(2)));
        same!(pair, 0, "clear it again", maintenance.alarm(request(2)));
        same!(pair, 0, "put after the alarm", kv.put(put("a")));
    }
}

async fn learners(pair: &mut Pair) -> anyhow::Result<()> {
    let add = |urls: &[&str], is_learner| pb::MemberAddRequest {
        peer_ur_ls: urls.iter().map(|url| url.to_string()).collect(),
        is_learner,
    };
    for urls in [&[][..], &["nothing"], &["http://127.0.0.1"], &["http://127.0.0.1:1/x"]] {
        same!(pair, 0, "add with wrong URLs", cluster.member_add(add(urls, true)));
    }
    for cluster in &pair.clusters {
        let url = cluster.members[0].peer_url.clone();
        let error = cluster.members[0].cluster().member_add(add(&[&url], true)).await;
        let text = answers::of(error).text;
        if text != "FailedPrecondition: etcdserver: Peer URLs already exists" {
            bail!("{}: adding a URL twice answers {text}", cluster.name());
        }
    }
    // Nobody listens there: the learner never starts.
    let url = "http://127.0.0.1:1";
    for cluster in &pair.clusters {
        let added = cluster.members[0].cluster().member_add(add(&[url], true)).await;
        added.with_context(|| format!("{}: adding a learner", cluster.name()))?;
    }
    let ids = pair.identify(url, "LEARNER").await?;
    same!(pair, 0, "list with a learner", cluster.member_list(pb::MemberListRequest { linearizable: true }));
    same!(pair, 0, "a second learner", cluster.member_add(add(&["http://127.0.0.1:2"], true)));
    same!(pair, 0, "the same URL again", cluster.member_add(add(&[url], false)));
    same!(pair, 0, "promote nobody", cluster.member_promote(pb::MemberPromoteRequest { id: 77 }));
    same!(pair, 0, "remove nobody", cluster.member_remove(pb::MemberRemoveRequest { id: 77 }));
    same!(
        pair,
        0,
        "update nobody",
        cluster
            .member_update(pb::MemberUpdateRequest { id: 77, peer_ur_ls: vec!["http://127.0.0.1:3".into()] })
    );
    each(pair, "promote a learner that never started", ids, |member, id| async move {
        answers::of(member.cluster().member_promote(pb::MemberPromoteRequest { id }).await)
    })
    .await;
    let voters = [pair.clusters[0].members[0].id, pair.clusters[1].members[0].id];
    each(pair, "promote a voter", voters, |member, id| async move {
        answers::of(member.cluster().member_promote(pb::MemberPromoteRequest { id }).await)
    })
    .await;
    each(pair, "move the leader to a learner", ids, |member, id| async move {
        answers::of(member.maintenance().move_leader(pb::MoveLeaderRequest { target_id: id }).await)
    })
    .await;
    each(pair, "new URLs of the learner", ids, |member, id| async move {
        let peer_ur_ls = vec!["http://127.0.0.1:4".to_string(), "http://127.0.0.1:3".to_string()];
        answers::of(member.cluster().member_update(pb::MemberUpdateRequest { id, peer_ur_ls }).await)
    })
    .await;
    same!(pair, 0, "put beside a learner", kv.put(put("l")));
    each(pair, "remove the learner", ids, |member, id| async move {
        answers::of(member.cluster().member_remove(pb::MemberRemoveRequest { id }).await)
    })
    .await;
    each(pair, "remove it again", ids, |member, id| async move {
        answers::of(member.cluster().member_remove(pb::MemberRemoveRequest { id }).await)
    })
    .await;
    same!(pair, 0, "list after all", cluster.member_list(pb::MemberListRequest { linearizable: true }));
    Ok(())
}

/// The same call on the first member of both, each with its own identity.
async fn each<F>(pair: &mut Pair, story: &str, ids: [u64; 2], call: impl Fn(Clients, u64) -> F)
where
    F: Future<Output = Answer>,
{
    each_at(pair, story, [0, 0], ids, call).await;
}

async fn each_at<F>(
    pair: &mut Pair,
    story: &str,
    members: [usize; 2],
    ids: [u64; 2],
    call: impl Fn(Clients, u64) -> F,
) where
    F: Future<Output = Answer>,
{
    let mut answers = Vec::new();
    for side in 0..2 {
        let member = &pair.clusters[side].members[members[side]];
        answers.push(call(member.clients(), ids[side]).await);
    }
    pair.compare(story, answers);
}

pub(crate) async fn three(clusters: [Cluster; 2]) -> anyhow::Result<()> {
    let mut pair = Pair::new(clusters);
    // Adding a member asks whether the members have been linked for five seconds.
    tokio::time::sleep(LINKED).await;
    for member in 0..3 {
        let request = pb::MemberListRequest { linearizable: true };
        same!(pair, member, "member list", cluster.member_list(request));
    }
    who_leads(&mut pair).await?;
    more_voters(&mut pair).await?;
    without_a_leader(&mut pair).await?;
    pair.end()
}

async fn who_leads(pair: &mut Pair) -> anyhow::Result<()> {
    let leaders = [pair.clusters[0].leader().await?, pair.clusters[1].leader().await?];
    let next = leaders.map(|leader| (leader + 1) % 3);
    let target = [pair.clusters[0].members[next[0]].id, pair.clusters[1].members[next[1]].id];
    let move_to = |member: Clients, id: u64| async move {
        answers::of(member.maintenance().move_leader(pb::MoveLeaderRequest { target_id: id }).await)
    };
    each_at(pair, "a follower is asked to move the leader", next, target, move_to).await;
    each_at(pair, "moved to nobody", leaders, [5, 5], move_to).await;
    each_at(pair, "moved", leaders, target, move_to).await;
    for (cluster, expected) in pair.clusters.iter().zip(next) {
        let leader = cluster.leader().await?;
        if leader != expected {
            bail!("{}: member {leader} leads, not {expected}", cluster.name());
        }
    }
    same!(pair, 0, "put after the move", kv.put(put("moved")));
    Ok(())
}

/// Voters that never start, until strict reconfiguration refuses the next; then they go again.
async fn more_voters(pair: &mut Pair) -> anyhow::Result<()> {
    let mut added = Vec::new();
    for number in 1..=2 {
        let url = format!("http://127.0.0.1:{number}");
        for cluster in &pair.clusters {
            let request = pb::MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: false };
            let result = cluster.members[0].cluster().member_add(request).await;
            result.with_context(|| format!("{}: adding voter {number}", cluster.name()))?;
        }
        added.push(pair.identify(&url, &format!("ADDED{number}")).await?);
        same!(
            pair,
            1,
            "list with an added voter",
            cluster.member_list(pb::MemberListRequest { linearizable: true })
        );
    }
    let third = pb::MemberAddRequest { peer_ur_ls: vec!["http://127.0.0.1:9".into()], is_learner: false };
    same!(pair, 0, "one voter too many", cluster.member_add(third.clone()));
    let learner = pb::MemberAddRequest { is_learner: true, ..third };
    same!(pair, 0, "a learner while three of five run", cluster.member_add(learner));
    let voters = [pair.clusters[0].members[2].id, pair.clusters[1].members[2].id];
    let remove = |member: Clients, id: u64| async move {
        answers::of(member.cluster().member_remove(pb::MemberRemoveRequest { id }).await)
    };
    each(pair, "removing a running one of three in five", voters, remove).await;
    for ids in added {
        each(pair, "removing one that never started", ids, remove).await;
    }
    same!(pair, 2, "put after all", kv.put(put("after")));
    Ok(())
}

/// What the random watchers do not meet: intervals and fragments.
async fn watches(pair: &mut Pair) -> anyhow::Result<()> {
    let watch = pb::WatchCreateRequest { key: "quiet".into(), progress_notify: true, ..Default::default() };
    let mut told = Vec::new();
    for cluster in &pair.clusters {
        let mut stream = watch_stream(&cluster.members[0], watch.clone(), false).await?;
        let created = stream.message().await?.context("no answer to the create request")?;
        let progress = stream.message().await?.context("no progress")?;
        told.push(Answer { text: format!("{created:?} then {progress:?}"), revision: 0 });
    }
    pair.compare("progress by interval", told);

    let mut start_revision = 0;
    for number in 0..6 {
        let value = vec![b'f'; 700_000];
        let put =
            pb::PutRequest { key: format!("f{number}").into(), value: value.into(), ..Default::default() };
        for cluster in &pair.clusters {
            let answer = cluster.members[0].kv().put(put.clone()).await?.into_inner();
            let revision = answer.header.context("an answer without a header")?.revision;
            start_revision = if number == 0 { revision } else { start_revision };
        }
    }
    for fragment in [true, false] {
        let watch = pb::WatchCreateRequest {
            key: "f".into(),
            range_end: "g".into(),
            start_revision,
            fragment,
            ..Default::default()
        };
        let mut told = Vec::new();
        for cluster in &pair.clusters {
            let mut stream = watch_stream(&cluster.members[0], watch.clone(), false).await?;
            let mut parts = Vec::new();
            while parts.iter().map(|(events, _)| events).sum::<usize>() < 6 {
                let response = stream.message().await?.context("the stream ends early")?;
                parts.push((response.events.len(), response.fragment));
            }
            told.push(Answer { text: format!("{parts:?}"), revision: 0 });
        }
        pair.compare("a large message, whole or in fragments", told);
    }
    Ok(())
}

/// Opens a stream with one watcher. etcd answers nothing before there is something to say, so the request
/// goes with the call.
async fn watch_stream(
    member: &Clients,
    create: pb::WatchCreateRequest,
    requires_leader: bool,
) -> Result<tonic::Streaming<pb::WatchResponse>, tonic::Status> {
    let create = pb::watch_request::RequestUnion::CreateRequest(create);
    let first = pb::WatchRequest { request_union: Some(create) };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
    let answer = match requires_leader {
        true => member.watch().watch(requiring_leader(requests)).await,
        false => member.watch().watch(requests).await,
    };
    Ok(answer?.into_inner())
}

/// A learner answers what it knows by itself and refuses the rest.
async fn a_running_learner(pair: &mut Pair) -> anyhow::Result<()> {
    for cluster in &mut pair.clusters {
        cluster.start_learner().await?;
    }
    let serializable = pb::RangeRequest { serializable: true, ..range("a") };
    same!(pair, 1, "serializable range at a learner", kv.range(serializable));
    same!(pair, 1, "range at a learner", kv.range(range("a")));
    same!(pair, 1, "put at a learner", kv.put(put("a")));
    same!(pair, 1, "put without a key at a learner", kv.put(put("")));
    same!(pair, 1, "read-only transaction at a learner", kv.txn(pb::TxnRequest::default()));
    for cluster in &pair.clusters {
        knows_the_storage_version(cluster, 1).await?;
    }
    same!(pair, 1, "status of a learner", maintenance.status(pb::StatusRequest {}));
    same!(pair, 1, "alarms at a learner", maintenance.alarm(pb::AlarmRequest::default()));
    same!(pair, 1, "hash at a learner", maintenance.hash_kv(pb::HashKvRequest::default()));
    same!(pair, 1, "list at a learner", cluster.member_list(pb::MemberListRequest::default()));
    same!(
        pair,
        0,
        "list beside a learner",
        cluster.member_list(pb::MemberListRequest { linearizable: true })
    );
    let mut told = Vec::new();
    for cluster in &pair.clusters {
        let watch = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
        let refused = watch_stream(&cluster.members[1], watch, false).await.err();
        let refused = refused.context("a learner serves a watch")?;
        told.push(answers::of_error(&refused));
    }
    pair.compare("watch at a learner", told);
    let learners = [pair.clusters[0].members[1].id, pair.clusters[1].members[1].id];
    each(pair, "promote a learner in step", learners, |member, id| async move {
        answers::of(member.cluster().member_promote(pb::MemberPromoteRequest { id }).await)
    })
    .await;
    same!(pair, 1, "put at the promoted member", kv.put(put("promoted")));
    same!(
        pair,
        1,
        "list at the promoted member",
        cluster.member_list(pb::MemberListRequest { linearizable: true })
    );
    Ok(())
}

/// Waits until a member has taken in the cluster's storage version, which it does some moment after it started.
async fn knows_the_storage_version(cluster: &Cluster, member: usize) -> anyhow::Result<()> {
    let version = async |member: usize| {
        let status = cluster.members[member].maintenance().status(pb::StatusRequest {}).await?;
        anyhow::Ok(status.into_inner().storage_version)
    };
    let deadline = std::time::Instant::now() + STORAGE_VERSION_KNOWN;
    loop {
        let (expected, found) = (version(0).await?, version(member).await?);
        if found == expected {
            return Ok(());
        }
        if std::time::Instant::now() > deadline {
            bail!("{}: storage version {found:?} at member {member}, not {expected:?}", cluster.name());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Two of three are gone: what needs a leader fails, what does not goes on.
async fn without_a_leader(pair: &mut Pair) -> anyhow::Result<()> {
    let watch = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
    let mut streams = Vec::new();
    for cluster in &mut pair.clusters {
        let mut stream = watch_stream(&cluster.members[0], watch.clone(), true).await?;
        stream.message().await?.context("no answer to the create request")?;
        streams.push(stream);
        cluster.kill([1, 2])?;
    }
    let mut told = Vec::new();
    for stream in &mut streams {
        let ended = tokio::time::timeout(LEADERLESS, stream.message()).await;
        let ended = ended.context("a watch that requires a leader goes on without one")?;
        told.push(match ended {
            Err(status) => answers::of_error(&status),
            Ok(message) => Answer { text: format!("{message:?}"), revision: 0 },
        });
    }
    pair.compare("the end of a watch that requires a leader", told);
    let mut told = Vec::new();
    for cluster in &pair.clusters {
        let request = requiring_leader(range("a"));
        told.push(answers::of(cluster.members[0].kv().range(request).await));
    }
    pair.compare("a call that requires a leader", told);
    let serializable = pb::RangeRequest { serializable: true, ..range("a") };
    same!(pair, 0, "serializable range without a leader", kv.range(serializable));
    same!(pair, 0, "status without a leader", maintenance.status(pb::StatusRequest {}));
    same!(pair, 0, "local list without a leader", cluster.member_list(pb::MemberListRequest::default()));
    same!(pair, 0, "move without a leader", maintenance.move_leader(pb::MoveLeaderRequest { target_id: 1 }));
    Ok(())
}

//! The rules by which members come and go.

use std::time::Duration;

use kvorum::client::{Code, Consistency, Error, Role};
use kvorum::types::{LogIndex, MemberId};
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use kvorum::proto::etcdserverpb as pb;

use crate::bootstrap::add;
use crate::common::bench::{Turn, our_story, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::load::put_request;
use crate::common::member::{Member, PATIENCE};
use crate::common::wait::{holds, until};

const NOT_ENOUGH_STARTED: (&str, Code) =
    ("etcdserver: re-configuration failed due to not enough started members", Code::Unknown);
const UNHEALTHY: (&str, Code) = ("etcdserver: unhealthy cluster", Code::Unavailable);

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Error>, (text, code): (&str, Code)) {
    let error = answer.expect_err(text);
    assert_eq!((error.text(), error.code()), (Some(text), Some(code)), "{error:?}");
}

fn nobody(number: u8) -> [String; 1] {
    [format!("http://127.9.9.{number}:2380")]
}

/// What is refused whatever the health of the members.
#[test]
fn changes_that_make_no_sense_are_refused() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        add(&cluster, &nobody(1)[0], Role::Learner).await;
        let leadership = cluster.leadership().await;
        let client = cluster.members[leadership.leader].client();
        let list = client.members(Consistency::Linearizable).await.expect("a list is answered").members;
        let learner = MemberId(list.iter().find(|one| one.is_learner).expect("it was added").id);

        let precondition = Code::FailedPrecondition;
        let taken = [cluster.members[1].peer_url.clone()];
        assert_refused(
            client.add_member(&taken, Role::Voter, None).await,
            ("etcdserver: Peer URLs already exists", precondition),
        );
        assert_refused(
            client.add_member(&nobody(2), Role::Learner, None).await,
            ("etcdserver: too many learner members in cluster", precondition),
        );
        assert_refused(
            client.remove_member(MemberId(1), None).await,
            ("etcdserver: member not found", Code::NotFound),
        );
        assert_refused(
            client.update_member(MemberId(1), &nobody(3), None).await,
            ("etcdserver: member not found", Code::NotFound),
        );
        assert_refused(
            client.promote_member(learner, None).await,
            ("etcdserver: can only promote a learner member which is in sync with leader", precondition),
        );
        // The leader: of another voter that has just fallen behind the lag would be told first.
        assert_refused(
            client.promote_member(leadership.id, None).await,
            ("etcdserver: can only promote a learner member", precondition),
        );
        let bad = ("etcdserver: given member URLs are invalid", Code::InvalidArgument);
        assert_refused(client.add_member(&["127.0.0.1".to_owned()], Role::Voter, None).await, bad);
        assert_refused(client.add_member(&[], Role::Voter, None).await, bad);
        // A learner is no voter: it may always go.
        client.remove_member(learner, None).await.expect("a learner may go");
        assert_refused(
            client.remove_member(learner, None).await,
            ("etcdserver: member not found", Code::NotFound),
        );
    });
}

#[test]
fn strict_reconfiguration_counts_who_has_started() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        // Of five voters two never start: a sixth would need four, to remove a started one would leave two of four.
        add(&cluster, &nobody(1)[0], Role::Voter).await;
        add(&cluster, &nobody(2)[0], Role::Voter).await;
        let leader = cluster.leadership().await.leader;
        let client = cluster.members[leader].client();
        assert_refused(client.add_member(&nobody(3), Role::Voter, None).await, NOT_ENOUGH_STARTED);
        let follower = cluster.members[(leader + 1) % 3].id().await;
        assert_refused(client.remove_member(follower, None).await, NOT_ENOUGH_STARTED);
        cluster.put("untouched", "yes").await;
        // Those that never started may go, and then all is well again.
        let list = client.members(Consistency::Linearizable).await.expect("a list is answered").members;
        for idle in list.iter().filter(|member| member.name.is_empty()) {
            client.remove_member(MemberId(idle.id), None).await.expect("who never started may go");
        }
    });
}

#[test]
fn strict_reconfiguration_counts_who_is_connected() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        // Connections must have lasted before they count; one change that is allowed shows that they do.
        add(&cluster, &nobody(1)[0], Role::Learner).await;
        let leader = cluster.leadership().await.leader;
        let client = cluster.members[leader].client().clone();
        let list = client.members(Consistency::Linearizable).await.expect("a list is answered").members;
        let learner = list.iter().find(|member| member.is_learner).expect("it was added");
        client.remove_member(MemberId(learner.id), None).await.expect("a learner may go");

        let (down, up) = ((leader + 1) % 3, (leader + 2) % 3);
        let (down_id, up_id) = (cluster.members[down].id().await, cluster.members[up].id().await);
        cluster.members[down].kill();
        until("the leader to miss the dead member", PATIENCE, async || {
            match client.remove_member(up_id, None).await {
                Ok(answer) => panic!("the healthy one was removed: {answer:?}"),
                Err(error) => holds(error.text() == Some(UNHEALTHY.0), &error),
            }
        })
        .await;
        assert_refused(client.add_member(&nobody(2), Role::Voter, None).await, UNHEALTHY);
        assert_refused(client.add_member(&nobody(2), Role::Learner, None).await, UNHEALTHY);
        // The dead one may be removed; after that there is room for another.
        client.remove_member(down_id, None).await.expect("the dead one may go");
        client.add_member(&nobody(2), Role::Voter, None).await.expect("a replacement may come");
        client.put(&put_request("still", "serving")).await.expect("two of three serve");
    });
}

#[test]
fn a_removed_member_stops_by_itself_and_does_not_come_back() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let before = cluster.leadership().await;
        let follower = (before.leader + 1) % 3;
        let id = cluster.members[follower].id().await;
        let leader = cluster.members[before.leader].client().clone();
        removed(&leader, id).await;
        cluster.members[follower].end().await;
        cluster.members[follower].start();
        cluster.members[follower].end().await;

        // The leader, too: the last one takes over.
        removed(&leader, before.id).await;
        cluster.members[before.leader].end().await;
        let last = (before.leader + 2) % 3;
        cluster.members[last].ready().await;
        let list =
            cluster.members[last].client().members(Consistency::Linearizable).await.expect("it serves");
        assert_eq!(list.members.len(), 1, "{list:?}");
        cluster.members[last].client().put(&put_request("alone", "1")).await.expect("one of one serves");
    });
}

/// Removes a member, waiting out the time that strict reconfiguration wants connections to have lasted.
async fn removed(client: &kvorum::client::Client, id: MemberId) {
    until("the member to be removed", PATIENCE, async || {
        client.remove_member(id, None).await.map_err(|error| error.to_string())
    })
    .await;
}

#[test]
fn an_address_changes_by_update() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let before = cluster.leadership().await;
        let moving = (before.leader + 1) % 3;
        let id = cluster.members[moving].id().await;
        cluster.members[moving].stop().await;
        let address = crate::common::address::Address::claim();
        let urls = [address.peer_url()];
        let leader = cluster.members[before.leader].client().clone();
        leader.update_member(id, &urls, None).await.expect("an address may change");
        let member = &mut cluster.members[moving];
        let old = member.peer_url.clone();
        for flag in &mut member.flags {
            if flag.contains("-peer-urls") {
                *flag = flag.replace(&old, &address.peer_url());
            }
        }
        cluster.start().await;
        cluster.put("at", "the new address").await;
        cluster.assert_equal_stores().await;
    });
}

/// The position of the membership in the log, as a list of members tells it in its header.
async fn membership(member: &Member) -> LogIndex {
    let channel =
        tonic::transport::Endpoint::from_shared(member.client_url.clone()).expect("a URL").connect_lazy();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("the member accepts");
    let codec = ProstCodec::<pb::MemberListRequest, pb::MemberListResponse>::new();
    let path = PathAndQuery::from_static("/etcdserverpb.Cluster/MemberList");
    let request = tonic::Request::new(pb::MemberListRequest { linearizable: true });
    let answer = grpc.unary(request, path, codec).await.expect("a list is answered");
    let position = answer.metadata().get("kvorum-membership").expect("the header is there");
    LogIndex(position.to_str().expect("it is text").parse().expect("it is a number"))
}

#[test]
fn a_change_may_name_the_membership_it_was_decided_on() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let before = cluster.leadership().await;
        let (leader, follower) = (&cluster.members[before.leader], &cluster.members[(before.leader + 1) % 3]);
        add(&cluster, &nobody(1)[0], Role::Learner).await;
        let seen = membership(follower).await;
        let list =
            leader.client().members(Consistency::Linearizable).await.expect("a list is answered").members;
        let learner = MemberId(list.iter().find(|member| member.is_learner).expect("it was added").id);
        // Writes move the log, not the membership.
        cluster.put("beside", "it").await;
        assert_eq!(membership(leader).await, seen);
        leader.client().remove_member(learner, Some(seen)).await.expect("nothing has changed since");
        let now = membership(follower).await;
        assert!(now > seen, "{now} is not behind {seen}");
        for stale in [seen, LogIndex(seen.0 - 1)] {
            let change = follower.client().add_member(&nobody(2), Role::Learner, Some(stale)).await;
            let error = change.expect_err("the membership has moved");
            let text = error.text().unwrap_or_default();
            assert!(text.contains(&format!("it is now at {now}")), "{error:?}");
            assert_eq!(error.code(), Some(Code::FailedPrecondition));
        }
        follower.client().add_member(&nobody(2), Role::Learner, Some(now)).await.expect("it is the newest");
    });
}

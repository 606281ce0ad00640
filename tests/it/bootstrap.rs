//! How members come to a cluster: all at once, or one by one.

use std::time::{Duration, Instant};

use kvorum::client::{Consistency, Role};

use crate::common::address::{Address, Port};
use crate::common::bench::{Bench, Turn, story};
use crate::common::cluster::{Cluster, Plan};
use crate::common::load::put_request;
use crate::common::member::{Member, PATIENCE};
use crate::common::tools::{self, Server};
use crate::common::wait::{holds, until};

/// What a cluster calls itself: its ID, and name and ID of each member in the order of the list.
pub(crate) type Identities = (u64, Vec<(String, u64)>);

#[test]
fn a_member_alone_leads_first_in_the_second_term_and_in_the_next_after_each_start() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan { members: 1, ..Plan::default() }).await;
        for term in [2, 3] {
            cluster.start().await;
            let status = cluster.members[0].status().await.expect("it answers");
            let header = status.header.expect("every answer has a header");
            assert_eq!((status.raft_term, header.raft_term), (term, term));
            cluster.members[0].stop().await;
        }
    });
}

#[test]
fn three_new_members_elect_at_once_and_lead_in_the_second_term() {
    story(Turn::Alone, Duration::from_secs(60), async |bench| {
        // So long that nobody's timer comes between.
        let plan = Plan {
            heartbeat: Duration::from_millis(500),
            election: Duration::from_secs(5),
            ..Plan::default()
        };
        let begun = Instant::now();
        let mut cluster = Cluster::form(bench, plan).await;
        bench.note(&format!("formed after {:?}", begun.elapsed()));
        assert_eq!(cluster.leadership().await.term, 2);
        assert!(!tools::server().is_ours || begun.elapsed() < cluster.plan.election, "a timer elected");
    });
}

/// The lines that users of etcd know, as they stand in its clustering guide.
fn founding_lines(bench: &Bench, server: &Server, addresses: &[Address], ports: &[Port]) -> Vec<Member> {
    let initial: Vec<String> = addresses
        .iter()
        .enumerate()
        .map(|(at, address)| format!("infra{at}={}", address.peer_url()))
        .collect();
    let initial = initial.join(",");
    let line = |at: usize| {
        let (client, peer, port) = (addresses[at].client_url(), addresses[at].peer_url(), ports[at].number);
        let line = format!(
            "-name infra{at} -initial-advertise-peer-urls {peer} -listen-peer-urls {peer} \
             -listen-client-urls {client},http://127.0.0.1:{port} -advertise-client-urls {client} \
             -initial-cluster-token etcd-cluster-1 -initial-cluster {initial} -initial-cluster-state new"
        );
        line.split_whitespace().map(str::to_owned).collect()
    };
    let ground = bench.ground();
    (0..addresses.len())
        .map(|at| Member::new(&ground, server, &format!("infra{at}"), &addresses[at], line(at)))
        .collect()
}

pub(crate) async fn identities(member: &Member) -> Identities {
    until("all members to have told their names", PATIENCE, async || {
        let list =
            member.client().members(Consistency::Linearizable).await.map_err(|error| error.to_string())?;
        let named =
            list.members.iter().all(|member| !member.name.is_empty() && !member.client_ur_ls.is_empty());
        holds(named, &list)?;
        let cluster = list.header.unwrap_or_default().cluster_id;
        Ok((cluster, list.members.into_iter().map(|member| (member.name, member.id)).collect()))
    })
    .await
}

/// Founds a cluster by those lines, asks it who it is, and ends it.
async fn found_and_ask(bench: &Bench, server: &Server, addresses: &[Address], ports: &[Port]) -> Identities {
    let mut members = founding_lines(bench, server, addresses, ports);
    members.iter_mut().for_each(Member::start);
    for member in &mut members {
        member.ready().await;
    }
    let seen = identities(&members[0]).await;
    for member in &members {
        assert_eq!(identities(member).await, seen, "{}", member.name);
    }
    seen
}

#[test]
fn the_lines_of_the_guide_found_a_cluster_with_the_ids_that_etcd_gives() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let addresses: Vec<Address> = (0..3).map(|_| Address::claim()).collect();
        let ports: Vec<Port> = (0..3).map(|_| Port::claim()).collect();
        let theirs = found_and_ask(bench, &tools::etcd(), &addresses, &ports).await;
        let ours = found_and_ask(bench, &bench.server, &addresses, &ports).await;
        assert_eq!(ours, theirs);
    });
}

#[test]
fn bootstrap_flags_are_ignored_once_there_are_data() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        let before = identities(&cluster.members[0]).await;
        cluster.put("kept", "yes").await;
        for member in &mut cluster.members {
            member.stop().await;
        }
        for (at, member) in cluster.members.iter_mut().enumerate() {
            let mut others = vec![
                format!("--initial-cluster={}={},away=http://127.9.9.9:2380", member.name, member.peer_url),
                "--initial-cluster-token=another".to_owned(),
            ];
            others.push(format!("--initial-cluster-state={}", if at == 0 { "existing" } else { "new" }));
            member.flags.retain(|flag| !flag.starts_with("--initial-cluster"));
            member.flags.extend(others);
        }
        cluster.start().await;
        assert_eq!(identities(&cluster.members[0]).await, before);
        let answer = cluster.client().range(&crate::range_request("kept")).await.expect("a read is answered");
        assert_eq!(answer.kvs.len(), 1);
    });
}

/// Adds a member, waiting out the time that strict reconfiguration wants connections to have lasted.
pub(crate) async fn add(cluster: &Cluster, peer_url: &str, role: Role) {
    let urls = [peer_url.to_owned()];
    until("the member to be added", PATIENCE, async || {
        cluster.members[0].client().add_member(&urls, role, None).await.map_err(|error| error.to_string())
    })
    .await;
}

#[test]
fn a_learner_joins_catches_up_and_is_promoted() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan::default()).await;
        for number in 0..50 {
            cluster.put(&format!("key/{number}"), "value").await;
        }
        let peer_url = cluster.place_joining().peer_url.clone();
        let existing = cluster.members[0].client().clone();
        add(&cluster, &peer_url, Role::Learner).await;
        cluster.members[3].start();
        let learner = until("the learner to be promoted", PATIENCE, async || {
            let list =
                existing.members(Consistency::Linearizable).await.map_err(|error| error.to_string())?;
            let learner =
                list.members.iter().find(|member| member.is_learner).ok_or("no learner is listed")?;
            let id = kvorum::types::MemberId(learner.id);
            // Members that do not lead forward it; until the learner is in step it is refused.
            existing.promote_member(id, None).await.map(|_| id).map_err(|error| error.to_string())
        })
        .await;
        cluster.members[3].ready().await;
        assert_eq!(cluster.members[3].id().await, learner);
        cluster.leadership().await;
        cluster.assert_equal_stores().await;
        let list =
            cluster.members[3].client().members(Consistency::Linearizable).await.expect("it is a voter");
        assert!(list.members.iter().all(|member| !member.is_learner && !member.name.is_empty()), "{list:?}");
    });
}

#[test]
fn a_voter_joins_an_existing_cluster_and_survives_restarts() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan { members: 1, ..Plan::default() }).await;
        cluster.put("before", "1").await;
        let peer_url = cluster.place_joining().peer_url.clone();
        add(&cluster, &peer_url, Role::Voter).await;
        cluster.start().await;
        cluster.put("after", "2").await;
        cluster.assert_equal_stores().await;
        cluster.members[1].kill();
        cluster.start().await;
        cluster.put("again", "3").await;
        cluster.assert_equal_stores().await;
    });
}

#[test]
fn who_was_never_added_does_not_join() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut cluster = Cluster::form(bench, Plan { members: 1, ..Plan::default() }).await;
        let stranger = cluster.place_joining();
        stranger.start();
        let status = stranger.end().await;
        assert_eq!(status.code(), Some(1), "{status:?}");
        assert!(stranger.log_text().contains("member count is unequal"), "it does not say why");
        let alone = cluster.members[0].client().put(&put_request("still", "serving")).await;
        alone.expect("the cluster is untouched");
    });
}

//! v3 discovery: the registry is the key space of any etcd of today, or of ours.

use std::time::Duration;

use kvorum::proto::etcdserverpb as pb;

use crate::bootstrap::{Identities, identities};
use crate::common::address::Address;
use crate::common::bench::{Bench, Turn, our_story, story};
use crate::common::load::{prefix_end, put_request};
use crate::common::member::Member;
use crate::common::tools::{self, Server};
use crate::discovery::{gives_up, says};

const TOKEN: &str = "e3f9a2";

/// A server of one member whose keys are the registry.
async fn registry(bench: &Bench, server: &Server, name: &str, address: &Address) -> Member {
    let mut flags = Member::place(name, address);
    flags.push(format!("--initial-cluster={name}={}", address.peer_url()));
    let mut member = Member::new(&bench.ground(), server, name, address, flags);
    member.start();
    member.ready().await;
    member
}

/// What etcd's guide has people put with etcdctl.
async fn set_size(registry: &Member, token: &str, size: &str) {
    let key = format!("/_etcd/registry/{token}/_config/size");
    registry.client().put(&put_request(&key, size)).await.expect("the size is put");
}

fn strangers(
    bench: &Bench,
    server: &Server,
    addresses: &[Address],
    endpoint: &str,
    token: &str,
) -> Vec<Member> {
    let ground = bench.ground();
    let stranger = |(at, address): (usize, &Address)| {
        let name = format!("infra{at}");
        let mut flags = Member::place(&name, address);
        flags.push(format!("--discovery-token={token}"));
        flags.push(format!("--discovery-endpoints={endpoint}"));
        Member::new(&ground, server, &name, address, flags)
    };
    addresses.iter().enumerate().map(stranger).collect()
}

async fn found(members: &mut [Member]) -> Identities {
    members.iter_mut().for_each(Member::start);
    for member in members.iter_mut() {
        member.ready().await;
    }
    let seen = identities(&members[0]).await;
    members[0].client().put(&put_request("born", "by discovery")).await.expect("a write is taken");
    seen
}

#[test]
fn real_etcd_and_ours_are_born_from_either_registry_with_the_same_identities() {
    story(Turn::Shared, Duration::from_secs(150), async |bench| {
        let places: Vec<Address> = (0..2).map(|_| Address::claim()).collect();
        let addresses: Vec<Address> = (0..3).map(|_| Address::claim()).collect();
        let mut born = Vec::new();
        let registries = [
            registry(bench, &tools::etcd(), "theirs", &places[0]).await,
            registry(bench, &bench.server, "ours", &places[1]).await,
        ];
        for registry in &registries {
            for server in [tools::etcd(), bench.server.clone()] {
                set_size(registry, TOKEN, "3").await;
                let mut members = strangers(bench, &server, &addresses, &registry.client_url, TOKEN);
                born.push(found(&mut members).await);
                for member in &mut members {
                    member.kill();
                    member.wipe();
                }
                let prefix = format!("/_etcd/registry/{TOKEN}/");
                let all = pb::DeleteRangeRequest {
                    range_end: prefix_end(&prefix).into(),
                    key: prefix.into(),
                    ..Default::default()
                };
                let gone = registry.client().delete_range(&all).await.expect("keys are deleted");
                assert_eq!(gone.deleted, 4, "the size and three members");
            }
        }
        assert!(born.iter().all(|one| *one == born[0]), "{born:?}");
    });
}

#[test]
fn a_registered_member_may_restart_and_what_no_waiting_mends_is_final() {
    our_story(Turn::Shared, Duration::from_secs(120), async |bench| {
        let addresses: Vec<Address> = (0..4).map(|_| Address::claim()).collect();
        let (place, addresses) = addresses.split_first().expect("four");
        let registry = registry(bench, &bench.server, "registry", place).await;
        let endpoint = registry.client_url.clone();
        let mut unknown = strangers(bench, &bench.server, addresses, &endpoint, "nosuchtoken");
        gives_up(&mut unknown[0], "failed to join discovery cluster (discovery: size key not found)").await;
        set_size(&registry, "bad", "0").await;
        let mut bad = strangers(bench, &bench.server, addresses, &endpoint, "bad");
        gives_up(&mut bad[0], "(discovery: size key is bad)").await;

        set_size(&registry, TOKEN, "2").await;
        let mut members = strangers(bench, &bench.server, addresses, &endpoint, TOKEN);
        members[0].start();
        says(&members[0], "starting", "until 2 members are registered; 1 are").await;
        members[0].kill();
        members[0].start();
        says(&members[0], "starting", "until 2 members are registered; 1 are").await;
        found(&mut members[1..2]).await;
        gives_up(&mut members[2], "(discovery: cluster is full)").await;
        members[0].kill();
        members[0].wipe();
        gives_up(&mut members[0], "(discovery: found duplicate id)").await;

        let mut away = strangers(bench, &bench.server, &addresses[2..], "http://127.0.0.1:9", TOKEN);
        away[0].flags.push("--kvorum-discovery-timeout=2s".to_owned());
        away[0].flags.push("--discovery-dial-timeout=500ms".to_owned());
        gives_up(&mut away[0], "(discovery: too many retries)").await;
        away[0].flags.retain(|flag| !flag.starts_with("--discovery-token"));
        gives_up(&mut away[0], "both --discovery-token and --discovery-endpoints must be set").await;
    });
}

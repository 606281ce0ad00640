//! DNS SRV: members and endpoints that stand in records, asked of a real name server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server as NameServer;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, SOA, SRV};
use hickory_server::proto::rr::{LowerName, Name, RData, Record, RecordType, RrKey};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use kvorum::bootstrap::{InitialCluster, ids};
use tokio::net::UdpSocket;

use crate::bootstrap::identities;
use crate::common::address::{Address, PEER_PORT};
use crate::common::bench::{Bench, Turn, our_story};
use crate::common::load::put_request;
use crate::common::member::{Member, PATIENCE};
use crate::common::process::{Launch, run};
use crate::discovery::says;

const ZONE: &str = "cluster.test.";
const SERVERS: &str = "_etcd-server._tcp";
const SERVERS_TLS: &str = "_etcd-server-ssl._tcp";

/// A name server whose zone the story writes.
struct Dns {
    zone: Arc<InMemoryZoneHandler<TokioRuntimeProvider>>,
    at: SocketAddr,
    _server: NameServer<Catalog>,
}

impl Dns {
    async fn start() -> Dns {
        let origin = name("");
        let zone = InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, 0);
        zone.upsert(Record::from_rdata(origin.clone(), 0, RData::SOA(soa)), 0).await;
        let zone = Arc::new(zone);
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![zone.clone()]);
        let mut server = NameServer::new(catalog);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let at = socket.local_addr().expect("it is bound");
        server.register_socket(socket);
        Dns { zone, at, _server: server }
    }

    /// The targets of a service, instead of those before.
    async fn list(&self, service: &str, members: &[usize], port: u16) {
        let target = |at: &usize| RData::SRV(SRV::new(0, 0, port, name(&host(*at))));
        self.replace(service, RecordType::SRV, members.iter().map(target).collect()).await;
    }

    /// Where a member is, instead of where it was.
    async fn place(&self, member: usize, address: &Address) {
        let ip: Ipv4Addr = address.ip().to_string().parse().expect("an address");
        self.replace(&host(member), RecordType::A, vec![RData::A(A(ip))]).await;
    }

    async fn replace(&self, relative: &str, kind: RecordType, data: Vec<RData>) {
        let name = name(relative);
        self.zone.records_mut().await.remove(&RrKey::new(LowerName::new(&name), kind));
        for data in data {
            self.zone.upsert(Record::from_rdata(name.clone(), 0, data), 0).await;
        }
    }
}

fn host(member: usize) -> String {
    format!("m{member}")
}

fn name(relative: &str) -> Name {
    let dot = if relative.is_empty() { "" } else { "." };
    Name::from_ascii(format!("{relative}{dot}{ZONE}")).expect("a name")
}

fn peer_url(member: usize) -> String {
    format!("http://{}.{}:{PEER_PORT}", host(member), ZONE.trim_end_matches('.'))
}

/// Three addresses that the name server knows, and members there who know only the domain.
struct Stage {
    dns: Dns,
    addresses: Vec<Address>,
    members: Vec<Member>,
}

impl Stage {
    async fn set(bench: &Bench, more: &[&str]) -> Stage {
        let (dns, ground) = (Dns::start().await, bench.ground());
        let addresses: Vec<Address> = (0..3).map(|_| Address::claim()).collect();
        let mut members = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            dns.place(at, address).await;
            let mut flags = Member::place(&format!("infra{at}"), address);
            flags.retain(|flag| !flag.starts_with("--initial-advertise-peer-urls"));
            flags.push(format!("--initial-advertise-peer-urls={}", peer_url(at)));
            flags.push("--initial-cluster-token=srv".to_owned());
            flags.push(format!("--discovery-srv={}", ZONE.trim_end_matches('.')));
            flags.push(format!("--kvorum-name-servers={}", dns.at));
            flags.extend(more.iter().map(|flag| (*flag).to_owned()));
            members.push(Member::new(&ground, &bench.server, &format!("infra{at}"), address, flags));
        }
        Stage { dns, addresses, members }
    }

    async fn serve(&mut self) {
        for member in &mut self.members {
            member.ready().await;
        }
        self.members[0].client().put(&put_request("born", "by SRV")).await.expect("a write is taken");
    }

    fn start(&mut self) {
        self.members.iter_mut().for_each(Member::start);
    }
}

#[test]
fn members_that_stand_in_records_form_with_the_ids_of_their_token_and_urls() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let mut stage = Stage::set(bench, &["--kvorum-discovery-srv-size=3"]).await;
        stage.dns.list(SERVERS, &[0, 1, 2], PEER_PORT).await;
        // One is found by its address, as etcd finds itself; its URL is the record's all the same.
        let own_address = format!("--initial-advertise-peer-urls={}", stage.addresses[1].peer_url());
        let flags = &mut stage.members[1].flags;
        flags.retain(|flag| !flag.starts_with("--initial-advertise-peer-urls"));
        flags.push(own_address);
        stage.start();
        stage.serve().await;
        let urls: Vec<String> = (0..3).map(|at| format!("infra{at}={}", peer_url(at))).collect();
        let planned = InitialCluster::parse(&urls.join(",")).expect("right");
        let wanted: Vec<(String, u64)> =
            ids::founding_ids(&planned, "srv").into_iter().map(|(id, name, _)| (name, id.0)).collect();
        let (_, mut seen) = identities(&stage.members[0]).await;
        seen.sort();
        assert_eq!(seen, wanted);

        // Records that change afterwards change nothing; a member that moves is found under its name.
        stage.dns.list(SERVERS, &[], PEER_PORT).await;
        let moved = Address::claim();
        let (before, after) = (stage.addresses[2].ip().to_string(), moved.ip().to_string());
        stage.members[2].kill();
        let flags = stage.members[2].flags.iter().map(|flag| flag.replace(&before, &after)).collect();
        let data = format!("--data-dir={}", stage.members[2].data_dir.display());
        stage.members[2] = Member::new(&bench.ground(), &bench.server, "infra2", &moved, flags);
        stage.members[2].flags.push(data);
        stage.dns.place(2, &moved).await;
        stage.members[2].start();
        stage.serve().await;
    });
}

#[test]
fn nothing_forms_of_records_that_appear_one_by_one_until_all_stand() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let mut stage = Stage::set(bench, &["--kvorum-discovery-srv-size=3"]).await;
        stage.start();
        for count in 0..3 {
            stage.dns.list(SERVERS, &[0, 1, 2][..count], PEER_PORT).await;
            for member in &stage.members {
                says(member, "starting", &format!("list {count} members")).await;
            }
        }
        // One record too many, of a member that is gone.
        stage.dns.list(SERVERS, &[0, 1, 2, 9], PEER_PORT).await;
        says(&stage.members[0], "starting", "list 4 members").await;
        stage.dns.list(SERVERS, &[0, 1, 9], PEER_PORT).await;
        says(&stage.members[2], "starting", "cannot find local etcd member").await;
        stage.dns.list(SERVERS, &[0, 1, 2], PEER_PORT).await;
        if stage.members.iter_mut().any(|member| !member.is_running()) {
            panic!("a member has given up");
        }
        // Those that met the wrong record wait for a member that is not there; started again, they look again.
        for member in &mut stage.members {
            member.kill();
            member.start();
        }
        stage.serve().await;
    });
}

#[test]
fn partial_records_are_final_in_time_and_a_wrong_scheme_at_once() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let more =
            ["--kvorum-discovery-srv-size=3", "--kvorum-discovery-timeout=2s", "--kvorum-hold-when-refused"];
        let mut stage = Stage::set(bench, &more).await;
        stage.dns.list(SERVERS, &[0, 1], PEER_PORT).await;
        stage.members[0].start();
        says(&stage.members[0], "refused", "3 would be right, and that did not change within 2s").await;
        let health = stage.members[0].client().health().await.expect("it answers");
        assert!(health.reason.contains("list 2 members"), "{health:?}");

        stage.dns.list(SERVERS, &[1, 2], PEER_PORT).await;
        stage.dns.list(SERVERS_TLS, &[0], PEER_PORT).await;
        stage.members[0].kill();
        stage.members[0].start();
        let words = format!(
            "bootstrap at https://m0.cluster.test:{PEER_PORT} from DNS for etcd-server-ssl has scheme mismatch with \
             expected peer http://m0.cluster.test:{PEER_PORT}"
        );
        says(&stage.members[0], "refused", &words).await;
    });
}

#[test]
fn without_a_size_two_equal_answers_are_the_members_and_kvorumctl_finds_them_too() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let mut stage = Stage::set(bench, &["--discovery-srv-name=prod"]).await;
        stage.dns.list("_etcd-server-prod._tcp", &[0, 1, 2], PEER_PORT).await;
        stage.start();
        stage.serve().await;
        let folder = bench.folder().to_owned();
        let call = async |words: &[&str]| {
            let mut arguments = vec![
                format!("--discovery-srv={}", ZONE.trim_end_matches('.')),
                format!("--name-servers={}", stage.dns.at),
            ];
            arguments.extend(words.iter().map(|word| (*word).to_owned()));
            let log = bench.log_file("kvorumctl");
            let program = env!("CARGO_BIN_EXE_kvorumctl").into();
            run(
                &Launch { program, arguments, environment: Vec::new(), folder: folder.clone(), log },
                PATIENCE,
            )
            .await
        };
        let (code, said) = call(&["get", "born"]).await;
        assert!(code == Some(1) && said.contains("dns lookup errors"), "{code:?} {said}");
        stage.dns.list("_etcd-client._tcp", &[0, 1], crate::common::address::CLIENT_PORT).await;
        let (code, said) = call(&["get", "born"]).await;
        assert_eq!((code, said.as_str()), (Some(0), "born\nby SRV\n"));
        let (code, said) = call(&[
            "get",
            "born",
            "--insecure-discovery=false",
            "--endpoints=127.0.0.1:9",
            "--command-timeout=1s",
        ])
        .await;
        assert!(
            code == Some(1) && said.contains("ignoring discovered insecure endpoint \"http://m0."),
            "{code:?} {said}"
        );
    });
}

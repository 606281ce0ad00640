//! v2 discovery: members that know only a URL find each other, at our service and at others', and say at once
//! and for good when they cannot.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bootstrap::{Identities, identities};
use crate::common::address::{Address, Port};
use crate::common::bench::{Bench, Turn, our_story, story};
use crate::common::load::put_request;
use crate::common::member::{Member, PATIENCE};
use crate::common::process::{Launch, Process};
use crate::common::tools::{self, Server};
use crate::common::wait::{holds, until};

/// The last etcd that speaks v2 discovery and serves the v2 API.
fn etcd_3_5() -> Server {
    Server { path: tools::tool("etcd-3.5"), is_ours: false }
}

/// A discovery service as a process of its own.
struct Service {
    launch: Launch,
    process: Option<Process>,
    port: Port,
}

impl Service {
    /// Ours.
    fn place(bench: &Bench) -> Service {
        let port = Port::claim();
        let arguments = vec![
            "discovery".to_owned(),
            "serve".to_owned(),
            format!("--listen=127.0.0.1:{}", port.number),
            format!("--data-dir=registry.{}", port.number),
        ];
        Service::of(bench, env!("CARGO_BIN_EXE_kvorumctl").into(), arguments, port)
    }

    fn of(bench: &Bench, program: PathBuf, arguments: Vec<String>, port: Port) -> Service {
        let (folder, log) = (bench.folder().to_owned(), bench.log_file("service"));
        Service {
            launch: Launch { program, arguments, environment: Vec::new(), folder, log },
            process: None,
            port,
        }
    }

    /// Starts it; it answers when this returns.
    async fn start(&mut self) {
        self.process = Some(Process::start(&self.launch));
        until("the service to answer", PATIENCE, async || self.call("GET", "/health", "").await.map(drop))
            .await;
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// One request on a connection of its own: the answer's code and body.
    async fn call(&self, method: &str, path: &str, form: &str) -> Result<(u16, String), String> {
        call(&format!("127.0.0.1:{}", self.port.number), method, path, form).await
    }

    async fn new_token(&self, size: usize) -> String {
        let (code, url) = self.call("GET", &format!("/new?size={size}"), "").await.expect("it answers");
        assert_eq!(code, 200, "{url}");
        url
    }
}

pub(crate) async fn call(at: &str, method: &str, path: &str, form: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no HTTP code")?;
    Ok((code, body.to_owned()))
}

/// Members that know nothing of each other but `url`, each at the address of its number.
fn strangers(
    bench: &Bench,
    server: &Server,
    addresses: &[Address],
    numbers: std::ops::Range<usize>,
    url: &str,
) -> Vec<Member> {
    let ground = bench.ground();
    let stranger = |at: usize| {
        let (name, address) = (format!("infra{at}"), &addresses[at]);
        let mut flags = Member::place(&name, address);
        flags.push(format!("--discovery={url}"));
        Member::new(&ground, server, &name, address, flags)
    };
    numbers.map(stranger).collect()
}

/// Claimed until they are dropped.
fn addresses(count: usize) -> Vec<Address> {
    (0..count).map(|_| Address::claim()).collect()
}

async fn serve(members: &mut [Member]) -> Identities {
    for member in members.iter_mut() {
        member.ready().await;
    }
    let seen = identities(&members[0]).await;
    assert_eq!(seen.1.len(), members.len());
    members[0].client().put(&put_request("born", "by discovery")).await.expect("a write is taken");
    seen
}

/// Starts members one after another, so that each has to wait for those after it.
async fn found_one_by_one(members: &mut [Member]) -> Identities {
    members.iter_mut().for_each(Member::start);
    serve(members).await
}

#[test]
fn real_etcd_and_ours_are_born_from_our_service_with_the_same_identities() {
    story(Turn::Shared, Duration::from_secs(120), async |bench| {
        let addresses = addresses(3);
        let mut service = Service::place(bench);
        let mut born = Vec::new();
        for server in [etcd_3_5(), bench.server.clone()] {
            service.start().await;
            // A token of one's own, as etcd's guide makes it.
            let size = "/v2/keys/discovery/6c007a14875d53d9bf0ef5a6fc0257c817f0fb83/_config/size";
            let (code, body) = service.call("PUT", size, "value=3").await.expect("it answers");
            assert_eq!(code, 201, "{body}");
            let url = format!("{}{}", service.url(), size.trim_end_matches("/_config/size"));
            let mut members = strangers(bench, &server, &addresses, 0..3, &url);
            born.push(found_one_by_one(&mut members).await);
            for member in &mut members {
                member.kill();
                member.wipe();
            }
            service.kill();
            let state = bench.folder().join(format!("registry.{}", service.port.number));
            std::fs::remove_dir_all(state).expect("the service keeps its state there");
        }
        assert_eq!(born[0], born[1]);
    });
}

#[test]
fn the_service_and_a_registered_member_may_crash_before_all_have_come() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let addresses = addresses(3);
        let mut service = Service::place(bench);
        service.start().await;
        let url = service.new_token(3).await;
        let mut members = strangers(bench, &bench.server, &addresses, 0..3, &url);
        members[0].start();
        members[1].start();
        for member in &members[..2] {
            let reason = says(member, "starting", "until 3 members are registered; 2 are").await;
            bench.note(&reason);
        }
        // Whoever asks for a cluster of this size twice gets it: the disk knows that it is registered.
        members[0].kill();
        service.kill();
        service.start().await;
        members[0].start();
        says(&members[0], "starting", "until 3 members are registered; 2 are").await;
        members[2].start();
        serve(&mut members).await;
        // The token is not looked at any more.
        service.kill();
        for member in &mut members {
            member.kill();
            member.start();
        }
        serve(&mut members).await;
    });
}

/// Until a member says that it is in this state for a reason with these words; the reason.
pub(crate) async fn says(member: &Member, state: &str, words: &str) -> String {
    until(&format!("{} to be {state} and to say {words:?}", member.name), PATIENCE, async || {
        let said = member.state().await?;
        holds(said.state == state && said.reason.contains(words), &said)?;
        Ok(said.reason)
    })
    .await
}

#[test]
fn the_public_services_own_program_serves_our_members() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let program = tools::place("discovery.etcd.io");
        if !program.exists() {
            bench.note("skipped: discovery.etcd.io is not installed; `make tools` gets it where apt has etcd-discovery");
            return;
        }
        // It keeps its tokens in an etcd with the v2 API.
        let store = Address::claim();
        let mut flags = Member::place("store", &store);
        flags.extend(["--enable-v2".to_owned(), format!("--initial-cluster=store={}", store.peer_url())]);
        let mut etcd = Member::new(&bench.ground(), &etcd_3_5(), "store", &store, flags);
        etcd.start();
        etcd.ready().await;
        let port = Port::claim();
        let settings = format!(
            "[server]\nprefix_url=http://127.0.0.1:{number}\nweb_service_address=127.0.0.1:{number}\n\
             [etcd]\nendpoint_location={}\n",
            store.client_url(),
            number = port.number
        );
        std::fs::write(bench.folder().join("etcd-discovery.conf"), settings).expect("settings are written");
        let mut service = Service::of(bench, program, Vec::new(), port);
        service.start().await;
        let url = service.new_token(3).await;
        let addresses = addresses(3);
        let mut members = strangers(bench, &bench.server, &addresses, 0..3, &url);
        found_one_by_one(&mut members).await;
        // The keys of any etcd with the v2 API will do as well.
        for member in &mut members {
            member.kill();
            member.wipe();
        }
        let at = store.client_url();
        let key = "/v2/keys/discovery/of-ones-own";
        let host = at.trim_start_matches("http://");
        let (code, body) =
            call(host, "PUT", &format!("{key}/_config/size"), "value=3").await.expect("it answers");
        assert_eq!(code, 201, "{body}");
        for member in &mut members {
            member.flags.retain(|flag| !flag.starts_with("--discovery"));
            member.flags.push(format!("--discovery={at}{key}"));
        }
        found_one_by_one(&mut members).await;
    });
}

/// What a member that gives up says before it ends, and that it exits as etcd does.
pub(crate) async fn gives_up(member: &mut Member, words: &str) {
    member.start();
    let status = member.end().await;
    assert_eq!(status.code(), Some(1), "{}: {status:?}", member.name);
    assert!(
        member.log_text().contains(words),
        "{} does not say {words:?}: {}",
        member.name,
        member.log_text()
    );
}

#[test]
fn what_no_waiting_mends_is_final_and_said_once() {
    our_story(Turn::Shared, Duration::from_secs(120), async |bench| {
        let mut service = Service::place(bench);
        service.start().await;
        let url = service.new_token(1).await;
        let addresses = addresses(6);
        let mut members = strangers(bench, &bench.server, &addresses, 0..2, &url);
        found_one_by_one(&mut members[..1]).await;
        // The token is used up.
        gives_up(&mut members[1], "failed to join discovery cluster (discovery: cluster is full)").await;
        // An empty disk with the same identity.
        members[0].kill();
        members[0].wipe();
        gives_up(&mut members[0], "failed to join discovery cluster (discovery: found duplicate id)").await;
        // Held instead of exiting, so that whoever looks after it reads why.
        members[1].flags.push("--kvorum-hold-when-refused".to_owned());
        members[1].start();
        let reason = says(&members[1], "refused", "discovery: cluster is full").await;
        bench.note(&reason);
        let health = members[1].client().health().await.expect("it answers");
        assert!(!health.healthy && health.reason.contains("discovery: cluster is full"), "{health:?}");
        let alive = members[1].client().http_get("/livez").await.expect("it answers");
        assert_eq!(alive.code, 200);
        let shown = members[1].log_text().matches("the member cannot come to a cluster").count();
        assert_eq!(shown, 1, "said once");
        members[1].stop().await;

        let unused = url.rsplit_once('/').expect("a URL").0.to_owned();
        for (number, token, size, words) in [
            (2, "nosuchtoken", None, "(discovery: size key not found)"),
            (3, "badsize", Some("three"), "(discovery: size key is bad)"),
        ] {
            if let Some(size) = size {
                let key = format!("/{token}/_config/size");
                service.call("PUT", &key, &format!("value={size}")).await.expect("it answers");
            }
            let url = format!("{unused}/{token}");
            let mut member = strangers(bench, &bench.server, &addresses, number..number + 1, &url);
            gives_up(&mut member[0], words).await;
        }
        let url = service.new_token(2).await;
        let mut with_one_name = strangers(bench, &bench.server, &addresses, 4..6, &url);
        with_one_name[1].flags.retain(|flag| !flag.starts_with("--name"));
        with_one_name[1].flags.extend(["--name=infra4".to_owned(), "--data-dir=infra5.etcd".to_owned()]);
        with_one_name[0].start();
        says(&with_one_name[0], "starting", "1 are").await;
        gives_up(&mut with_one_name[1], "(discovery: found duplicate name)").await;
        assert_eq!(with_one_name[0].end().await.code(), Some(1));
    });
}

#[test]
fn a_service_that_is_away_is_tried_again_and_given_up_in_time() {
    our_story(Turn::Shared, Duration::from_secs(90), async |bench| {
        let mut service = Service::place(bench);
        service.start().await;
        let url = service.new_token(1).await;
        service.kill();
        let addresses = addresses(3);
        let mut members = strangers(bench, &bench.server, &addresses, 0..1, &url);
        members[0].start();
        bench.note(&says(&members[0], "starting", "does not answer").await);
        service.start().await;
        serve(&mut members).await;

        let mut late = strangers(bench, &bench.server, &addresses, 1..2, "http://127.0.0.1:9/token");
        late[0].flags.push("--kvorum-discovery-timeout=2s".to_owned());
        gives_up(&mut late[0], "(discovery: too many retries)").await;
        assert!(
            late[0].log_text().contains("retry connecting to discovery service"),
            "no progress in the log"
        );
        let something_else = format!("{}/token", members[0].client_url);
        let mut lost = strangers(bench, &bench.server, &addresses, 2..3, &something_else);
        gives_up(&mut lost[0], "(discovery: bad discovery endpoint)").await;
    });
}

#[test]
fn the_service_is_reached_through_a_proxy() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut service = Service::place(bench);
        service.start().await;
        let token = service.new_token(1).await;
        let token = token.rsplit('/').next().expect("a URL").to_owned();
        // Only the proxy knows where that is; our service answers what is asked of a proxy as well.
        let (addresses, url) = (addresses(1), format!("http://away.invalid/{token}"));
        let mut members = strangers(bench, &bench.server, &addresses, 0..1, &url);
        members[0].flags.push(format!("--discovery-proxy={}", service.url()));
        found_one_by_one(&mut members).await;
    });
}

#[test]
fn discovery_goes_with_no_other_way_to_a_cluster() {
    our_story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let url = "http://127.0.0.1:9/token";
        let addresses = addresses(2);
        let mut members = strangers(bench, &bench.server, &addresses, 0..1, url);
        members[0].flags.push("--initial-cluster=infra0=http://127.0.0.1:2380".to_owned());
        gives_up(&mut members[0], "multiple discovery or bootstrap flags are set").await;
        let mut joins = strangers(bench, &bench.server, &addresses, 1..2, url);
        joins[0].flags.push("--initial-cluster-state=existing".to_owned());
        gives_up(&mut joins[0], "discovery URL should not be set when joining existing initial cluster")
            .await;
    });
}

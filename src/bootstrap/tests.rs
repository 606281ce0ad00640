//! Members meet over real HTTP on loopback.

use std::time::Duration;

use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::flags::HostUrl;
use crate::membership::Member;
use crate::types::MemberId;

const LONG: Duration = Duration::from_secs(20);

/// A member's program on its disk and port; the port stays its own while it is stopped.
struct Program {
    founding: Arc<Founding>,
    port: JoinHandle<()>,
    _data: DataDir,
}

struct Machine {
    first: FirstStart,
    folder: TempDir,
    listener: std::net::TcpListener,
}

impl Machine {
    async fn start(&self) -> Program {
        let data = DataDir::open(self.folder.path(), None).expect("the data folder opens");
        let founding =
            Arc::new(Founding::new(self.first.clone(), &data, Names::default()).expect("the disk is read"));
        let listener = self.listener.try_clone().expect("the port is ours");
        let routes: Router = founding.peer_routes().merge(founding.client_routes());
        let listener = TcpListener::from_std(listener).expect("the port is ours");
        let port = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Program { founding, port, _data: data }
    }

    fn wipe(&self) {
        for entry in std::fs::read_dir(self.folder.path()).expect("the folder is there").flatten() {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Program {
    async fn identity(&self) -> Identity {
        tokio::time::timeout(LONG, self.founding.identity())
            .await
            .expect("it forms in time")
            .expect("it forms")
    }

    /// Pretends that the member runs, without a leader.
    fn run(&self, members: Vec<Member>) {
        let standing = Box::new(Standing::default);
        self.founding.running(Running { standing, members: Box::new(move || members.clone()) });
    }
}

fn machines(count: usize) -> Vec<Machine> {
    let listeners: Vec<std::net::TcpListener> = (0..count)
        .map(|_| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.set_nonblocking(true).expect("tokio wants it so");
            listener
        })
        .collect();
    let urls: Vec<HostUrl> = listeners
        .iter()
        .map(|listener| {
            HostUrl::parse(&format!("http://{}", listener.local_addr().expect("bound"))).expect("a URL")
        })
        .collect();
    let text: Vec<String> = urls.iter().enumerate().map(|(n, url)| format!("infra{n}={url}")).collect();
    let machine = |(n, listener): (usize, std::net::TcpListener)| Machine {
        first: FirstStart {
            name: format!("infra{n}"),
            state: ClusterState::New,
            token: "etcd-cluster-1".to_owned(),
            source: Source::Listed(text.join(",")),
            advertise_peer: vec![urls[n].clone()],
            patience: LONG,
            await_grant: false,
        },
        folder: tempfile::tempdir().expect("a folder"),
        listener,
    };
    listeners.into_iter().enumerate().map(machine).collect()
}

/// Waits until the report says this; the handshake's own rounds move it on.
async fn until(program: &Program, wanted: impl Fn(&Report) -> bool) -> Report {
    let look = async {
        loop {
            let report = program.founding.shared.full_report().await;
            if wanted(&report) {
                return report;
            }
            tokio::task::yield_now().await;
        }
    };
    match tokio::time::timeout(LONG, look).await {
        Ok(report) => report,
        Err(_) => panic!("never came: {:?}", program.founding.report()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_form_two_are_wiped_and_nothing_is_founded_anew() {
    let machines = machines(3);
    let mut programs = Vec::new();
    for machine in &machines {
        programs.push(machine.start().await);
    }
    let identities = futures::future::join_all(programs.iter().map(Program::identity)).await;
    let founders = identities[0].founders.clone().expect("a founder");
    assert!(identities.iter().all(|identity| identity.founders.as_ref() == Some(&founders)));
    assert!(identities.iter().all(|identity| identity.cluster == identities[0].cluster));
    for program in programs.drain(..) {
        program.port.abort();
    }

    machines[0].wipe();
    machines[1].wipe();
    let wiped = [machines[0].start().await, machines[1].start().await];
    let waits: Vec<JoinHandle<_>> = wiped
        .iter()
        .map(|program| {
            let founding = program.founding.clone();
            tokio::spawn(async move { founding.identity().await })
        })
        .collect();
    for program in &wiped {
        let report = until(program, |report| report.waiting_for.len() == 1).await;
        assert_eq!(report.state, ServerState::Starting);
        assert_eq!(report.waiting_for[0].name, "infra2", "{report:?}");
    }

    let third = machines[2].start().await;
    let identity = third.identity().await;
    assert_eq!(identity.me, identities[2].me);
    third.run(founders);
    for program in &wiped {
        let report = until(program, |report| report.state == ServerState::Safe).await;
        assert!(report.summary().contains("this disk was lost or wiped"), "{report:?}");
    }
    let report =
        until(&third, |report| report.waiting_for.iter().all(|peer| peer.because.contains("safe"))).await;
    assert_eq!(report.state, ServerState::Voter);
    assert_eq!(report.waiting_for.len(), 2, "{report:?}");
    assert!(report.reason.starts_with("no leader: 2 of 3 voters"), "{report:?}");
    assert!(waits.iter().all(|wait| !wait.is_finished()), "nothing may form");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_member_finds_its_place_by_its_urls() {
    let mut machines = machines(2);
    // The first member alone is a cluster.
    let Source::Listed(both) = machines[0].first.source.clone() else { panic!("they are listed") };
    let alone = both.split(',').next().unwrap_or_default().to_owned();
    machines[0].first.source = Source::Listed(alone);
    let first = machines[0].start().await;
    let identity = first.identity().await;
    let mut members = identity.founders.clone().expect("a founder");
    let added = Member {
        id: MemberId(0xadd),
        peer_urls: vec![machines[1].first.advertise_peer[0].to_string()],
        is_learner: true,
        ..Member::default()
    };
    members.push(added.clone());
    first.run(members);

    machines[1].first.state = ClusterState::Existing;
    machines[1].first.source = Source::Listed(both);
    let second = machines[1].start().await;
    let joined = second.identity().await;
    assert_eq!(joined, Identity { me: added.id, cluster: identity.cluster, founders: None });
    second.port.abort();
    drop(second);

    // The same ID never starts again from an empty disk.
    machines[1].wipe();
    let again = machines[1].start().await;
    let founding = again.founding.clone();
    let wait = tokio::spawn(async move { founding.identity().await });
    let report = until(&again, |report| report.state == ServerState::Safe).await;
    assert!(report.summary().contains("knows this member with another disk"), "{report:?}");
    assert!(!wait.is_finished());
}

#[tokio::test]
async fn flags_that_do_not_fit_the_cluster_are_refused_in_etcds_words() {
    let mut machines = machines(2);
    let Source::Listed(both) = machines[0].first.source.clone() else { panic!("they are listed") };
    let alone = both.split(',').next().unwrap_or_default().to_owned();
    machines[0].first.source = Source::Listed(alone);
    let first = machines[0].start().await;
    let members = first.identity().await.founders.expect("a founder");
    first.run(members);
    machines[1].first.state = ClusterState::Existing;
    machines[1].first.source = Source::Listed(both);
    let second = machines[1].start().await;
    let error = second.founding.identity().await.expect_err("it was not added").to_string();
    assert!(error.contains("member count is unequal"), "{error}");
}

//! One real server: started, asked, paused, killed and started again with the same flags.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use kvorum::client::{Client, Error, MemberState, Timeouts};
use kvorum::proto::etcdserverpb as pb;
use kvorum::types::MemberId;
use rustix::process::Signal;

use super::address::Address;
use super::bench::Ground;
use super::process::{Launch, Process, read_log};
use super::tools::Server;
use super::wait::until;

/// For anything that will happen, soon or late: generous, since two cores may be busy with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// For calls that members answer; the server itself gives up on a request after some seconds.
pub(crate) const TIMEOUTS: Timeouts =
    Timeouts { dial: Duration::from_secs(2), call: Duration::from_secs(20) };

pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) data_dir: PathBuf,
    pub(crate) client_url: String,
    pub(crate) peer_url: String,
    program: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    client: Client,
}

impl Member {
    /// A member that lies ready with no flags but those given; its data folder is etcd's default.
    pub(crate) fn new(
        ground: &Ground,
        server: &Server,
        name: &str,
        address: &Address,
        flags: Vec<String>,
    ) -> Member {
        let client_url = address.client_url();
        Member {
            name: name.to_owned(),
            flags,
            environment: Vec::new(),
            data_dir: ground.folder.join(format!("{name}.etcd")),
            client: Client::connect([&client_url], TIMEOUTS).expect("a member's URL is an endpoint"),
            client_url,
            peer_url: address.peer_url(),
            program: server.path.clone(),
            folder: ground.folder.clone(),
            log: ground.log_file(name),
            process: None,
        }
    }

    /// The flags that say where a member listens and what it is called.
    pub(crate) fn place(name: &str, address: &Address) -> Vec<String> {
        let (client, peer) = (address.client_url(), address.peer_url());
        vec![
            format!("--name={name}"),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ]
    }

    pub(crate) fn start(&mut self) {
        assert!(!self.is_running(), "{} already runs", self.name);
        self.process = Some(Process::start(&Launch {
            program: self.program.clone(),
            arguments: self.flags.clone(),
            environment: self.environment.clone(),
            folder: self.folder.clone(),
            log: self.log.clone(),
        }));
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// kill -9; the process is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, not waited for.
    pub(crate) fn ask_to_stop(&self) {
        self.running().signal(Signal::TERM);
    }

    /// SIGTERM and the end that follows it.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.end().await
    }

    /// The end of a process that ends by itself.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the member was started");
        let status = process.end(PATIENCE).await;
        self.process = None;
        status
    }

    pub(crate) fn pause(&self) {
        self.running().signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.running().signal(Signal::CONT);
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the member runs")
    }

    /// Everything on its disk is gone.
    pub(crate) fn wipe(&mut self) {
        assert!(!self.is_running(), "{} runs on the disk that is to be wiped", self.name);
        fs::remove_dir_all(&self.data_dir).expect("the data folder is there");
    }

    /// A client of this member alone.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn status(&self) -> Result<pb::StatusResponse, Error> {
        self.client.status().await
    }

    pub(crate) async fn id(&self) -> MemberId {
        let status = self.status().await.expect("the member answers");
        MemberId(status.header.expect("every answer has a header").member_id)
    }

    /// What it says of its own standing; only a member of ours does.
    pub(crate) async fn state(&self) -> Result<MemberState, String> {
        self.client.state().await.map_err(|error| error.to_string())
    }

    /// Until it serves and knows a leader.
    pub(crate) async fn ready(&mut self) {
        until(&format!("{} to be ready", self.name), PATIENCE, async || {
            if !self.is_running() {
                panic!("{} has ended", self.name);
            }
            let health = self.client.health().await.map_err(|error| error.to_string())?;
            if health.healthy { Ok(()) } else { Err(health.reason) }
        })
        .await;
    }

    /// All that it wrote.
    pub(crate) fn log_text(&self) -> String {
        read_log(&self.log)
    }
}

//! A cluster of real etcd that can begin again: the same ports, the same identities, no data.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kvorum::client::{Client, Consistency, Timeouts};

use super::tool::tool;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster needs to begin again.
pub(super) struct Place {
    folder: PathBuf,
    ports: Vec<(u16, u16)>,
}

/// A running cluster; it ends with this value.
pub(super) struct Cluster {
    members: Vec<Child>,
    pub(super) endpoints: Vec<String>,
    pub(super) peer_urls: Vec<String>,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Place {
    pub(super) fn new(folder: PathBuf, members: usize) -> Place {
        // All are held until the last is found, so that they differ.
        let held: Vec<_> = (0..2 * members).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let port = |at: usize| held[at].local_addr().unwrap().port();
        Place { folder, ports: (0..members).map(|at| (port(2 * at), port(2 * at + 1))).collect() }
    }

    /// Starts all members without data and waits until each can commit.
    pub(super) fn begin(&self) -> Cluster {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let plan: Vec<_> =
            self.ports.iter().enumerate().map(|(at, (_, peer))| format!("m{at}={}", url(*peer))).collect();
        let members = self.ports.iter().enumerate().map(|(at, (client, peer))| {
            let data = self.folder.join(format!("m{at}"));
            let _ = std::fs::remove_dir_all(&data);
            Command::new(tool("etcd"))
                .args(["--name", &format!("m{at}"), "--data-dir"])
                .arg(data)
                .args(["--listen-client-urls", &url(*client), "--advertise-client-urls", &url(*client)])
                .args(["--listen-peer-urls", &url(*peer), "--initial-advertise-peer-urls", &url(*peer)])
                .args(["--initial-cluster", &plan.join(","), "--unsafe-no-fsync"])
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(self.folder.join(format!("m{at}.log"))).unwrap())
                .spawn()
                .unwrap()
        });
        let members = members.collect();
        let endpoints: Vec<_> = self.ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async { Client::connect(&endpoints, Timeouts::default()).unwrap() });
        let peer_urls = self.ports.iter().map(|(_, peer)| url(*peer)).collect();
        let cluster = Cluster { members, endpoints, peer_urls, runtime, client };
        cluster.wait_until_settled();
        cluster
    }
}

impl Cluster {
    /// Healthy, under its final name and with the cluster version set: nothing of its own is left to be written.
    #[expect(clippy::disallowed_methods, reason = "bounded looks at other processes, without a runtime")]
    fn wait_until_settled(&self) {
        let start = Instant::now();
        while !self.is_settled() {
            assert!(start.elapsed() < PATIENCE, "etcd did not start within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_settled(&self) -> bool {
        self.runtime.block_on(async {
            for member in self.client.each() {
                let version =
                    member.http_get("/version").await.map(|answer| answer.text()).unwrap_or_default();
                let started = member.members(Consistency::Serializable).await.is_ok_and(|list| {
                    list.members.len() == self.endpoints.len()
                        && list.members.iter().all(|member| !member.name.is_empty())
                });
                let healthy = member.health().await.is_ok_and(|health| health.healthy);
                if !(started && healthy && version.contains("\"etcdcluster\":\"3.7.0\"")) {
                    return false;
                }
            }
            true
        })
    }

    /// The members' identities in the order of the member list.
    pub(super) fn member_ids(&self) -> Vec<u64> {
        let list = self.runtime.block_on(self.client.members(Consistency::Serializable)).unwrap();
        list.members.iter().map(|member| member.id).collect()
    }

    /// Identity and endpoint of each member, the leader first.
    pub(super) fn leader_first(&self) -> Vec<(u64, String)> {
        let mut found: Vec<_> = self.runtime.block_on(async {
            let mut found = Vec::new();
            for member in self.client.each() {
                let status = member.status().await.unwrap();
                let me = status.header.map_or(0, |header| header.member_id);
                found.push((
                    status.leader != me,
                    me,
                    member.endpoints().map(str::to_owned).collect::<String>(),
                ));
            }
            found
        });
        found.sort();
        found.into_iter().map(|(_, id, endpoint)| (id, endpoint)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended needs no killing.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

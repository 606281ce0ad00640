//! Three members of ours against three of real etcd, in alternation, on this machine: one page with the figures.
//!
//! Every round starts each system with fresh data on the same disk, runs the same loads, and stops it again.
//! Medians over the rounds are printed: one disturbed run must not decide.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::load::{Load, Operation};
use super::report::Report;
use super::{cpu, leader_endpoint, measure};
use crate::client::{Client, Timeouts};
use crate::ctl::fail::{Exit, Failure};
use crate::ctl::{Session, block_on, print, say};
use crate::proto::etcdserverpb as pb;

const MEMBERS: usize = 3;
const VALUE_BYTES: usize = 256;
const KEY: &[u8] = b"bench-read-key";
const START_AT_MOST: Duration = Duration::from_secs(30);

/// What starting, warming up and stopping one cluster takes.
const OVERHEAD: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Kvorum,
    Etcd,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Kvorum => "kvorum",
            System::Etcd => "etcd",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    kind: Kind,
    clients: usize,
    connections: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Linearizable,
    Serializable,
}

const WORKS: [Work; 7] = [
    Work { name: "put, 1 client at the leader", kind: Kind::Put, clients: 1, connections: 1 },
    Work { name: "put, 100 clients", kind: Kind::Put, clients: 100, connections: 30 },
    Work { name: "put, 1000 clients", kind: Kind::Put, clients: 1000, connections: 99 },
    Work { name: "linearizable get, 100 clients", kind: Kind::Linearizable, clients: 100, connections: 30 },
    Work { name: "linearizable get, 1000 clients", kind: Kind::Linearizable, clients: 1000, connections: 99 },
    Work { name: "serializable get, 100 clients", kind: Kind::Serializable, clients: 100, connections: 30 },
    Work { name: "serializable get, 1000 clients", kind: Kind::Serializable, clients: 1000, connections: 99 },
];

/// What one cluster's life brought.
struct Life {
    reports: Vec<Report>,
    /// Of the largest member, at the end.
    resident_bytes: u64,
}

pub(crate) fn versus_etcd(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let rounds = usize::try_from(flags.int("rounds")).ok().filter(|rounds| *rounds > 0);
    let rounds = rounds.ok_or_else(|| Failure::bad_args("--rounds must be 1 or more"))?;
    let seconds = u64::try_from(flags.int("seconds")).unwrap_or_default();
    let lives = (rounds * 2) as u32;
    let each = Duration::from_secs(seconds).saturating_sub(OVERHEAD * lives) / lives / WORKS.len() as u32;
    if each < Duration::from_millis(500) {
        let least = lives as u64 * (OVERHEAD.as_secs() + WORKS.len() as u64 / 2 + 1);
        return Err(Failure::bad_args(format!(
            "--seconds {seconds} is too short for {rounds} rounds; {least} would do"
        )));
    }
    let binaries = [(System::Kvorum, flags.text("kvorum")), (System::Etcd, flags.text("etcd"))];
    let versions = [version(binaries[0].1)?, version(binaries[1].1)?];
    let mut lives: [Vec<Life>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for (at, (system, binary)) in binaries.iter().enumerate() {
            say(&format!("round {} of {rounds}: {}\n", round + 1, system.name()));
            let mut life = None;
            block_on(async {
                // A dropped cluster ends its members and takes its data along.
                life = tokio::select! {
                    life = live(*system, binary, each) => Some(life?),
                    () = interrupted() => return Err(Failure::new(Exit::Failed, "interrupted")),
                };
                Ok(())
            })?;
            lives[at].extend(life);
        }
    }
    let page = page(&lives, &versions, rounds, each);
    match flags.text("out") {
        "" => print(page),
        file => fs::write(file, page)
            .map_err(|error| Failure::new(Exit::Failed, format!("writing {file}: {error}"))),
    }
}

fn version(binary: &str) -> Result<String, Failure> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| Failure::new(Exit::Failed, format!("starting {binary:?}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        // Without handlers the signals end the program by themselves.
        _ => std::future::pending().await,
    }
}

/// One cluster from its start to its end.
async fn live(system: System, binary: &str, each: Duration) -> Result<Life, Failure> {
    let cluster = Cluster::start(system, binary)?;
    let timeouts = Timeouts { call: Duration::from_secs(10), ..Timeouts::default() };
    let client = Client::connect(&cluster.endpoints, timeouts)?.patient(true);
    cluster.wait_until_healthy(&client).await?;
    let request =
        pb::PutRequest { key: KEY.into(), value: vec![b'v'; VALUE_BYTES].into(), ..Default::default() };
    client.put(&request).await?;
    let pids: Vec<u32> = cluster.members.iter().map(Child::id).collect();
    let leader = vec![leader_endpoint(&client).await?];
    warm_up(&cluster.endpoints, &pids).await?;
    let mut reports = Vec::new();
    for work in WORKS {
        let endpoints = if work.clients == 1 { &leader } else { &cluster.endpoints };
        let report = measure(&work.load(each), endpoints, &pids).await?;
        say(&format!(
            "  {}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, server CPU {:.1} us\n",
            work.name,
            report.per_second,
            report.p50_ms,
            report.p99_ms,
            report.server_cpu_us.unwrap_or_default()
        ));
        if let Some(error) = &report.first_error {
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "{}: {} of the requests failed at {}: {error}",
                    work.name,
                    report.errors,
                    system.name()
                ),
            ));
        }
        reports.push(report);
    }
    let resident_bytes = pids.iter().filter_map(|pid| cpu::resident_bytes(*pid)).max().unwrap_or_default();
    Ok(Life { reports, resident_bytes })
}

/// Connections, caches and the servers' memory settle before anything counts.
async fn warm_up(endpoints: &[String], pids: &[u32]) -> Result<(), Failure> {
    let put = Work { name: "warm-up", kind: Kind::Put, clients: 50, connections: 6 };
    measure(&put.load(Duration::from_secs(1)), endpoints, pids).await.map(drop)
}

impl Work {
    fn load(&self, at_most: Duration) -> Load {
        let read = |serializable| Operation::Range {
            key: Bytes::from_static(KEY),
            range_end: Bytes::new(),
            serializable,
            limit: 0,
            keys_only: false,
            count_only: false,
        };
        let operation = match self.kind {
            Kind::Put => {
                Operation::Put { key_size: 8, value_size: VALUE_BYTES, key_space: 100_000, sequential: true }
            }
            Kind::Linearizable => read(false),
            Kind::Serializable => read(true),
        };
        Load {
            operation,
            connections: self.connections,
            clients: self.clients,
            total: None,
            at_most: Some(at_most),
            per_second: 0,
        }
    }
}

/// Three members with a folder of their own; both end with it.
struct Cluster {
    members: Vec<Child>,
    endpoints: Vec<String>,
    folder: PathBuf,
}

impl Cluster {
    fn start(system: System, binary: &str) -> Result<Cluster, Failure> {
        let fail = |what: &str, error: std::io::Error| Failure::new(Exit::Failed, format!("{what}: {error}"));
        let name = format!("versus-etcd-{}-{}", std::process::id(), system.name());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).map_err(|error| fail("making a data folder", error))?;
        let ports = free_ports(2 * MEMBERS).map_err(|error| fail("finding free ports", error))?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let plan: Vec<_> = (0..MEMBERS).map(|at| format!("m{at}={}", url(ports[MEMBERS + at]))).collect();
        let mut cluster = Cluster { members: Vec::new(), endpoints: Vec::new(), folder };
        for at in 0..MEMBERS {
            let (client, peer) = (url(ports[at]), url(ports[MEMBERS + at]));
            let log = fs::File::create(cluster.folder.join(format!("m{at}.log")));
            let log = log.map_err(|error| fail("making a log file", error))?;
            let member = Command::new(binary)
                .args(["--name", &format!("m{at}"), "--data-dir"])
                .arg(cluster.folder.join(format!("m{at}")))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &plan.join(","), "--initial-cluster-state", "new"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .map_err(|error| fail(&format!("starting {binary:?}"), error))?;
            cluster.members.push(member);
            cluster.endpoints.push(format!("127.0.0.1:{}", ports[at]));
        }
        Ok(cluster)
    }

    async fn wait_until_healthy(&self, client: &Client) -> Result<(), Failure> {
        let start = Instant::now();
        for member in client.each() {
            while !member.health().await.is_ok_and(|health| health.healthy) {
                if start.elapsed() > START_AT_MOST {
                    let at: String = member.endpoints().map(str::to_owned).collect();
                    let log = self.last_log_line();
                    let text =
                        format!("{at} is not healthy after {START_AT_MOST:?}; a member's last word: {log}");
                    return Err(Failure::new(Exit::Failed, text));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    fn last_log_line(&self) -> String {
        let log = fs::read_to_string(self.folder.join("m0.log")).unwrap_or_default();
        log.lines().last().unwrap_or("nothing").to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended already needs no killing; either way it is waited for.
            let _ = member.kill();
            let _ = member.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ports that are free now: all are held until the last is found, so that they differ.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let held: std::io::Result<Vec<_>> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    held?.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn page(lives: &[Vec<Life>; 2], versions: &[String; 2], rounds: usize, each: Duration) -> String {
    let mut out = format!(
        "# Kvorum against etcd\n\n\
         Made by `make bench` (`kvorumctl bench versus-etcd`). Three members of each on one machine's loopback, with\n\
         real fsync, in alternation: {rounds} {}, fresh data each time, {:.1} s for each line, medians over the\n\
         rounds. Keys of 8 B, values of {VALUE_BYTES} B. The load generator runs on the same machine, so requests per\n\
         second are bounded by it as well; **CPU per request, summed over the three servers, is the figure to trust**.\n\n",
        if rounds == 1 { "round" } else { "rounds" },
        each.as_secs_f64()
    );
    let _ = writeln!(out, "- ours: {}\n- etcd: {}\n- {}\n", versions[0], versions[1], machine());
    out += "| work | server | requests/s | p50 ms | p99 ms | p99.9 ms | server CPU us | client CPU us |\n";
    out += "|---|---|--:|--:|--:|--:|--:|--:|\n";
    for (at, work) in WORKS.iter().enumerate() {
        let columns = lives.each_ref().map(|lives| Columns::of(lives, at));
        for (system, columns) in [System::Kvorum, System::Etcd].iter().zip(&columns) {
            let [rate, p50, p99, p999, server, client] = columns.0;
            let _ = writeln!(
                out,
                "| {} | {} | {rate:.0} | {p50:.2} | {p99:.2} | {p999:.2} | {server:.1} | {client:.1} |",
                work.name,
                system.name()
            );
        }
        let ratio = |column: usize| columns[0].0[column] / columns[1].0[column].max(f64::MIN_POSITIVE);
        let _ = writeln!(
            out,
            "| | **ratio** | **{:.2}** | {:.2} | {:.2} | {:.2} | **{:.2}** | |",
            ratio(0),
            ratio(1),
            ratio(2),
            ratio(3),
            ratio(4)
        );
    }
    let memory =
        lives.each_ref().map(|lives| median(lives.iter().map(|life| life.resident_bytes as f64)) / 1e6);
    let _ = writeln!(
        out,
        "\nRatio: ours divided by etcd's; more is better for requests per second, less for all else.\n\n\
         Memory of the largest member at the end: ours {:.0} MB, etcd {:.0} MB.",
        memory[0], memory[1]
    );
    out
}

/// Medians of one line: requests/s, p50, p99, p99.9, server CPU, client CPU.
struct Columns([f64; 6]);

impl Columns {
    fn of(lives: &[Life], work: usize) -> Columns {
        let column = |read: fn(&Report) -> f64| median(lives.iter().map(|life| read(&life.reports[work])));
        Columns([
            column(|report| report.per_second),
            column(|report| report.p50_ms),
            column(|report| report.p99_ms),
            column(|report| report.p999_ms),
            column(|report| report.server_cpu_us.unwrap_or_default()),
            column(|report| report.client_cpu_us),
        ])
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// What the figures depend on.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, name)| name);
    let memory = read("/proc/meminfo")
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cpus} CPUs ({model}), {} GB, Linux {}, data on {}",
        memory.unwrap_or_default() / 1_000_000,
        kernel.trim(),
        file_system(&std::env::temp_dir())
    )
}

/// The type of the file system that holds `folder`.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let holds = |line: &str| {
        let mut fields = line.split(' ');
        let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        folder.starts_with(at).then(|| (at.len(), kind.to_owned()))
    };
    mounts.lines().filter_map(holds).max().map_or("an unknown file system".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}

//! CPU time of processes, and which processes serve an endpoint, both as the kernel tells under `/proc`.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

/// User and system time so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage {
    servers: Duration,
    own: Duration,
    /// How many of the servers' processes could be read.
    pub count: usize,
}

/// Time used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// `None` when no server's process is known.
    pub servers: Option<Duration>,
    pub own: Duration,
}

impl Usage {
    pub(super) fn now(servers: &[u32]) -> Usage {
        let times: Vec<_> = servers.iter().filter_map(|pid| time_of(&pid.to_string())).collect();
        Usage { servers: times.iter().sum(), count: times.len(), own: time_of("self").unwrap_or_default() }
    }

    pub(super) fn since(&self, before: &Usage) -> Used {
        let whole = self.count > 0 && self.count == before.count;
        Used {
            servers: whole.then(|| self.servers.saturating_sub(before.servers)),
            own: self.own - before.own,
        }
    }
}

/// Bytes of memory that a process holds now.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn time_of(pid: &str) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold spaces.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_nanos(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

/// Processes of this machine that listen on the ports of these endpoints; those of other users stay hidden.
pub(super) fn listeners<'a>(endpoints: impl Iterator<Item = &'a str>) -> Vec<u32> {
    let ports: HashSet<u16> = endpoints.filter_map(host_and_port).map(|(_, port)| port).collect();
    let sockets: HashSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table.lines().skip(1).filter_map(|line| listening(line, &ports)).collect::<Vec<_>>()
        })
        .collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| holds_one_of(*pid, &sockets))
        .collect();
    found.sort_unstable();
    found
}

/// The inode of a listening socket on one of the ports.
fn listening(line: &str, ports: &HashSet<u16>) -> Option<String> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let ours = ports.contains(&u16::from_str_radix(port, 16).ok()?) && *fields.get(3)? == LISTEN;
    ours.then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
}

fn holds_one_of(pid: u32, sockets: &HashSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.contains(target)))
}

/// Host and port of an endpoint such as `http://10.0.0.1:2379`.
pub(super) fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let (host, port) = rest.split('/').next()?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_port_and_uses_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let me = std::process::id();
        assert_eq!(listeners([endpoint.as_str()].into_iter()), [me]);
        let before = Usage::now(&[me]);
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(40) {}
        let used = Usage::now(&[me]).since(&before);
        assert!(
            used.servers.is_some_and(|time| time > Duration::ZERO) && used.own > Duration::ZERO,
            "{used:?}"
        );
        assert!(resident_bytes(me).unwrap() > 1 << 20);
    }
}

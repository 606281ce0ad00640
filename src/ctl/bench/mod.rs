//! `bench`: how fast a cluster is and what it costs, seen from a client that costs little itself.
//!
//! flags -> [`load::Load`] -> [`load::run`] with CPU counted around it -> [`report::Report`] -> text or JSON.
//! Requests per second depend on the machine and on what else it does; CPU per operation is the figure to trust.

mod cpu;
mod grpc;
mod load;
mod report;
mod versus;

use std::time::Duration;

use bytes::Bytes;

use super::fail::{Exit, Failure};
use super::{Session, block_on, kv, print};
use crate::client::{Client, Error};
use crate::types::MemberId;
use load::{Load, Operation};
use report::Report;

pub(super) use versus::versus_etcd;

pub(super) fn put(session: Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let operation = Operation::Put {
        key_size: positive(&session, "key-size")?,
        value_size: usize::try_from(flags.int("val-size")).map_err(|_| below_zero("val-size"))?,
        key_space: positive(&session, "key-space-size")?,
        sequential: flags.bool("sequential-keys"),
    };
    block_on(measure_and_print(session, operation))
}

pub(super) fn range(session: Session) -> Result<(), Failure> {
    let (key, range_end) = match session.args() {
        [key] => (key.clone(), Vec::new()),
        [key, end] => (key.clone(), end.clone()),
        _ => return Err(Failure::bad_args("bench range needs a key and may have a range_end")),
    };
    let flags = &session.flags;
    let operation = Operation::Range {
        key: Bytes::from(key),
        range_end: range_end.into(),
        serializable: kv::is_serializable(flags.text("consistency"))?,
        limit: flags.int("limit"),
        keys_only: flags.bool("keys-only"),
        count_only: flags.bool("count-only"),
    };
    block_on(measure_and_print(session, operation))
}

async fn measure_and_print(mut session: Session, operation: Operation) -> Result<(), Failure> {
    let (client, _) = session.open()?;
    let flags = &session.flags;
    let load = Load {
        operation,
        connections: positive(&session, "conns")?,
        clients: positive(&session, "clients")?,
        total: Some(positive(&session, "total")?),
        at_most: None,
        per_second: u64::try_from(flags.int("rate")).map_err(|_| below_zero("rate"))?,
    };
    let endpoints = match flags.bool("target-leader") {
        true => vec![leader_endpoint(&client).await?],
        false => client.endpoints().map(str::to_owned).collect(),
    };
    let servers = servers(&client, flags.text("server-pids"))?;
    let report = measure(&load, &endpoints, &servers).await?;
    print(if flags.bool("json") { report.json() } else { report.text() })
}

/// Runs a load with the servers' and our own CPU counted around it.
async fn measure(load: &Load, endpoints: &[String], servers: &[u32]) -> Result<Report, Failure> {
    let before = cpu::Usage::now(servers);
    let figures = load::run(load, endpoints).await?;
    let used = cpu::Usage::now(servers).since(&before);
    Ok(Report::new(load, figures, used))
}

/// The endpoint whose member says that it leads.
async fn leader_endpoint(client: &Client) -> Result<String, Failure> {
    for member in client.each() {
        let status = match member.status().await {
            Ok(status) => status,
            // A member that is down does not lead.
            Err(Error::Deadline { .. } | Error::Unreachable { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let me = status.header.map(|header| MemberId(header.member_id));
        if me == Some(MemberId(status.leader)) {
            return Ok(member.endpoints().map(str::to_owned).collect());
        }
    }
    Err(Failure::new(Exit::Failed, "none of the endpoints leads; --endpoints must name all members"))
}

/// The servers' processes: those that were named, or those of this machine that listen on the endpoints' ports.
fn servers(client: &Client, named: &str) -> Result<Vec<u32>, Failure> {
    if named.is_empty() {
        return Ok(cpu::listeners(client.endpoints()));
    }
    named
        .split(',')
        .map(|pid| {
            pid.trim().parse().map_err(|_| {
                Failure::bad_args(format!(
                    "--server-pids: {pid:?} is no process number; 123,124 would be right"
                ))
            })
        })
        .collect()
}

fn positive(session: &Session, name: &str) -> Result<usize, Failure> {
    match usize::try_from(session.flags.int(name)) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(Failure::bad_args(format!(
            "--{name} is {}; 1 or more would be right",
            session.flags.int(name)
        ))),
    }
}

fn below_zero(name: &str) -> Failure {
    Failure::bad_args(format!("--{name} is below zero; 0 or more would be right"))
}

/// Time without end for loads that are bounded by their number of requests.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

//! `endpoint` and `move-leader`: what is asked of endpoints one by one.

use std::time::Instant;

use super::fail::{Exit, Failure, describe};
use super::flags::lossy;
use super::globals::{Globals, log_line};
use super::print::EndpointHealth;
use super::{Session, print, say, text};
use crate::client::{Client, Code, Consistency, Error};
use crate::proto::etcdserverpb as pb;
use crate::types::{MemberId, Revision};

/// Any key will do: reading it takes the same way through the cluster as every linearizable read.
const PROBE_KEY: &[u8] = b"health";

pub(super) async fn health(mut session: Session) -> Result<(), Failure> {
    let (globals, printer) = session.globals()?;
    let endpoints = endpoints(&session, &globals).await?;
    let found = futures::future::join_all(endpoints.iter().map(|endpoint| probe(&globals, endpoint))).await;
    let output = printer.endpoint_health(&found)?;
    say(&output.err);
    print(output.out)?;
    if found.iter().any(|one| !one.error.is_empty()) {
        return Err(Failure::new(Exit::Failed, "unhealthy cluster"));
    }
    Ok(())
}

pub(super) async fn status(mut session: Session) -> Result<(), Failure> {
    let (globals, printer) = session.globals()?;
    let mut found = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(&session, &globals).await? {
        match one(&globals, &endpoint)?.status().await {
            Ok(status) => found.push((endpoint, status)),
            Err(error) => {
                failed = true;
                note_unreached(&endpoint, &error);
                say(&format!("Failed to get the status of endpoint {endpoint} ({})\n", describe(&error)));
            }
        }
    }
    print(printer.endpoint_status(&found)?)?;
    if failed { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

pub(super) async fn hash_kv(mut session: Session) -> Result<(), Failure> {
    let revision = Revision(session.flags.int("rev"));
    let (globals, printer) = session.globals()?;
    let mut found = Vec::new();
    let mut last = None;
    for endpoint in endpoints(&session, &globals).await? {
        match one(&globals, &endpoint)?.hash_kv(revision).await {
            Ok(hash) => found.push((endpoint, hash)),
            Err(error) => {
                note_unreached(&endpoint, &error);
                say(&format!("Failed to get the hash of endpoint {endpoint} ({})\n", describe(&error)));
                last = Some(error);
            }
        }
    }
    print(printer.endpoint_hash_kv(&found)?)?;
    last.map_or(Ok(()), |error| Err(error.into()))
}

pub(super) async fn move_leader(mut session: Session) -> Result<(), Failure> {
    let [target] = session.args() else {
        return Err(Failure::bad_args("move-leader command needs 1 argument"));
    };
    let target = MemberId(text::parse_uint(&lossy(target), 16).map_err(Failure::bad_args)?);
    let (client, printer) = session.open()?;
    for member in client.each() {
        let status = member.status().await?;
        let me = status.header.map_or(0, |header| header.member_id);
        if status.leader == me {
            let answer = member.move_leader(target).await?;
            return print(printer.move_leader(MemberId(me), target, &answer)?);
        }
    }
    let asked: Vec<_> = client.endpoints().collect();
    Err(Failure::bad_args(format!("no leader endpoint given at [{}]", asked.join(" "))))
}

/// The endpoints of the flag, or with `--cluster` those that the cluster's members advertise.
async fn endpoints(session: &Session, globals: &Globals) -> Result<Vec<String>, Failure> {
    if !session.flags.bool("cluster") {
        return Ok(session.flags.list("endpoints").to_vec());
    }
    let list = globals.client()?.members(Consistency::Linearizable).await.map_err(|error| {
        let why = describe(&error);
        Failure::new(Exit::Failed, format!("failed to fetch endpoints from etcd cluster member list: {why}"))
    })?;
    Ok(list.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

fn one(globals: &Globals, endpoint: &str) -> Result<Client, Failure> {
    globals.client_of(&[endpoint.to_owned()])
}

/// An endpoint is healthy when a linearizable read takes effect there and no alarm is raised.
async fn probe(globals: &Globals, endpoint: &str) -> EndpointHealth {
    let mut found = EndpointHealth {
        endpoint: endpoint.to_owned(),
        healthy: false,
        took: String::new(),
        error: String::new(),
    };
    let client = match one(globals, endpoint) {
        Ok(client) => client,
        Err(failure) => {
            found.error = failure.text.trim_start_matches("Error: ").trim_end().to_owned();
            return found;
        }
    };
    let start = Instant::now();
    let read = client.range(&pb::RangeRequest { key: PROBE_KEY.into(), ..Default::default() }).await;
    found.took = text::duration(start.elapsed());
    match read {
        Ok(_) => {}
        // Whoever is refused the key has learnt all the same that the cluster answers.
        Err(error) if error.code() == Some(Code::PermissionDenied) => {}
        Err(error) => {
            note_unreached(endpoint, &error);
            found.error = describe(&error);
            return found;
        }
    }
    found.error = match client.alarms().await {
        Ok(answer) => describe_alarms(&answer.alarms),
        Err(_) => "Unable to fetch the alarm list".to_owned(),
    };
    found.healthy = found.error.is_empty();
    found
}

fn describe_alarms(alarms: &[pb::AlarmMember]) -> String {
    if alarms.is_empty() {
        return String::new();
    }
    let name = |alarm: &pb::AlarmMember| match pb::AlarmType::try_from(alarm.alarm) {
        Ok(pb::AlarmType::Nospace) => "NOSPACE ",
        Ok(pb::AlarmType::Corrupt) => "CORRUPT ",
        Ok(pb::AlarmType::None) | Err(_) => "UNKNOWN ",
    };
    alarms.iter().fold("Active Alarm(s): ".to_owned(), |text, alarm| text + name(alarm))
}

/// "context deadline exceeded" hides why; the reason goes to standard error as a log line.
fn note_unreached(endpoint: &str, error: &Error) {
    if let Error::Deadline { last: Some(last), .. } = error {
        say(&log_line("warn", "call failed", &[("endpoint", endpoint), ("error", &last.to_string())]));
    }
}

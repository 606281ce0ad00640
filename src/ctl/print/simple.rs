//! The format for people: keys and values on lines of their own, one line for each row.

use std::io::Write;

use super::{EndpointHealth, MemberAnswer, Output, Printer, event_name, member_rows};
use crate::ctl::text::hex_escaped;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;
use crate::types::MemberId;
use pb::response_op::Response;

pub(super) fn get(printer: &Printer, answer: &pb::RangeResponse) -> Vec<u8> {
    let mut out = Vec::new();
    key_values(&mut out, printer, &answer.kvs);
    out
}

pub(super) fn put(printer: &Printer, answer: &pb::PutResponse) -> Vec<u8> {
    let mut out = b"OK\n".to_vec();
    key_values(&mut out, printer, &answer.prev_kv);
    out
}

pub(super) fn delete(printer: &Printer, answer: &pb::DeleteRangeResponse) -> Vec<u8> {
    let mut out = format!("{}\n", answer.deleted).into_bytes();
    key_values(&mut out, printer, &answer.prev_kvs);
    out
}

pub(super) fn txn(printer: &Printer, answer: &pb::TxnResponse) -> Vec<u8> {
    let mut out = if answer.succeeded { b"SUCCESS\n".to_vec() } else { b"FAILURE\n".to_vec() };
    for op in &answer.responses {
        out.push(b'\n');
        out.extend(match &op.response {
            Some(Response::ResponseRange(answer)) => get(printer, answer),
            Some(Response::ResponsePut(answer)) => put(printer, answer),
            Some(Response::ResponseDeleteRange(answer)) => delete(printer, answer),
            Some(Response::ResponseTxn(answer)) => txn(printer, answer),
            None => b"unexpected response\n".to_vec(),
        });
    }
    out
}

pub(super) fn watch(printer: &Printer, answer: &pb::WatchResponse) -> Vec<u8> {
    let mut out = Vec::new();
    for event in &answer.events {
        let _ = writeln!(out, "{}", event_name(event));
        key_values(&mut out, printer, &event.prev_kv);
        key_values(&mut out, printer, &event.kv);
    }
    out
}

pub(super) fn members(answer: &MemberAnswer<'_>) -> Vec<u8> {
    let changed = |id: MemberId, what: &str, header: &Option<pb::ResponseHeader>| {
        let cluster = header.as_ref().map_or(0, |header| header.cluster_id);
        format!("Member {:16x} {what} cluster {cluster:16x}\n", id.0).into_bytes()
    };
    match answer {
        MemberAnswer::Added(answer) => {
            let (id, learner) =
                answer.member.as_ref().map_or((0, false), |member| (member.id, member.is_learner));
            changed(MemberId(id), if learner { "added as learner to" } else { "added to" }, &answer.header)
        }
        MemberAnswer::Removed(id, answer) => changed(*id, "removed from", &answer.header),
        MemberAnswer::Updated(id, answer) => changed(*id, "updated in", &answer.header),
        MemberAnswer::Promoted(id, answer) => changed(*id, "promoted in", &answer.header),
        MemberAnswer::Listed(list) => rows(&member_rows(list)),
    }
}

pub(super) fn endpoint_health(found: &[EndpointHealth]) -> Output {
    let mut output = Output::default();
    for one in found {
        if one.error.is_empty() {
            let took = &one.took;
            let _ = writeln!(
                output.out,
                "{} is healthy: successfully committed proposal: took = {took}",
                one.endpoint
            );
        } else {
            output.err +=
                &format!("{} is unhealthy: failed to commit proposal: {}\n", one.endpoint, one.error);
        }
    }
    output
}

pub(super) fn rows(rows: &[Vec<String>]) -> Vec<u8> {
    rows.iter().flat_map(|row| format!("{}\n", row.join(", ")).into_bytes()).collect()
}

fn key_values<'a>(out: &mut Vec<u8>, printer: &Printer, kvs: impl IntoIterator<Item = &'a KeyValue>) {
    let mut line = |bytes: &[u8]| {
        if printer.hex {
            out.extend(hex_escaped(bytes).into_bytes());
        } else {
            out.extend(bytes);
        }
        out.push(b'\n');
    };
    for kv in kvs {
        if !printer.value_only {
            line(&kv.key);
        }
        line(&kv.value);
    }
}

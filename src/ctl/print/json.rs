//! The format for scripts: one JSON value on a line, in the field order and with the omissions that Go's
//! encoder makes of etcd's messages, since scripts compare and cut these lines as text.

use std::fmt::{Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{EndpointHealth, MemberAnswer};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::{Event, KeyValue};
use pb::response_op::Response;

pub(super) fn line(json: String) -> Vec<u8> {
    (json + "\n").into_bytes()
}

/// An object under construction.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object("{".to_owned())
    }

    /// A field that is always there.
    fn put(mut self, name: &str, json: impl Display) -> Object {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}\"{name}\":{json}");
        self
    }

    fn some(self, name: &str, json: Option<impl Display>) -> Object {
        match json {
            Some(json) => self.put(name, json),
            None => self,
        }
    }

    fn number<N: Display + Default + PartialEq>(self, name: &str, number: N) -> Object {
        if number == N::default() { self } else { self.put(name, number) }
    }

    fn truth(self, name: &str, truth: bool) -> Object {
        if truth { self.put(name, true) } else { self }
    }

    fn text(self, name: &str, text: &str) -> Object {
        if text.is_empty() { self } else { self.put(name, string(text)) }
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Object {
        if bytes.is_empty() { self } else { self.put(name, format!("\"{}\"", STANDARD.encode(bytes))) }
    }

    fn list(self, name: &str, items: impl IntoIterator<Item = String>) -> Object {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() { self } else { self.put(name, list(items)) }
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

pub(super) fn range(answer: &pb::RangeResponse) -> String {
    Object::new()
        .some("header", answer.header.as_ref().map(header))
        .list("kvs", answer.kvs.iter().map(key_value))
        .truth("more", answer.more)
        .number("count", answer.count)
        .end()
}

pub(super) fn put(answer: &pb::PutResponse) -> String {
    Object::new()
        .some("header", answer.header.as_ref().map(header))
        .some("prev_kv", answer.prev_kv.as_ref().map(key_value))
        .end()
}

pub(super) fn delete(answer: &pb::DeleteRangeResponse) -> String {
    Object::new()
        .some("header", answer.header.as_ref().map(header))
        .number("deleted", answer.deleted)
        .list("prev_kvs", answer.prev_kvs.iter().map(key_value))
        .end()
}

pub(super) fn txn(answer: &pb::TxnResponse) -> String {
    let response = |op: &pb::ResponseOp| {
        let inner = match &op.response {
            Some(Response::ResponseRange(answer)) => Object::new().put("response_range", range(answer)),
            Some(Response::ResponsePut(answer)) => Object::new().put("response_put", put(answer)),
            Some(Response::ResponseDeleteRange(answer)) => {
                Object::new().put("response_delete_range", delete(answer))
            }
            Some(Response::ResponseTxn(answer)) => Object::new().put("response_txn", txn(answer)),
            None => Object::new(),
        };
        Object::new().put("Response", inner.end()).end()
    };
    Object::new()
        .some("header", answer.header.as_ref().map(header))
        .truth("succeeded", answer.succeeded)
        .list("responses", answer.responses.iter().map(response))
        .end()
}

pub(super) fn watch(answer: &pb::WatchResponse) -> String {
    let events =
        if answer.events.is_empty() { "null".to_owned() } else { list(answer.events.iter().map(event)) };
    Object::new()
        .put("Header", header(&answer.header.unwrap_or_default()))
        .put("Events", events)
        .put("CompactRevision", answer.compact_revision)
        .put("Canceled", answer.canceled)
        .put("Created", answer.created)
        .put("CancelReason", string(&answer.cancel_reason))
        .end()
}

pub(super) fn members(hex: bool, answer: &MemberAnswer<'_>) -> String {
    let (header, added, members) = match answer {
        MemberAnswer::Added(answer) => (&answer.header, answer.member.as_ref(), &answer.members),
        MemberAnswer::Removed(_, answer) => (&answer.header, None, &answer.members),
        MemberAnswer::Updated(_, answer) => (&answer.header, None, &answer.members),
        MemberAnswer::Promoted(_, answer) => (&answer.header, None, &answer.members),
        MemberAnswer::Listed(answer) => (&answer.header, None, &answer.members),
    };
    if hex {
        return Object::new()
            .put("header", header.as_ref().map_or("null".to_owned(), header_in_hex))
            .some("member", added.map(member_in_hex))
            .put("members", list(members.iter().map(member_in_hex)))
            .end();
    }
    Object::new()
        .some("header", header.as_ref().map(self::header))
        .some("member", added.map(member))
        .list("members", members.iter().map(member))
        .end()
}

pub(super) fn endpoint_health(found: &[EndpointHealth]) -> String {
    list(found.iter().map(|one| {
        Object::new()
            .put("endpoint", string(&one.endpoint))
            .put("health", one.healthy)
            .put("took", string(&one.took))
            .text("error", &one.error)
            .end()
    }))
}

pub(super) fn endpoint_status(found: &[(String, pb::StatusResponse)]) -> String {
    list_or_null(found.iter().map(|(endpoint, status)| {
        Object::new().put("Endpoint", string(endpoint)).put("Status", self::status(status)).end()
    }))
}

pub(super) fn endpoint_hash_kv(found: &[(String, pb::HashKvResponse)]) -> String {
    list_or_null(found.iter().map(|(endpoint, hash)| {
        let inner = Object::new()
            .some("header", hash.header.as_ref().map(header))
            .number("hash", hash.hash)
            .number("compact_revision", hash.compact_revision)
            .number("hash_revision", hash.hash_revision)
            .end();
        Object::new().put("Endpoint", string(endpoint)).put("HashKV", inner).end()
    }))
}

pub(super) fn move_leader(answer: &pb::MoveLeaderResponse) -> String {
    Object::new().some("header", answer.header.as_ref().map(header)).end()
}

fn status(status: &pb::StatusResponse) -> String {
    let downgrade = status.downgrade_info.as_ref().map(|info| {
        Object::new().truth("enabled", info.enabled).text("targetVersion", &info.target_version).end()
    });
    Object::new()
        .some("header", status.header.as_ref().map(header))
        .text("version", &status.version)
        .number("dbSize", status.db_size)
        .number("leader", status.leader)
        .number("raftIndex", status.raft_index)
        .number("raftTerm", status.raft_term)
        .number("raftAppliedIndex", status.raft_applied_index)
        .list("errors", status.errors.iter().map(|error| string(error)))
        .number("dbSizeInUse", status.db_size_in_use)
        .truth("isLearner", status.is_learner)
        .text("storageVersion", &status.storage_version)
        .number("dbSizeQuota", status.db_size_quota)
        .some("downgradeInfo", downgrade)
        .end()
}

fn header(header: &pb::ResponseHeader) -> String {
    Object::new()
        .number("cluster_id", header.cluster_id)
        .number("member_id", header.member_id)
        .number("revision", header.revision)
        .number("raft_term", header.raft_term)
        .end()
}

fn header_in_hex(header: &pb::ResponseHeader) -> String {
    Object::new()
        .put("cluster_id", format!("\"{:x}\"", header.cluster_id))
        .put("member_id", format!("\"{:x}\"", header.member_id))
        .number("revision", header.revision)
        .number("raft_term", header.raft_term)
        .end()
}

fn key_value(kv: &KeyValue) -> String {
    Object::new()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision)
        .number("mod_revision", kv.mod_revision)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease)
        .end()
}

fn event(event: &Event) -> String {
    Object::new()
        .number("type", event.r#type)
        .some("kv", event.kv.as_ref().map(key_value))
        .some("prev_kv", event.prev_kv.as_ref().map(key_value))
        .end()
}

fn member(member: &pb::Member) -> String {
    member_after_id(Object::new().number("ID", member.id), member)
}

fn member_in_hex(member: &pb::Member) -> String {
    member_after_id(Object::new().put("ID", format!("\"{:x}\"", member.id)), member)
}

fn member_after_id(object: Object, member: &pb::Member) -> String {
    object
        .text("name", &member.name)
        .list("peerURLs", member.peer_ur_ls.iter().map(|url| string(url)))
        .list("clientURLs", member.client_ur_ls.iter().map(|url| string(url)))
        .truth("isLearner", member.is_learner)
        .end()
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<_> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

fn list_or_null(items: impl ExactSizeIterator<Item = String>) -> String {
    if items.len() == 0 { "null".to_owned() } else { list(items) }
}

/// What HTML could stumble over is escaped too.
fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

//! The format for line tools: `"Name" : value`, one field on a line.

use std::fmt::{Display, Write};

use super::{EndpointHealth, event_name};
use crate::ctl::text::quote;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;
use crate::types::MemberId;
use pb::response_op::Response;

/// Lines of fields.
struct Fields {
    out: String,
    hex: bool,
}

impl Fields {
    fn new(hex: bool) -> Fields {
        Fields { out: String::new(), hex }
    }

    fn field(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.out, "\"{name}\" : {value}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.field(name, quote(value.as_bytes()));
    }

    fn id(&mut self, name: &str, id: u64) {
        if self.hex { self.field(name, MemberId(id)) } else { self.field(name, id) }
    }

    fn header(&mut self, header: &Option<pb::ResponseHeader>) {
        let header = header.unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        // Answers about members carry no revision.
        if header.revision > 0 {
            self.field("Revision", header.revision);
        }
        self.field("RaftTerm", header.raft_term);
    }

    fn key_value(&mut self, prefix: &str, kv: &KeyValue) {
        self.field(&format!("{prefix}Key"), quote(&kv.key));
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.field(&format!("{prefix}Value"), quote(&kv.value));
        if self.hex {
            self.field(&format!("{prefix}Lease"), format!("{:016x}", kv.lease));
        } else {
            self.field(&format!("{prefix}Lease"), kv.lease);
        }
    }

    fn end_of_item(&mut self) {
        self.out.push('\n');
    }

    fn done(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    fn get(&mut self, answer: &pb::RangeResponse) {
        self.header(&answer.header);
        for kv in &answer.kvs {
            self.key_value("", kv);
        }
        self.field("More", answer.more);
        self.field("Count", answer.count);
    }

    fn put(&mut self, answer: &pb::PutResponse) {
        self.header(&answer.header);
        if let Some(kv) = &answer.prev_kv {
            self.key_value("Prev", kv);
        }
    }

    fn delete(&mut self, answer: &pb::DeleteRangeResponse) {
        self.header(&answer.header);
        self.field("Deleted", answer.deleted);
        for kv in &answer.prev_kvs {
            self.key_value("Prev", kv);
        }
    }

    fn txn(&mut self, answer: &pb::TxnResponse) {
        self.header(&answer.header);
        self.field("Succeeded", answer.succeeded);
        for op in &answer.responses {
            match &op.response {
                Some(Response::ResponseRange(answer)) => self.get(answer),
                Some(Response::ResponsePut(answer)) => self.put(answer),
                Some(Response::ResponseDeleteRange(answer)) => self.delete(answer),
                Some(Response::ResponseTxn(answer)) => self.txn(answer),
                None => self.text("Unknown", "<nil>"),
            }
        }
    }
}

pub(super) fn get(hex: bool, answer: &pb::RangeResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.get(answer);
    fields.done()
}

pub(super) fn put(hex: bool, answer: &pb::PutResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.put(answer);
    fields.done()
}

pub(super) fn delete(hex: bool, answer: &pb::DeleteRangeResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.delete(answer);
    fields.done()
}

pub(super) fn txn(hex: bool, answer: &pb::TxnResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.txn(answer);
    fields.done()
}

pub(super) fn watch(hex: bool, answer: &pb::WatchResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.header(&answer.header);
    for event in &answer.events {
        fields.field("Type", event_name(event));
        if let Some(kv) = &event.prev_kv {
            fields.key_value("Prev", kv);
        }
        fields.key_value("", &event.kv.clone().unwrap_or_default());
    }
    fields.done()
}

pub(super) fn member_list(hex: bool, answer: &pb::MemberListResponse) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    fields.header(&answer.header);
    for member in &answer.members {
        fields.id("ID", member.id);
        fields.text("Name", &member.name);
        for url in &member.peer_ur_ls {
            fields.text("PeerURL", url);
        }
        for url in &member.client_ur_ls {
            fields.text("ClientURL", url);
        }
        fields.field("IsLearner", member.is_learner);
        fields.end_of_item();
    }
    fields.done()
}

pub(super) fn endpoint_health(found: &[EndpointHealth]) -> Vec<u8> {
    let mut fields = Fields::new(false);
    for one in found {
        fields.text("Endpoint", &one.endpoint);
        fields.field("Health", one.healthy);
        fields.field("Took", &one.took);
        fields.field("Error", &one.error);
        fields.end_of_item();
    }
    fields.done()
}

pub(super) fn endpoint_status(hex: bool, found: &[(String, pb::StatusResponse)]) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    for (endpoint, status) in found {
        let downgrade = status.downgrade_info.clone().unwrap_or_default();
        fields.header(&status.header);
        fields.text("Version", &status.version);
        fields.text("StorageVersion", &status.storage_version);
        fields.field("DBSize", status.db_size);
        fields.field("DBSizeInUse", status.db_size_in_use);
        fields.field("DBSizeQuota", status.db_size_quota);
        fields.field("Leader", status.leader);
        fields.field("IsLearner", status.is_learner);
        fields.field("RaftIndex", status.raft_index);
        fields.field("RaftAppliedIndex", status.raft_applied_index);
        fields.field("Errors", format!("[{}]", status.errors.join(" ")));
        fields.text("Endpoint", endpoint);
        fields.text("DowngradeTargetVersion", &downgrade.target_version);
        fields.field("DowngradeEnabled", downgrade.enabled);
        fields.end_of_item();
    }
    fields.done()
}

pub(super) fn endpoint_hash_kv(hex: bool, found: &[(String, pb::HashKvResponse)]) -> Vec<u8> {
    let mut fields = Fields::new(hex);
    for (endpoint, hash) in found {
        fields.header(&hash.header);
        fields.text("Endpoint", endpoint);
        fields.field("Hash", hash.hash);
        fields.field("HashRevision", hash.hash_revision);
        fields.end_of_item();
    }
    fields.done()
}

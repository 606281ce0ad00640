//! Outcomes become answers. Keys and values are shared with the store, not copied, until they are encoded.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::grpc;
use super::header;
use crate::membership::{Alarm, AlarmKind, Member};
use crate::mvcc::{DeleteResult, Event, EventKind, KeyValue, OpResult, PutResult, RangeResult, TxnResult};
use crate::proto::{etcdserverpb as pb, mvccpb};

type Header = Option<pb::ResponseHeader>;

/// A large answer is handed to the connection in parts of about this size.
const PART_BYTES: usize = 256 * 1024;

pub(super) fn key_value(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

pub(super) fn event(event: Event, prev_kv: Option<KeyValue>) -> mvccpb::Event {
    let kind = match event.kind {
        EventKind::Put => mvccpb::event::EventType::Put,
        EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event { r#type: kind as i32, kv: Some(key_value(event.kv)), prev_kv: prev_kv.map(key_value) }
}

pub(super) fn range(header: Header, result: RangeResult) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: result.kvs.into_iter().map(key_value).collect(),
        more: result.more,
        count: result.count,
    }
}

/// The same answer, encoded with its frame, in parts. Costs time in proportion to the keys: for a large one
/// it is called where it delays nobody.
pub(super) fn range_in_parts(header: Header, result: RangeResult) -> VecDeque<Bytes> {
    const KVS_TAG: u8 = 2 << 3 | 2;
    let rest = pb::RangeResponse { header, kvs: Vec::new(), more: result.more, count: result.count };
    let kvs: Vec<_> = result.kvs.into_iter().map(key_value).collect();
    let sizes = kvs.iter().map(|kv| {
        let length = kv.encoded_len();
        1 + prost::length_delimiter_len(length) + length
    });
    let length = rest.encoded_len() + sizes.sum::<usize>();
    let mut parts = VecDeque::new();
    let mut part = BytesMut::with_capacity(PART_BYTES.min(length) + 1024);
    grpc::frame_prefix(&mut part, length);
    rest.encode_raw(&mut part);
    for kv in kvs {
        part.put_u8(KVS_TAG);
        prost::encode_length_delimiter(kv.encoded_len(), &mut part).expect("the buffer grows as needed");
        kv.encode_raw(&mut part);
        if part.len() >= PART_BYTES {
            parts.push_back(part.split().freeze());
            part.reserve(PART_BYTES + 1024);
        }
    }
    parts.push_back(part.freeze());
    parts
}

pub(super) fn put(header: Header, result: PutResult) -> pb::PutResponse {
    pb::PutResponse { header, prev_kv: result.prev_kv.map(key_value) }
}

pub(super) fn delete_range(header: Header, result: DeleteResult) -> pb::DeleteRangeResponse {
    let prev_kvs = result.prev_kvs.into_iter().map(key_value).collect();
    pb::DeleteRangeResponse { header, deleted: result.deleted, prev_kvs }
}

pub(super) fn txn(header: Header, result: TxnResult) -> pb::TxnResponse {
    let responses = result.results.into_iter().map(|r| pb::ResponseOp { response: Some(op(r)) }).collect();
    pb::TxnResponse { header, succeeded: result.succeeded, responses }
}

/// A part's header holds its revision only, that of a nested transaction nothing, as etcd has it.
fn op(result: OpResult) -> pb::response_op::Response {
    use pb::response_op::Response;
    match result {
        OpResult::Range(r) => Response::ResponseRange(range(header::of_part(r.revision), r)),
        OpResult::Put(r) => Response::ResponsePut(put(header::of_part(r.revision), r)),
        OpResult::Delete(r) => Response::ResponseDeleteRange(delete_range(header::of_part(r.revision), r)),
        OpResult::Txn(r) => Response::ResponseTxn(txn(Some(pb::ResponseHeader::default()), r)),
    }
}

/// In the order of their identities, as etcd lists them.
pub(super) fn members(members: impl IntoIterator<Item = Member>) -> Vec<pb::Member> {
    let mut members: Vec<_> = members.into_iter().map(member).collect();
    members.sort_by_key(|member| member.id);
    members
}

pub(super) fn member(member: Member) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name,
        peer_ur_ls: member.peer_urls,
        client_ur_ls: member.client_urls,
        is_learner: member.is_learner,
    }
}

pub(super) fn alarm(alarm: &Alarm) -> pb::AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => pb::AlarmType::Nospace,
        AlarmKind::Corrupt => pb::AlarmType::Corrupt,
    };
    pb::AlarmMember { member_id: alarm.member.0, alarm: kind as i32 }
}

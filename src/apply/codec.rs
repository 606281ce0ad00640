//! Envelope to bytes and back: `proto/command.proto`, in which client requests keep their etcd messages.
//!
//! Decoding shares the entry's memory: keys and values are cut out of it, not copied. `rpc` turns its clients'
//! requests into operations by the same functions, after its own checks.

use bytes::Bytes;
use prost::Message;

use super::command::{Command, DecodeError, Envelope, ProposalId};
use crate::membership::{Alarm, AlarmKind};
use crate::mvcc::{
    Compare, CompareResult, CompareTarget, DeleteOp, KeyRange, Op, PutOp, RangeOp, Sort, SortTarget, TxnOp,
};
use crate::proto::command::{self as proto, envelope};
use crate::proto::etcdserverpb as pb;
use crate::types::{LeaseId, MemberId, Revision};

impl Envelope {
    /// The bytes that the log carries.
    pub fn encode(&self) -> Bytes {
        let message = proto::Envelope {
            origin: self.id.origin.0,
            sequence: self.id.sequence,
            command: Some(to_proto(&self.command)),
        };
        Bytes::from(message.encode_to_vec())
    }

    /// Reads what [`Envelope::encode`] wrote. An error is a fault of this member's disk or peer.
    ///
    /// # Errors
    /// What the bytes lack or hold that no command has.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let message =
            proto::Envelope::decode(bytes).map_err(|error| DecodeError { reason: error.to_string() })?;
        let id = ProposalId { origin: MemberId(message.origin), sequence: message.sequence };
        let command = message.command.ok_or_else(|| missing("command"))?;
        Ok(Envelope { id, command: from_proto(command)? })
    }
}

fn missing(field: &str) -> DecodeError {
    DecodeError { reason: format!("{field} is missing") }
}

fn unknown(field: &str, value: i32) -> DecodeError {
    DecodeError { reason: format!("{field} has the unknown value {value}") }
}

fn to_proto(command: &Command) -> envelope::Command {
    match command {
        Command::Put(op) => envelope::Command::Put(put_to_proto(op)),
        Command::DeleteRange(op) => envelope::Command::DeleteRange(delete_to_proto(op)),
        Command::Txn(op) => envelope::Command::Txn(txn_to_proto(op)),
        Command::Compact { revision, physical } => {
            envelope::Command::Compact(pb::CompactionRequest { revision: revision.0, physical: *physical })
        }
        Command::RaiseAlarm(alarm) => {
            alarm_to_proto(pb::alarm_request::AlarmAction::Activate, alarm.member, Some(alarm.kind))
        }
        Command::ClearAlarm { member, kind } => {
            alarm_to_proto(pb::alarm_request::AlarmAction::Deactivate, *member, *kind)
        }
        Command::Publish { member, name, client_urls } => envelope::Command::Publish(pb::Member {
            id: member.0,
            name: name.clone(),
            client_ur_ls: client_urls.clone(),
            ..pb::Member::default()
        }),
        Command::UpdateMember { member, peer_urls } => {
            envelope::Command::UpdateMember(pb::MemberUpdateRequest {
                id: member.0,
                peer_ur_ls: peer_urls.clone(),
            })
        }
        Command::SetClusterVersion(version) => envelope::Command::ClusterVersion(version.clone()),
    }
}

fn from_proto(command: envelope::Command) -> Result<Command, DecodeError> {
    Ok(match command {
        envelope::Command::Put(op) => Command::Put(put_from_proto(op)),
        envelope::Command::DeleteRange(op) => Command::DeleteRange(delete_from_proto(op)),
        envelope::Command::Txn(op) => Command::Txn(txn_from_proto(op)?),
        envelope::Command::Compact(op) => {
            Command::Compact { revision: Revision(op.revision), physical: op.physical }
        }
        envelope::Command::Alarm(op) => alarm_from_proto(&op)?,
        envelope::Command::Publish(member) => Command::Publish {
            member: MemberId(member.id),
            name: member.name,
            client_urls: member.client_ur_ls,
        },
        envelope::Command::UpdateMember(op) => {
            Command::UpdateMember { member: MemberId(op.id), peer_urls: op.peer_ur_ls }
        }
        envelope::Command::ClusterVersion(version) => Command::SetClusterVersion(version),
    })
}

fn alarm_to_proto(
    action: pb::alarm_request::AlarmAction,
    member: MemberId,
    kind: Option<AlarmKind>,
) -> envelope::Command {
    let alarm = match kind {
        None => pb::AlarmType::None,
        Some(AlarmKind::NoSpace) => pb::AlarmType::Nospace,
        Some(AlarmKind::Corrupt) => pb::AlarmType::Corrupt,
    };
    envelope::Command::Alarm(pb::AlarmRequest {
        action: action.into(),
        member_id: member.0,
        alarm: alarm.into(),
    })
}

fn alarm_from_proto(op: &pb::AlarmRequest) -> Result<Command, DecodeError> {
    use pb::alarm_request::AlarmAction;
    let member = MemberId(op.member_id);
    let kind = match pb::AlarmType::try_from(op.alarm).map_err(|_| unknown("alarm", op.alarm))? {
        pb::AlarmType::None => None,
        pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
        pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
    };
    match (AlarmAction::try_from(op.action), kind) {
        (Ok(AlarmAction::Activate), Some(kind)) => Ok(Command::RaiseAlarm(Alarm { member, kind })),
        (Ok(AlarmAction::Activate), None) => Err(missing("alarm")),
        (Ok(AlarmAction::Deactivate), kind) => Ok(Command::ClearAlarm { member, kind }),
        (Ok(AlarmAction::Get) | Err(_), _) => Err(unknown("action", op.action)),
    }
}

fn bounds_to_proto(range: &KeyRange) -> (Bytes, Bytes) {
    match range {
        KeyRange::One(key) => (key.clone(), Bytes::new()),
        KeyRange::Span(start, end) => (start.clone(), end.clone()),
        KeyRange::From(start) => (start.clone(), Bytes::from_static(b"\0")),
    }
}

fn put_to_proto(op: &PutOp) -> pb::PutRequest {
    pb::PutRequest {
        key: op.key.clone(),
        value: op.value.clone(),
        lease: op.lease.0,
        prev_kv: op.prev_kv,
        ignore_value: op.ignore_value,
        ignore_lease: op.ignore_lease,
    }
}

pub(crate) fn put_from_proto(op: pb::PutRequest) -> PutOp {
    PutOp {
        key: op.key,
        value: op.value,
        lease: LeaseId(op.lease),
        prev_kv: op.prev_kv,
        ignore_value: op.ignore_value,
        ignore_lease: op.ignore_lease,
    }
}

fn delete_to_proto(op: &DeleteOp) -> pb::DeleteRangeRequest {
    let (key, range_end) = bounds_to_proto(&op.range);
    pb::DeleteRangeRequest { key, range_end, prev_kv: op.prev_kv }
}

pub(crate) fn delete_from_proto(op: pb::DeleteRangeRequest) -> DeleteOp {
    DeleteOp { range: KeyRange::of(op.key, op.range_end), prev_kv: op.prev_kv }
}

fn range_to_proto(op: &RangeOp) -> pb::RangeRequest {
    use pb::range_request::{SortOrder, SortTarget as Target};
    let (key, range_end) = bounds_to_proto(&op.range);
    let target = match op.sort.map_or(SortTarget::Key, |sort| sort.target) {
        SortTarget::Key => Target::Key,
        SortTarget::Version => Target::Version,
        SortTarget::Create => Target::Create,
        SortTarget::Mod => Target::Mod,
        SortTarget::Value => Target::Value,
    };
    let order = match op.sort {
        None => SortOrder::None,
        Some(sort) if sort.after_limit => SortOrder::None,
        Some(sort) if sort.descending => SortOrder::Descend,
        Some(_) => SortOrder::Ascend,
    };
    pb::RangeRequest {
        key,
        range_end,
        limit: op.limit,
        revision: op.revision.0,
        sort_order: order.into(),
        sort_target: target.into(),
        serializable: op.serializable,
        keys_only: op.keys_only,
        count_only: op.count_only,
        min_mod_revision: op.min_mod_revision.0,
        max_mod_revision: op.max_mod_revision.0,
        min_create_revision: op.min_create_revision.0,
        max_create_revision: op.max_create_revision.0,
    }
}

/// # Errors
/// A sort order or target that etcd does not know.
pub(crate) fn range_from_proto(op: pb::RangeRequest) -> Result<RangeOp, DecodeError> {
    use pb::range_request::{SortOrder, SortTarget as Target};
    let target = Target::try_from(op.sort_target).map_err(|_| unknown("sort_target", op.sort_target))?;
    let order = SortOrder::try_from(op.sort_order).map_err(|_| unknown("sort_order", op.sort_order))?;
    Ok(RangeOp {
        range: KeyRange::of(op.key, op.range_end),
        limit: op.limit,
        revision: Revision(op.revision),
        sort: sort(target, order),
        keys_only: op.keys_only,
        count_only: op.count_only,
        min_mod_revision: Revision(op.min_mod_revision),
        max_mod_revision: Revision(op.max_mod_revision),
        min_create_revision: Revision(op.min_create_revision),
        max_create_revision: Revision(op.max_create_revision),
        serializable: op.serializable,
    })
}

/// A target other than the key without an order sorts upwards, but only what the limit lets through.
fn sort(target: pb::range_request::SortTarget, order: pb::range_request::SortOrder) -> Option<Sort> {
    use pb::range_request::{SortOrder, SortTarget as Target};
    let target = match target {
        Target::Key => SortTarget::Key,
        Target::Version => SortTarget::Version,
        Target::Create => SortTarget::Create,
        Target::Mod => SortTarget::Mod,
        Target::Value => SortTarget::Value,
    };
    let (descending, after_limit) = (order == SortOrder::Descend, order == SortOrder::None);
    (target != SortTarget::Key || descending).then_some(Sort { target, descending, after_limit })
}

fn txn_to_proto(op: &TxnOp) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: op.compares.iter().map(compare_to_proto).collect(),
        success: op.success.iter().map(op_to_proto).collect(),
        failure: op.failure.iter().map(op_to_proto).collect(),
    }
}

fn txn_from_proto(op: pb::TxnRequest) -> Result<TxnOp, DecodeError> {
    Ok(TxnOp {
        compares: op.compare.into_iter().map(compare_from_proto).collect::<Result<_, _>>()?,
        success: op.success.into_iter().map(op_from_proto).collect::<Result<_, _>>()?,
        failure: op.failure.into_iter().map(op_from_proto).collect::<Result<_, _>>()?,
    })
}

fn op_to_proto(op: &Op) -> pb::RequestOp {
    use pb::request_op::Request;
    let request = match op {
        Op::Range(op) => Request::RequestRange(range_to_proto(op)),
        Op::Put(op) => Request::RequestPut(put_to_proto(op)),
        Op::Delete(op) => Request::RequestDeleteRange(delete_to_proto(op)),
        Op::Txn(op) => Request::RequestTxn(txn_to_proto(op)),
    };
    pb::RequestOp { request: Some(request) }
}

fn op_from_proto(op: pb::RequestOp) -> Result<Op, DecodeError> {
    use pb::request_op::Request;
    Ok(match op.request.ok_or_else(|| missing("request of an operation"))? {
        Request::RequestRange(op) => Op::Range(range_from_proto(op)?),
        Request::RequestPut(op) => Op::Put(put_from_proto(op)),
        Request::RequestDeleteRange(op) => Op::Delete(delete_from_proto(op)),
        Request::RequestTxn(op) => Op::Txn(txn_from_proto(op)?),
    })
}

fn compare_to_proto(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult as Result, CompareTarget as Target, TargetUnion};
    let (key, range_end) = bounds_to_proto(&compare.range);
    let result = match compare.result {
        CompareResult::Equal => Result::Equal,
        CompareResult::Greater => Result::Greater,
        CompareResult::Less => Result::Less,
        CompareResult::NotEqual => Result::NotEqual,
    };
    let (target, union) = match &compare.target {
        CompareTarget::Version(version) => (Target::Version, TargetUnion::Version(*version)),
        CompareTarget::Create(revision) => (Target::Create, TargetUnion::CreateRevision(revision.0)),
        CompareTarget::Mod(revision) => (Target::Mod, TargetUnion::ModRevision(revision.0)),
        CompareTarget::Value(value) => (Target::Value, TargetUnion::Value(value.clone())),
        CompareTarget::Lease(lease) => (Target::Lease, TargetUnion::Lease(lease.0)),
    };
    pb::Compare { result: result.into(), target: target.into(), key, range_end, target_union: Some(union) }
}

/// A value that does not fit the target counts as the target's zero, as in etcd.
///
/// # Errors
/// A result or a target that etcd does not know.
pub(crate) fn compare_from_proto(compare: pb::Compare) -> Result<Compare, DecodeError> {
    use pb::compare::{CompareResult as Answer, CompareTarget as Target, TargetUnion};
    let result = match Answer::try_from(compare.result).map_err(|_| unknown("result", compare.result))? {
        Answer::Equal => CompareResult::Equal,
        Answer::Greater => CompareResult::Greater,
        Answer::Less => CompareResult::Less,
        Answer::NotEqual => CompareResult::NotEqual,
    };
    let union = compare.target_union;
    let target = match Target::try_from(compare.target).map_err(|_| unknown("target", compare.target))? {
        Target::Version => CompareTarget::Version(match union {
            Some(TargetUnion::Version(version)) => version,
            _ => 0,
        }),
        Target::Create => CompareTarget::Create(match union {
            Some(TargetUnion::CreateRevision(revision)) => Revision(revision),
            _ => Revision(0),
        }),
        Target::Mod => CompareTarget::Mod(match union {
            Some(TargetUnion::ModRevision(revision)) => Revision(revision),
            _ => Revision(0),
        }),
        Target::Value => CompareTarget::Value(match union {
            Some(TargetUnion::Value(value)) => value,
            _ => Bytes::new(),
        }),
        Target::Lease => CompareTarget::Lease(match union {
            Some(TargetUnion::Lease(lease)) => LeaseId(lease),
            _ => LeaseId(0),
        }),
    };
    Ok(Compare { range: KeyRange::of(compare.key, compare.range_end), result, target })
}

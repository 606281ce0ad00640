//! Answers as text: one function for each kind of answer, one file for each format.
//!
//! Pure: bytes come back, and the caller writes them. A format that has no form for an answer says so only
//! after the call was made, as etcdctl does.

mod fields;
mod json;
mod protobuf;
mod simple;
mod table;

use std::str::FromStr;

use super::fail::{Exit, Failure};
use super::text;
use crate::proto::etcdserverpb as pb;
use crate::types::MemberId;

/// `--write-out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Fields,
    Json,
    Protobuf,
    Simple,
    Table,
}

impl FromStr for Format {
    type Err = ();
    fn from_str(text: &str) -> Result<Format, ()> {
        Ok(match text {
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "simple" => Format::Simple,
            "table" => Format::Table,
            _ => return Err(()),
        })
    }
}

/// What `endpoint health` found at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointHealth {
    pub endpoint: String,
    pub healthy: bool,
    /// How long it took, when it was asked.
    pub took: String,
    pub error: String,
}

/// Any of the five answers about members.
pub(crate) enum MemberAnswer<'a> {
    Added(&'a pb::MemberAddResponse),
    Removed(MemberId, &'a pb::MemberRemoveResponse),
    Updated(MemberId, &'a pb::MemberUpdateResponse),
    Promoted(MemberId, &'a pb::MemberPromoteResponse),
    Listed(&'a pb::MemberListResponse),
}

/// What is written to standard output and to standard error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub out: Vec<u8>,
    pub err: String,
}

type Printed = Result<Vec<u8>, Failure>;

/// Prints in one format.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    pub format: Format,
    /// Byte strings and identities as hexadecimal numbers, where the format knows how.
    pub hex: bool,
    pub value_only: bool,
}

impl Printer {
    pub(crate) fn get(&self, answer: &pb::RangeResponse) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::get(self, answer)),
            Format::Fields => Ok(fields::get(self.hex, answer)),
            Format::Json => Ok(json::line(json::range(answer))),
            Format::Protobuf => Ok(protobuf::message(answer)),
            Format::Table => Err(self.unsupported()),
        }
    }

    pub(crate) fn put(&self, answer: &pb::PutResponse) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::put(self, answer)),
            Format::Fields => Ok(fields::put(self.hex, answer)),
            Format::Json => Ok(json::line(json::put(answer))),
            Format::Protobuf => Ok(protobuf::message(answer)),
            Format::Table => Err(self.unsupported()),
        }
    }

    pub(crate) fn delete(&self, answer: &pb::DeleteRangeResponse) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::delete(self, answer)),
            Format::Fields => Ok(fields::delete(self.hex, answer)),
            Format::Json => Ok(json::line(json::delete(answer))),
            Format::Protobuf => Ok(protobuf::message(answer)),
            Format::Table => Err(self.unsupported()),
        }
    }

    pub(crate) fn txn(&self, answer: &pb::TxnResponse) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::txn(self, answer)),
            Format::Fields => Ok(fields::txn(self.hex, answer)),
            Format::Json => Ok(json::line(json::txn(answer))),
            Format::Protobuf => Ok(protobuf::message(answer)),
            Format::Table => Err(self.unsupported()),
        }
    }

    pub(crate) fn watch(&self, answer: &pb::WatchResponse) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::watch(self, answer)),
            Format::Fields => Ok(fields::watch(self.hex, answer)),
            Format::Json => Ok(json::line(json::watch(answer))),
            Format::Protobuf => Ok(protobuf::watch(answer)),
            Format::Table => Err(self.unsupported()),
        }
    }

    pub(crate) fn members(&self, answer: &MemberAnswer<'_>) -> Printed {
        match (self.format, answer) {
            (Format::Simple, _) => Ok(simple::members(answer)),
            (Format::Json, _) => Ok(json::line(json::members(self.hex, answer))),
            (Format::Protobuf, _) => Ok(protobuf::members(answer)),
            (Format::Fields, MemberAnswer::Listed(list)) => Ok(fields::member_list(self.hex, list)),
            (Format::Table, MemberAnswer::Listed(list)) => {
                Ok(table::draw(&MEMBER_COLUMNS, &member_rows(list)))
            }
            (Format::Fields | Format::Table, _) => Err(self.unsupported()),
        }
    }

    pub(crate) fn endpoint_health(&self, found: &[EndpointHealth]) -> Result<Output, Failure> {
        let whole = |out| Ok(Output { out, err: String::new() });
        match self.format {
            Format::Simple => Ok(simple::endpoint_health(found)),
            Format::Fields => whole(fields::endpoint_health(found)),
            Format::Json => whole(json::line(json::endpoint_health(found))),
            Format::Table => whole(table::draw(&HEALTH_COLUMNS, &health_rows(found))),
            Format::Protobuf => Err(self.unsupported()),
        }
    }

    pub(crate) fn endpoint_status(&self, found: &[(String, pb::StatusResponse)]) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::rows(&status_rows(found))),
            Format::Fields => Ok(fields::endpoint_status(self.hex, found)),
            Format::Json => Ok(json::line(json::endpoint_status(found))),
            Format::Table => Ok(table::draw(&STATUS_COLUMNS, &status_rows(found))),
            Format::Protobuf => Err(self.unsupported()),
        }
    }

    pub(crate) fn endpoint_hash_kv(&self, found: &[(String, pb::HashKvResponse)]) -> Printed {
        match self.format {
            Format::Simple => Ok(simple::rows(&hash_rows(found))),
            Format::Fields => Ok(fields::endpoint_hash_kv(self.hex, found)),
            Format::Json => Ok(json::line(json::endpoint_hash_kv(found))),
            Format::Table => Ok(table::draw(&HASH_COLUMNS, &hash_rows(found))),
            Format::Protobuf => Err(self.unsupported()),
        }
    }

    pub(crate) fn move_leader(
        &self,
        from: MemberId,
        to: MemberId,
        answer: &pb::MoveLeaderResponse,
    ) -> Printed {
        match self.format {
            Format::Simple => Ok(format!("Leadership transferred from {from} to {to}\n").into_bytes()),
            Format::Json => Ok(json::line(json::move_leader(answer))),
            Format::Protobuf => Ok(protobuf::message(answer)),
            Format::Fields | Format::Table => Err(self.unsupported()),
        }
    }

    fn unsupported(&self) -> Failure {
        let name = match self.format {
            Format::Fields => "fields",
            Format::Json => "json",
            Format::Protobuf => "protobuf",
            Format::Simple => "simple",
            Format::Table => "table",
        };
        Failure::new(Exit::BadFeature, format!("{name} not supported as output format"))
    }
}

const MEMBER_COLUMNS: [&str; 6] = ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"];
const HEALTH_COLUMNS: [&str; 4] = ["ENDPOINT", "HEALTH", "TOOK", "ERROR"];
const HASH_COLUMNS: [&str; 3] = ["ENDPOINT", "HASH", "HASH REVISION"];
const STATUS_COLUMNS: [&str; 16] = [
    "ENDPOINT",
    "ID",
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "QUOTA",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
    "DOWNGRADE TARGET VERSION",
    "DOWNGRADE ENABLED",
];

fn member_rows(list: &pb::MemberListResponse) -> Vec<Vec<String>> {
    list.members
        .iter()
        .map(|member| {
            vec![
                MemberId(member.id).to_string(),
                if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
                member.name.clone(),
                member.peer_ur_ls.join(","),
                member.client_ur_ls.join(","),
                member.is_learner.to_string(),
            ]
        })
        .collect()
}

fn health_rows(found: &[EndpointHealth]) -> Vec<Vec<String>> {
    found
        .iter()
        .map(|one| vec![one.endpoint.clone(), one.healthy.to_string(), one.took.clone(), one.error.clone()])
        .collect()
}

fn status_rows(found: &[(String, pb::StatusResponse)]) -> Vec<Vec<String>> {
    let size = |bytes: i64| text::bytes(u64::try_from(bytes).unwrap_or_default());
    found
        .iter()
        .map(|(endpoint, status)| {
            let me = status.header.as_ref().map_or(0, |header| header.member_id);
            let in_use = (status.db_size_in_use * 100).checked_div(status.db_size).unwrap_or(100);
            let downgrade = status.downgrade_info.clone().unwrap_or_default();
            vec![
                endpoint.clone(),
                MemberId(me).to_string(),
                status.version.clone(),
                status.storage_version.clone(),
                size(status.db_size),
                size(status.db_size_in_use),
                format!("{}%", 100 - in_use),
                size(status.db_size_quota),
                (status.leader == me).to_string(),
                status.is_learner.to_string(),
                status.raft_term.to_string(),
                status.raft_index.to_string(),
                status.raft_applied_index.to_string(),
                status.errors.join(", "),
                downgrade.target_version,
                downgrade.enabled.to_string(),
            ]
        })
        .collect()
}

fn hash_rows(found: &[(String, pb::HashKvResponse)]) -> Vec<Vec<String>> {
    found
        .iter()
        .map(|(endpoint, hash)| vec![endpoint.clone(), hash.hash.to_string(), hash.hash_revision.to_string()])
        .collect()
}

/// What an event is called.
fn event_name(event: &crate::proto::mvccpb::Event) -> &'static str {
    use crate::proto::mvccpb::event::EventType;
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

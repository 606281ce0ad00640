//! Answers as texts that are equal when the answers mean the same.

use kvorum::proto::etcdserverpb as pb;
use tonic::{Response, Status};

/// The answers that carry a header.
pub(crate) trait Headed {
    fn header(&self) -> Option<&pb::ResponseHeader>;

    /// The members that it lists, if it does.
    fn members(&mut self) -> Option<&mut Vec<pb::Member>> {
        None
    }
}

macro_rules! listing {
    ($($answer:ty),* $(,)?) => {
        $(impl Headed for $answer {
            fn header(&self) -> Option<&pb::ResponseHeader> {
                self.header.as_ref()
            }

            fn members(&mut self) -> Option<&mut Vec<pb::Member>> {
                Some(&mut self.members)
            }
        })*
    };
}

macro_rules! headed {
    ($($answer:ty),* $(,)?) => {
        $(impl Headed for $answer {
            fn header(&self) -> Option<&pb::ResponseHeader> {
                self.header.as_ref()
            }
        })*
    };
}

headed!(
    pb::RangeResponse,
    pb::PutResponse,
    pb::DeleteRangeResponse,
    pb::TxnResponse,
    pb::CompactionResponse,
    pb::WatchResponse,
    pb::AlarmResponse,
    pb::HashKvResponse,
    pb::StatusResponse,
    pb::DefragmentResponse,
    pb::MoveLeaderResponse,
);

listing!(
    pb::MemberAddResponse,
    pb::MemberRemoveResponse,
    pb::MemberUpdateResponse,
    pb::MemberListResponse,
    pb::MemberPromoteResponse,
);

/// What a call answered: the text to compare, and the revision in its header, 0 if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) revision: i64,
}

pub(crate) fn of<A: Headed + std::fmt::Debug>(result: Result<Response<A>, Status>) -> Answer {
    match result {
        Ok(response) => {
            let mut message = response.into_inner();
            let revision = message.header().map_or(0, |header| header.revision);
            let order = message.members().map_or("", put_in_order);
            Answer { text: format!("{message:?}{order}"), revision }
        }
        Err(status) => of_error(&status),
    }
}

/// Members are listed by identity, and those differ between the clusters: checks that, then goes by name.
#[expect(clippy::ptr_arg, reason = "it is handed over as a function of what a message lends")]
fn put_in_order(members: &mut Vec<pb::Member>) -> &'static str {
    let is_in_order = members.is_sorted_by_key(|member| member.id);
    members.sort_by_key(|member| (member.name.clone(), member.peer_ur_ls.clone()));
    if is_in_order { "" } else { " but not in order of identity" }
}

pub(crate) fn of_error(status: &Status) -> Answer {
    Answer { text: format!("{:?}: {}", status.code(), status.message()), revision: 0 }
}

/// What one cluster's answers hold that another's may hold differently.
pub(crate) struct Names {
    /// Its own names, and those that both clusters share.
    pub(crate) aliases: Vec<(String, String)>,
    /// More than one member voted when it began, so nobody can say for how many terms.
    pub(crate) is_term_free: bool,
}

/// Puts the names that both clusters share in place of what is each one's own.
pub(crate) fn normalised(text: &str, names: &Names) -> String {
    let mut text = if names.is_term_free { mask(text, "raft_term: ") } else { text.to_owned() };
    for (own, shared) in &names.aliases {
        text = text.replace(own.as_str(), shared);
    }
    text
}

/// Replaces the number behind `field`, unless it is 0.
fn mask(text: &str, field: &str) -> String {
    replace_numbers(text, field, |number| if number == "0" { "0" } else { "N" })
}

/// Replaces the number behind `field`, which each server is free to choose.
pub(crate) fn drop_number(text: &str, field: &str) -> String {
    replace_numbers(text, field, |_| "N")
}

fn replace_numbers(text: &str, field: &str, by: impl Fn(&str) -> &'static str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(field) {
        let (before, after) = rest.split_at(at + field.len());
        out.push_str(before);
        let number = after.bytes().take_while(u8::is_ascii_digit).count();
        out.push_str(by(&after[..number]));
        rest = &after[number..];
    }
    out.push_str(rest);
    out
}

//! The format for programs: the answer's own encoding, with nothing before or after it.

use prost::Message;

use super::MemberAnswer;
use crate::proto::etcdserverpb as pb;

pub(super) fn message(answer: &impl Message) -> Vec<u8> {
    answer.encode_to_vec()
}

/// Which watcher of the stream it was and why it ended are the client's business.
pub(super) fn watch(answer: &pb::WatchResponse) -> Vec<u8> {
    pb::WatchResponse { watch_id: 0, fragment: false, cancel_reason: String::new(), ..answer.clone() }
        .encode_to_vec()
}

pub(super) fn members(answer: &MemberAnswer<'_>) -> Vec<u8> {
    match answer {
        MemberAnswer::Added(answer) => answer.encode_to_vec(),
        MemberAnswer::Removed(_, answer) => answer.encode_to_vec(),
        MemberAnswer::Updated(_, answer) => answer.encode_to_vec(),
        MemberAnswer::Promoted(_, answer) => answer.encode_to_vec(),
        MemberAnswer::Listed(answer) => answer.encode_to_vec(),
    }
}

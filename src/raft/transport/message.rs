//! What members say to each other, and the bytes of it.
//!
//! On the control link requests and answers are paired by the frame's id. On the append link answers
//! come in the order of the requests.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};

use super::frame::{Frame, put_frame};
use crate::raft::codec::{self, bad, get_u8, get_u32, get_u64};
use crate::raft::failover::Leadership;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::types::MemberId;

/// Which link a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A leader's entries to one follower.
    Append = 1,
    /// Small messages that must never queue behind big ones: heartbeats, votes, reads, changes.
    Control = 2,
    /// One checkpoint.
    Snapshot = 3,
    /// A follower's proposals to the leader.
    Forward = 4,
}

/// The first frame on every connection, after the preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub cluster: u64,
    pub from: MemberId,
    pub to: MemberId,
    pub link: Link,
}

/// The answer to [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Welcome {
    Come = 0,
    OtherCluster = 1,
    NotMe = 2,
    /// Who says hello was removed from the cluster, for ever.
    Removed = 3,
}

#[derive(Debug)]
pub(in crate::raft) enum Request {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Up to where must be applied for a read that began now? Asked by who is promised to the one asked for
    /// this term.
    ReadIndex(u64),
    /// Are you still promised to me for this term, and to nobody later?
    Follows(u64),
    /// A change of membership, as `change` encodes it.
    Change(Bytes),
    /// Has your link to this leader broken, too?
    Lost(Leadership),
    Ping,
}

#[derive(Debug)]
pub(in crate::raft) enum Reply {
    Append(StreamAppendResult<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    /// Whether the target took the leadership on.
    Transfer(bool),
    Follows(bool),
    /// A client index; none when the one asked cannot say (it does not lead).
    ReadIndex(Option<u64>),
    Change(Bytes),
    /// Whether it has, and where the log of the one asked ends.
    Lost {
        yes: bool,
        last: Option<LogId>,
    },
    Pong,
    /// The vote of the receiver of a snapshot, after it was installed.
    Snapshot(Vote),
    /// The one asked is stopping.
    Stopped,
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const APPEND: u8 = 10;
    pub(super) const VOTE: u8 = 11;
    pub(super) const PRE_VOTE: u8 = 12;
    pub(super) const TRANSFER: u8 = 13;
    pub(super) const READ_INDEX: u8 = 14;
    pub(super) const CHANGE: u8 = 15;
    pub(super) const PING: u8 = 16;
    pub(super) const SNAPSHOT: u8 = 17;
    pub(super) const STOPPED: u8 = 18;
    pub(super) const LOST: u8 = 19;
    pub(super) const FOLLOWS: u8 = 22;
    pub(super) const PROPOSE: u8 = 20;
    pub(super) const REFUSED: u8 = 21;
    pub(super) const SNAPSHOT_HEAD: u8 = 30;
    pub(super) const SNAPSHOT_PIECE: u8 = 31;
    pub(super) const SNAPSHOT_END: u8 = 32;
}

fn unexpected<T>(frame: &Frame, wanted: &str) -> io::Result<T> {
    Err(bad(format!("a message of kind {} came where {wanted} was expected", frame.kind)))
}

impl Hello {
    pub(super) fn put(&self, to: &mut BytesMut) {
        put_frame(to, kind::HELLO, 0, |body| {
            body.put_u64_le(self.cluster);
            body.put_u64_le(self.from.0);
            body.put_u64_le(self.to.0);
            body.put_u8(self.link as u8);
        });
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        if frame.kind != kind::HELLO {
            return unexpected(&frame, "a hello");
        }
        let body = &mut frame.body;
        let (cluster, from, to) = (get_u64(body)?, MemberId(get_u64(body)?), MemberId(get_u64(body)?));
        let link = match get_u8(body)? {
            1 => Link::Append,
            2 => Link::Control,
            3 => Link::Snapshot,
            4 => Link::Forward,
            other => return Err(bad(format!("link {other} is unknown; links 1 to 4 are known"))),
        };
        Ok(Self { cluster, from, to, link })
    }
}

impl Welcome {
    pub(super) fn put(self, to: &mut BytesMut) {
        put_frame(to, kind::WELCOME, 0, |body| body.put_u8(self as u8));
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        if frame.kind != kind::WELCOME {
            return unexpected(&frame, "a welcome");
        }
        match get_u8(&mut frame.body)? {
            0 => Ok(Self::Come),
            1 => Ok(Self::OtherCluster),
            2 => Ok(Self::NotMe),
            3 => Ok(Self::Removed),
            other => Err(bad(format!("welcome {other} is unknown; 0 to 3 are known"))),
        }
    }
}

impl Request {
    pub(super) fn put(&self, id: u64, to: &mut BytesMut) {
        match self {
            Self::Append(request) => put_frame(to, kind::APPEND, id, |body| put_append(body, request)),
            Self::Vote(request) => put_frame(to, kind::VOTE, id, |body| put_vote_request(body, request)),
            Self::PreVote(request) => {
                put_frame(to, kind::PRE_VOTE, id, |body| put_vote_request(body, request))
            }
            Self::Transfer(request) => put_frame(to, kind::TRANSFER, id, |body| {
                codec::put_vote(body, request.from_leader());
                body.put_u64_le(request.to_node_id().0);
                codec::put_optional_position(body, request.last_log_id());
            }),
            Self::ReadIndex(term) => put_frame(to, kind::READ_INDEX, id, |body| body.put_u64_le(*term)),
            Self::Follows(term) => put_frame(to, kind::FOLLOWS, id, |body| body.put_u64_le(*term)),
            Self::Change(change) => put_frame(to, kind::CHANGE, id, |body| body.put_slice(change)),
            Self::Lost(lost) => put_frame(to, kind::LOST, id, |body| {
                body.put_u64_le(lost.leader.0);
                body.put_u64_le(lost.term);
            }),
            Self::Ping => put_frame(to, kind::PING, id, |_| {}),
        }
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        let body = &mut frame.body;
        Ok(match frame.kind {
            kind::APPEND => Self::Append(get_append(body)?),
            kind::VOTE => Self::Vote(get_vote_request(body)?),
            kind::PRE_VOTE => Self::PreVote(get_vote_request(body)?),
            kind::TRANSFER => {
                let (from, to) = (codec::get_vote(body)?, MemberId(get_u64(body)?));
                Self::Transfer(TransferLeaderRequest::new(from, to, codec::get_optional_position(body)?))
            }
            kind::READ_INDEX => Self::ReadIndex(get_u64(body)?),
            kind::FOLLOWS => Self::Follows(get_u64(body)?),
            kind::CHANGE => Self::Change(frame.body),
            kind::LOST => Self::Lost(Leadership { leader: MemberId(get_u64(body)?), term: get_u64(body)? }),
            kind::PING => Self::Ping,
            _ => return unexpected(&frame, "a request"),
        })
    }
}

impl Reply {
    pub(super) fn put(&self, id: u64, to: &mut BytesMut) {
        match self {
            Self::Append(result) => put_frame(to, kind::APPEND, id, |body| put_append_result(body, result)),
            Self::Vote(response) => put_frame(to, kind::VOTE, id, |body| {
                codec::put_vote(body, &response.vote);
                body.put_u8(u8::from(response.vote_granted));
                codec::put_optional_position(body, response.last_log_id.as_ref());
            }),
            Self::Transfer(taken) => put_frame(to, kind::TRANSFER, id, |body| body.put_u8(u8::from(*taken))),
            Self::ReadIndex(index) => put_frame(to, kind::READ_INDEX, id, |body| {
                body.put_u8(u8::from(index.is_some()));
                body.put_u64_le(index.unwrap_or(0));
            }),
            Self::Follows(yes) => put_frame(to, kind::FOLLOWS, id, |body| body.put_u8(u8::from(*yes))),
            Self::Change(outcome) => put_frame(to, kind::CHANGE, id, |body| body.put_slice(outcome)),
            Self::Lost { yes, last } => put_frame(to, kind::LOST, id, |body| {
                body.put_u8(u8::from(*yes));
                codec::put_optional_position(body, last.as_ref());
            }),
            Self::Pong => put_frame(to, kind::PING, id, |_| {}),
            Self::Snapshot(vote) => put_frame(to, kind::SNAPSHOT, id, |body| codec::put_vote(body, vote)),
            Self::Stopped => put_frame(to, kind::STOPPED, id, |_| {}),
        }
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        let body = &mut frame.body;
        Ok(match frame.kind {
            kind::APPEND => Self::Append(get_append_result(body)?),
            kind::VOTE => {
                let (vote, granted) = (codec::get_vote(body)?, get_u8(body)? != 0);
                Self::Vote(VoteResponse::new(vote, codec::get_optional_position(body)?, granted))
            }
            kind::TRANSFER => Self::Transfer(get_u8(body)? != 0),
            kind::READ_INDEX => {
                let known = get_u8(body)? != 0;
                Self::ReadIndex(Some(get_u64(body)?).filter(|_| known))
            }
            kind::FOLLOWS => Self::Follows(get_u8(body)? != 0),
            kind::CHANGE => Self::Change(frame.body),
            kind::LOST => Self::Lost { yes: get_u8(body)? != 0, last: codec::get_optional_position(body)? },
            kind::PING => Self::Pong,
            kind::SNAPSHOT => Self::Snapshot(codec::get_vote(body)?),
            kind::STOPPED => Self::Stopped,
            _ => return unexpected(&frame, "an answer"),
        })
    }
}

fn put_vote_request(body: &mut BytesMut, request: &VoteRequest<TypeConfig>) {
    codec::put_vote(body, &request.vote);
    codec::put_optional_position(body, request.last_log_id.as_ref());
    body.put_u8(u8::from(request.leadership_transfer));
}

fn get_vote_request(body: &mut Bytes) -> io::Result<VoteRequest<TypeConfig>> {
    let mut request = VoteRequest::new(codec::get_vote(body)?, codec::get_optional_position(body)?);
    request.leadership_transfer = get_u8(body)? != 0;
    Ok(request)
}

/// Entries follow each other in the log, so only terms and payloads are sent.
fn put_append(body: &mut BytesMut, request: &AppendEntriesRequest<TypeConfig>) {
    codec::put_vote(body, &request.vote);
    codec::put_optional_position(body, request.prev_log_id.as_ref());
    codec::put_optional_position(body, request.leader_commit.as_ref());
    body.put_u32_le(u32::try_from(request.entries.len()).expect("entries of one append are a few thousand"));
    for entry in &request.entries {
        body.put_u64_le(entry.log_id.leader_id.term.0);
        codec::put_bytes(body, &codec::payload_bytes(&entry.payload));
    }
}

fn get_append(body: &mut Bytes) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let vote = codec::get_vote(body)?;
    let (prev_log_id, leader_commit) =
        (codec::get_optional_position(body)?, codec::get_optional_position(body)?);
    let count = get_u32(body)? as usize;
    let first = prev_log_id.map_or(0, |prev| prev.index + 1);
    let mut entries = Vec::with_capacity(count.min(body.len() / 12));
    for index in (first..).take(count) {
        let term = get_u64(body)?;
        let payload = codec::payload(codec::get_bytes(body)?)?;
        entries.push(Entry { log_id: codec::position(term, index), payload });
    }
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

const MATCHING: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

fn put_append_result(body: &mut BytesMut, result: &StreamAppendResult<TypeConfig>) {
    match result {
        Ok(matching) => {
            body.put_u8(MATCHING);
            codec::put_optional_position(body, matching.as_ref());
        }
        Err(StreamAppendError::Conflict(at)) => {
            body.put_u8(CONFLICT);
            codec::put_position(body, at);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            body.put_u8(HIGHER_VOTE);
            codec::put_vote(body, vote);
        }
    }
}

fn get_append_result(body: &mut Bytes) -> io::Result<StreamAppendResult<TypeConfig>> {
    match get_u8(body)? {
        MATCHING => Ok(Ok(codec::get_optional_position(body)?)),
        CONFLICT => Ok(Err(StreamAppendError::Conflict(codec::get_position(body)?))),
        HIGHER_VOTE => Ok(Err(StreamAppendError::HigherVote(codec::get_vote(body)?))),
        other => Err(bad(format!("append result {other} is unknown; 0 to 2 are known"))),
    }
}

/// Proposals of a follower for the leader of `term`, and for no other.
pub(super) struct Propose {
    pub term: u64,
    pub proposals: Vec<(u64, Bytes)>,
}

impl Propose {
    pub(super) fn put<'a>(
        term: u64,
        proposals: impl ExactSizeIterator<Item = (u64, &'a Bytes)>,
        to: &mut BytesMut,
    ) {
        put_frame(to, kind::PROPOSE, term, |body| {
            body.put_u32_le(
                u32::try_from(proposals.len()).expect("proposals of one frame are a few thousand"),
            );
            for (sequence, proposal) in proposals {
                body.put_u64_le(sequence);
                codec::put_bytes(body, proposal);
            }
        });
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        if frame.kind != kind::PROPOSE {
            return unexpected(&frame, "proposals");
        }
        let body = &mut frame.body;
        let count = get_u32(body)? as usize;
        let mut proposals = Vec::with_capacity(count.min(body.len() / 12));
        for _ in 0..count {
            proposals.push((get_u64(body)?, codec::get_bytes(body)?));
        }
        Ok(Self { term: frame.id, proposals })
    }
}

/// Proposals that the leader asked did not take and never will.
pub(super) struct Refused {
    pub term: u64,
    pub sequences: Vec<u64>,
}

impl Refused {
    pub(super) fn put(&self, to: &mut BytesMut) {
        put_frame(to, kind::REFUSED, self.term, |body| {
            self.sequences.iter().for_each(|sequence| body.put_u64_le(*sequence))
        });
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        if frame.kind != kind::REFUSED {
            return unexpected(&frame, "refused proposals");
        }
        let mut sequences = Vec::with_capacity(frame.body.len() / 8);
        while frame.body.has_remaining() {
            sequences.push(get_u64(&mut frame.body)?);
        }
        Ok(Self { term: frame.id, sequences })
    }
}

/// The parts of a checkpoint under way.
pub(super) enum SnapshotPart {
    Head { vote: Vote, meta: Bytes },
    Piece(Bytes),
    End,
}

impl SnapshotPart {
    pub(super) fn put(&self, to: &mut BytesMut) {
        match self {
            Self::Head { vote, meta } => put_frame(to, kind::SNAPSHOT_HEAD, 0, |body| {
                codec::put_vote(body, vote);
                body.put_slice(meta);
            }),
            Self::Piece(piece) => put_frame(to, kind::SNAPSHOT_PIECE, 0, |body| body.put_slice(piece)),
            Self::End => put_frame(to, kind::SNAPSHOT_END, 0, |_| {}),
        }
    }

    pub(super) fn get(mut frame: Frame) -> io::Result<Self> {
        match frame.kind {
            kind::SNAPSHOT_HEAD => {
                Ok(Self::Head { vote: codec::get_vote(&mut frame.body)?, meta: frame.body })
            }
            kind::SNAPSHOT_PIECE => Ok(Self::Piece(frame.body)),
            kind::SNAPSHOT_END => Ok(Self::End),
            _ => unexpected(&frame, "part of a snapshot"),
        }
    }
}

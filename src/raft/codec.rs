//! Bytes of votes, log positions and entries, on disk and between members. Integers are little endian.
//!
//! ```text
//! position   term u64, index u64
//! vote       term u64, member u64, committed u8
//! payload    kind u8: 0 blank | 1 proposal, then the envelope | 2 membership, then JSON
//! ```
//! A membership is rare and small, so it may be JSON; everything else is read in place.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::types::{
    CommittedLeaderId, LogId, Membership, Payload, Proposal, RaftTerm, StoredMembership, Vote,
};
use crate::membership::Member;
use crate::types::MemberId;

const BLANK: u8 = 0;
const PROPOSAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(super) fn position(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(RaftTerm(term)), index)
}

pub(super) fn put_position(to: &mut impl BufMut, position: &LogId) {
    to.put_u64_le(position.leader_id.term.0);
    to.put_u64_le(position.index);
}

pub(super) fn get_position(from: &mut impl Buf) -> io::Result<LogId> {
    Ok(position(get_u64(from)?, get_u64(from)?))
}

pub(super) fn put_optional_position(to: &mut impl BufMut, position: Option<&LogId>) {
    to.put_u8(u8::from(position.is_some()));
    if let Some(position) = position {
        put_position(to, position);
    }
}

pub(super) fn get_optional_position(from: &mut impl Buf) -> io::Result<Option<LogId>> {
    if get_u8(from)? == 0 { Ok(None) } else { get_position(from).map(Some) }
}

pub(super) fn put_vote(to: &mut impl BufMut, vote: &Vote) {
    to.put_u64_le(vote.leader_id.term.0);
    to.put_u64_le(vote.leader_id.voted_for.0);
    to.put_u8(u8::from(vote.committed));
}

pub(super) fn get_vote(from: &mut impl Buf) -> io::Result<Vote> {
    let (term, member) = (RaftTerm(get_u64(from)?), MemberId(get_u64(from)?));
    Ok(if get_u8(from)? == 0 { Vote::new(term, member) } else { Vote::new_committed(term, member) })
}

pub(super) fn position_bytes(position: &LogId) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    put_position(&mut bytes, position);
    bytes.freeze()
}

pub(super) fn vote_bytes(vote: &Vote) -> Bytes {
    let mut bytes = BytesMut::with_capacity(17);
    put_vote(&mut bytes, vote);
    bytes.freeze()
}

/// Puts the kind byte in front of an encoded envelope, once for the proposal's whole life.
pub(super) fn proposal(envelope: &[u8]) -> Proposal {
    let mut bytes = BytesMut::with_capacity(envelope.len() + 1);
    bytes.put_u8(PROPOSAL);
    bytes.put_slice(envelope);
    Proposal(bytes.freeze())
}

/// The envelope inside a proposal, without a copy.
pub(super) fn envelope(proposal: &Proposal) -> Bytes {
    proposal.0.slice(1..)
}

pub(super) fn payload_bytes(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[BLANK]),
        Payload::Normal(proposal) => proposal.0.clone(),
        Payload::Membership(membership) => {
            let mut bytes = vec![MEMBERSHIP];
            bytes.extend_from_slice(&membership_json(membership));
            bytes.into()
        }
    }
}

pub(super) fn payload(bytes: Bytes) -> io::Result<Payload> {
    match bytes.first() {
        Some(&BLANK) => Ok(Payload::Blank),
        Some(&PROPOSAL) => Ok(Payload::Normal(Proposal(bytes))),
        Some(&MEMBERSHIP) => Ok(Payload::Membership(membership_from_json(&bytes[1..])?)),
        Some(other) => Err(bad(format!("log entry is of unknown kind {other}; kinds 0 to 2 are known"))),
        None => Err(bad("log entry is empty; at least its kind byte is expected".into())),
    }
}

/// Voters in each configuration (more than one only in a joint one, which we never write) and all members.
#[derive(Serialize, Deserialize)]
struct MembershipDocument {
    voters: Vec<BTreeSet<MemberId>>,
    members: Vec<Member>,
}

fn membership_json(membership: &Membership) -> Vec<u8> {
    let document = MembershipDocument {
        voters: membership.get_joint_config().clone(),
        members: membership.nodes().map(|(_, member)| member.clone()).collect(),
    };
    serde_json::to_vec(&document).expect("a membership has only strings, numbers and lists")
}

fn membership_from_json(bytes: &[u8]) -> io::Result<Membership> {
    let document: MembershipDocument = serde_json::from_slice(bytes)?;
    let members: BTreeMap<_, _> = document.members.into_iter().map(|member| (member.id, member)).collect();
    Membership::new(document.voters, members).map_err(|error| bad(error.to_string()))
}

/// What a checkpoint stands for: last applied position and the membership at it.
pub(super) fn checkpoint_meta(last: &LogId, membership: &StoredMembership) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_position(&mut bytes, last);
    put_optional_position(&mut bytes, membership.log_id().as_ref());
    bytes.extend_from_slice(&membership_json(membership.membership()));
    bytes
}

pub(super) fn get_checkpoint_meta(mut bytes: Bytes) -> io::Result<(LogId, StoredMembership)> {
    let last = get_position(&mut bytes)?;
    let membership_position = get_optional_position(&mut bytes)?;
    Ok((last, StoredMembership::new(membership_position, membership_from_json(&bytes)?)))
}

pub(super) fn get_u8(from: &mut impl Buf) -> io::Result<u8> {
    from.try_get_u8().map_err(short)
}

pub(super) fn get_u32(from: &mut impl Buf) -> io::Result<u32> {
    from.try_get_u32_le().map_err(short)
}

pub(super) fn get_u64(from: &mut impl Buf) -> io::Result<u64> {
    from.try_get_u64_le().map_err(short)
}

/// Length-prefixed bytes, shared with the frame they came in.
pub(super) fn get_bytes(from: &mut Bytes) -> io::Result<Bytes> {
    let length = get_u32(from)? as usize;
    if from.len() < length {
        return Err(bad(format!("{length} bytes are announced and {} are there", from.len())));
    }
    Ok(from.split_to(length))
}

pub(super) fn put_bytes(to: &mut impl BufMut, bytes: &[u8]) {
    to.put_u32_le(u32::try_from(bytes.len()).expect("no frame or entry comes near 4 GiB"));
    to.put_slice(bytes);
}

pub(super) fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn short(error: bytes::TryGetError) -> io::Error {
    bad(format!("message ends too early: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        Member { id: MemberId(id), name: format!("m{id}"), ..Member::default() }
    }

    #[test]
    fn every_kind_of_payload_comes_back() {
        let voters = BTreeSet::from([MemberId(1)]);
        let nodes = BTreeMap::from([(MemberId(1), member(1)), (MemberId(2), member(2))]);
        let membership = Membership::new(vec![voters], nodes).unwrap();
        for before in
            [Payload::Blank, Payload::Normal(proposal(b"envelope")), Payload::Membership(membership)]
        {
            let after = payload(payload_bytes(&before)).unwrap();
            assert_eq!(format!("{before:?}"), format!("{after:?}"));
        }
        assert_eq!(envelope(&proposal(b"envelope")).as_ref(), b"envelope");
    }

    #[test]
    fn damaged_payloads_are_errors_that_say_what_is_wrong() {
        for (bytes, says) in
            [(&b""[..], "empty"), (&b"\x09rest"[..], "unknown kind 9"), (&b"\x02{"[..], "EOF")]
        {
            let error = payload(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn votes_and_positions_come_back() {
        for vote in [Vote::new(RaftTerm(7), MemberId(3)), Vote::new_committed(RaftTerm(8), MemberId(4))] {
            assert_eq!(get_vote(&mut vote_bytes(&vote)).unwrap(), vote);
        }
        assert_eq!(get_position(&mut position_bytes(&position(2, 9))).unwrap(), position(2, 9));
        assert!(get_position(&mut Bytes::from_static(b"short")).is_err());
    }
}

//! The Cluster service: who belongs to the cluster, and its changes.
//!
//! Ours beside etcd's: a member list says in the response header `kvorum-membership` at which position of the
//! log it last changed, and a request may name that position in `kvorum-if-membership`: it is refused when the
//! membership has moved since.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::Status;

use super::gate::Gate;
use super::grpc::Reply;
use super::header::Headers;
use super::{answer, parse, status};
use crate::apply::{Command, Outcome};
use crate::bootstrap::ids;
use crate::membership::{Change, Member, Refusal};
use crate::proto::etcdserverpb as pb;
use crate::raft::{Condition, Handle};
use crate::types::{LogIndex, MemberId};

const MEMBERSHIP: HeaderName = HeaderName::from_static("kvorum-membership");
const IF_MEMBERSHIP: HeaderName = HeaderName::from_static("kvorum-if-membership");

pub(super) struct Cluster {
    pub(super) gate: Arc<Gate>,
    pub(super) headers: Headers,
    pub(super) handle: Handle,
    /// Refuse changes that could cost the quorum (`--strict-reconfig-check`).
    pub(super) strict: bool,
    pub(super) learners_max: usize,
}

impl Cluster {
    pub(super) async fn add(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MemberAddRequest,
    ) -> Result<Reply<pb::MemberAddResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let peer_urls = parse::peer_urls(&request.peer_ur_ls).map_err(status::of_invalid)?;
        let member = Member {
            id: ids::added_member_id(&peer_urls, unix_seconds()),
            peer_urls: peer_urls.iter().map(ToString::to_string).collect(),
            is_learner: request.is_learner,
            ..Member::default()
        };
        let members = self.change(&headers, Change::Add(member.clone())).await?;
        Ok(pb::MemberAddResponse {
            header: self.headers.without_revision(),
            member: Some(answer::member(member)),
            members,
        }
        .into())
    }

    pub(super) async fn remove(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MemberRemoveRequest,
    ) -> Result<Reply<pb::MemberRemoveResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let members = self.change(&headers, Change::Remove(MemberId(request.id))).await?;
        Ok(pb::MemberRemoveResponse { header: self.headers.without_revision(), members }.into())
    }

    pub(super) async fn promote(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MemberPromoteRequest,
    ) -> Result<Reply<pb::MemberPromoteResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let members = self.change(&headers, Change::Promote(MemberId(request.id))).await?;
        Ok(pb::MemberPromoteResponse { header: self.headers.without_revision(), members }.into())
    }

    /// New peer URLs, unchecked as in etcd. They are ordinary replicated state, no change of membership: the
    /// condition is looked at here, before the proposal.
    pub(super) async fn update(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MemberUpdateRequest,
    ) -> Result<Reply<pb::MemberUpdateResponse>, Status> {
        self.gate.unary(&headers, false)?;
        if let Some(seen) = condition(&headers)? {
            self.handle.read_index().await.map_err(status::of_raft)?;
            let now = self.headers.state.members().changed_at();
            if now != seen {
                return Err(status::of_refusal(Refusal::Moved { seen: seen.0, now: now.0 }));
            }
        }
        let (member, peer_urls) = (MemberId(request.id), request.peer_ur_ls);
        let proposed = self.handle.propose(Command::UpdateMember { member, peer_urls }).await;
        let members = match proposed.map_err(status::of_raft)?.outcome {
            Outcome::Members(members) => answer::members(members),
            _ => answer::members(self.headers.state.members().to_vec()),
        };
        Ok(pb::MemberUpdateResponse { header: self.headers.without_revision(), members }.into())
    }

    pub(super) async fn list(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MemberListRequest,
    ) -> Result<Reply<pb::MemberListResponse>, Status> {
        self.gate.unary(&headers, false)?;
        if request.linearizable {
            self.handle.read_index().await.map_err(status::of_raft)?;
        }
        // Position and list are of one look: a condition on a newer position would let pass what it must stop.
        let members = self.headers.state.members();
        let position = (MEMBERSHIP, HeaderValue::from(members.changed_at().0));
        let header = self.headers.without_revision();
        let message = pb::MemberListResponse { header, members: answer::members(members.to_vec()) };
        Ok(Reply { message, header: Some(position) })
    }

    async fn change(&self, headers: &HeaderMap, change: Change) -> Result<Vec<pb::Member>, Status> {
        let expected = condition(headers)?.map(|index| index.0);
        let condition = Condition { expected, strict: self.strict, max_learners: self.learners_max };
        let members = self.handle.change(change, condition).await.map_err(status::of_raft)?;
        Ok(answer::members(members))
    }
}

fn condition(headers: &HeaderMap) -> Result<Option<LogIndex>, Status> {
    let Some(value) = headers.get(IF_MEMBERSHIP) else { return Ok(None) };
    let index = value.to_str().ok().and_then(|text| text.parse().ok());
    index.map(|index| Some(LogIndex(index))).ok_or_else(|| {
        let got = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Status::invalid_argument(format!(
            "kvorum-if-membership is {got:?}: it must be the number that kvorum-membership of a member list had"
        ))
    })
}

/// Makes the identity of an added member its own, even if its URLs were used before: etcd's way.
fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

//! One method for each call of the etcd v3 API that we use.

use prost::Message;
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::error::Error;
use super::exchange::{Call, Repeat, answered, unreachable, within};
use super::{Client, MEMBERSHIP};
use crate::proto::etcdserverpb as pb;
use crate::types::{LogIndex, MemberId, Revision};

/// Whether a read is confirmed by the leader or answered by the member that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    Linearizable,
    Serializable,
}

/// As what a member is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Voter,
    Learner,
}

/// A member list and where in the log it last changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub list: pb::MemberListResponse,
    /// What a change is conditional on; only members of ours tell it.
    pub seen: Option<LogIndex>,
}

impl Client {
    /// The cluster's members. A learner answers only a serializable list.
    pub async fn members(&self, consistency: Consistency) -> Result<pb::MemberListResponse, Error> {
        self.membership(consistency).await.map(|membership| membership.list)
    }

    /// The cluster's members with the log index that makes a change conditional on them.
    pub async fn membership(&self, consistency: Consistency) -> Result<Membership, Error> {
        let request = &pb::MemberListRequest { linearizable: consistency == Consistency::Linearizable };
        let path = "/etcdserverpb.Cluster/MemberList";
        let (list, metadata) =
            self.exchange(Call { path, request, repeat: Repeat::Safe, seen: None }).await?;
        let seen = metadata.get(MEMBERSHIP).and_then(|index| index.to_str().ok()?.parse().ok()).map(LogIndex);
        Ok(Membership { list, seen })
    }

    /// Adds a member. `seen` is the membership that the decision was made on: the call is refused if it has
    /// changed since.
    pub async fn add_member(
        &self,
        peer_urls: &[String],
        role: Role,
        seen: Option<LogIndex>,
    ) -> Result<pb::MemberAddResponse, Error> {
        let request =
            pb::MemberAddRequest { peer_ur_ls: peer_urls.to_vec(), is_learner: role == Role::Learner };
        self.unary("/etcdserverpb.Cluster/MemberAdd", &request, Repeat::Never, seen).await
    }

    /// Makes a learner a voter; refused until it is in step with the leader.
    pub async fn promote_member(
        &self,
        id: MemberId,
        seen: Option<LogIndex>,
    ) -> Result<pb::MemberPromoteResponse, Error> {
        let request = pb::MemberPromoteRequest { id: id.0 };
        self.unary("/etcdserverpb.Cluster/MemberPromote", &request, Repeat::Never, seen).await
    }

    /// Removes a member for good; its identity never comes back.
    pub async fn remove_member(
        &self,
        id: MemberId,
        seen: Option<LogIndex>,
    ) -> Result<pb::MemberRemoveResponse, Error> {
        let request = pb::MemberRemoveRequest { id: id.0 };
        self.unary("/etcdserverpb.Cluster/MemberRemove", &request, Repeat::Never, seen).await
    }

    /// Replaces the peer URLs of a member.
    pub async fn update_member(
        &self,
        id: MemberId,
        peer_urls: &[String],
        seen: Option<LogIndex>,
    ) -> Result<pb::MemberUpdateResponse, Error> {
        let request = pb::MemberUpdateRequest { id: id.0, peer_ur_ls: peer_urls.to_vec() };
        self.unary("/etcdserverpb.Cluster/MemberUpdate", &request, Repeat::Never, seen).await
    }

    /// Hands leadership to `target`. Only the leader answers: ask it with [`Client::only`].
    pub async fn move_leader(&self, target: MemberId) -> Result<pb::MoveLeaderResponse, Error> {
        let request = pb::MoveLeaderRequest { target_id: target.0 };
        self.unary("/etcdserverpb.Maintenance/MoveLeader", &request, Repeat::Safe, None).await
    }

    /// What one member says of itself; with several endpoints, of whichever comes next.
    pub async fn status(&self) -> Result<pb::StatusResponse, Error> {
        self.unary("/etcdserverpb.Maintenance/Status", &pb::StatusRequest {}, Repeat::Safe, None).await
    }

    /// Hash of one member's key space up to `revision`; revision 0 is the latest.
    pub async fn hash_kv(&self, revision: Revision) -> Result<pb::HashKvResponse, Error> {
        let request = pb::HashKvRequest { revision: revision.0 };
        self.unary("/etcdserverpb.Maintenance/HashKV", &request, Repeat::Safe, None).await
    }

    /// All raised alarms.
    pub async fn alarms(&self) -> Result<pb::AlarmResponse, Error> {
        self.alarm(&pb::AlarmRequest::default()).await
    }

    /// Clears one alarm and answers with what was cleared.
    pub async fn disarm(&self, alarm: &pb::AlarmMember) -> Result<pb::AlarmResponse, Error> {
        let action = pb::alarm_request::AlarmAction::Deactivate.into();
        self.alarm(&pb::AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm }).await
    }

    /// Raising and clearing an alarm twice changes nothing.
    async fn alarm(&self, request: &pb::AlarmRequest) -> Result<pb::AlarmResponse, Error> {
        self.unary("/etcdserverpb.Maintenance/Alarm", request, Repeat::Safe, None).await
    }

    /// Has one member give room back to its disk: ask it with [`Client::only`].
    pub async fn defragment(&self) -> Result<pb::DefragmentResponse, Error> {
        self.unary("/etcdserverpb.Maintenance/Defragment", &pb::DefragmentRequest {}, Repeat::Safe, None)
            .await
    }

    pub async fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.unary("/etcdserverpb.KV/Range", request, Repeat::Safe, None).await
    }

    pub async fn put(&self, request: &pb::PutRequest) -> Result<pb::PutResponse, Error> {
        self.unary("/etcdserverpb.KV/Put", request, Repeat::Never, None).await
    }

    pub async fn delete_range(
        &self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Error> {
        self.unary("/etcdserverpb.KV/DeleteRange", request, Repeat::Never, None).await
    }

    pub async fn txn(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        self.unary("/etcdserverpb.KV/Txn", request, Repeat::Never, None).await
    }

    pub async fn compact(&self, request: &pb::CompactionRequest) -> Result<pb::CompactionResponse, Error> {
        self.unary("/etcdserverpb.KV/Compact", request, Repeat::Never, None).await
    }

    /// The same answer as [`Client::range`], sent by the server in pieces and joined here.
    pub async fn range_stream(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.check_size(request)?;
        let deadline = Instant::now().checked_add(self.timeouts.call);
        let endpoint = self.next_endpoint();
        let pieces = async {
            let mut grpc = self.grpc(endpoint);
            grpc.ready().await.map_err(|error| unreachable(endpoint, &error))?;
            let path = PathAndQuery::from_static("/etcdserverpb.KV/RangeStream");
            let codec = ProstCodec::<pb::RangeRequest, pb::RangeStreamResponse>::new();
            let mut stream =
                match grpc.server_streaming(tonic::Request::new(request.clone()), path, codec).await {
                    Ok(answer) => answer.into_inner(),
                    Err(status) => return Err(answered(endpoint, status.code(), status.message(), &status)),
                };
            let mut whole = pb::RangeResponse::default();
            loop {
                match stream.message().await {
                    Ok(Some(piece)) => join(&mut whole, piece.range_response.unwrap_or_default()),
                    Ok(None) => return Ok(whole),
                    Err(status) => return Err(answered(endpoint, status.code(), status.message(), &status)),
                }
            }
        };
        within(deadline, pieces).await.unwrap_or_else(|| Err(self.too_late(None)))
    }

    async fn unary<Q, A>(
        &self,
        path: &'static str,
        request: &Q,
        repeat: Repeat,
        seen: Option<LogIndex>,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.exchange(Call { path, request, repeat, seen }).await.map(|(answer, _)| answer)
    }
}

/// Pieces carry keys one after another; what is said once is said in the last piece.
fn join(whole: &mut pb::RangeResponse, piece: pb::RangeResponse) {
    whole.kvs.extend(piece.kvs);
    whole.header = piece.header.or(whole.header.take());
    whole.more |= piece.more;
    if piece.count != 0 {
        whole.count = piece.count;
    }
}

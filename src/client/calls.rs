//! One method for each call of the etcd v3 API that we use, all over one generic [`Client::unary`].

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic_prost::ProstCodec;

use super::endpoint::Endpoint;
use super::error::{Code, Error};
use super::{Client, IF_MEMBERSHIP};
use crate::proto::etcdserverpb as pb;
use crate::types::{LogIndex, MemberId, Revision};

/// Attempts of one call that only reads; between rounds over the endpoints lies [`RETRY_AFTER`].
const ATTEMPTS_MAX: usize = 100;
const RETRY_AFTER: Duration = Duration::from_millis(25);

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

/// Whether a member may see the request a second time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Safe,
    Never,
}

impl Client {
    /// The cluster's members. A learner answers only a serializable list.
    pub async fn members(&self, consistency: Consistency) -> Result<pb::MemberListResponse, Error> {
        let request = pb::MemberListRequest { linearizable: consistency == Consistency::Linearizable };
        self.unary("/etcdserverpb.Cluster/MemberList", &request, Repeat::Safe, None).await
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
        self.unary("/etcdserverpb.Maintenance/Alarm", &pb::AlarmRequest::default(), Repeat::Safe, None).await
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
        match deadline {
            None => pieces.await,
            Some(deadline) => tokio::time::timeout_at(deadline, pieces)
                .await
                .unwrap_or_else(|_| Err(Error::Deadline { after: self.timeouts.call, last: None })),
        }
    }

    /// Sends `request` until it is answered, as often as `repeat` and the deadline allow.
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
        self.check_size(request)?;
        let deadline = Instant::now().checked_add(self.timeouts.call);
        let round = self.endpoints.len();
        let mut attempts = 0;
        let mut last = None;
        loop {
            let endpoint = self.next_endpoint();
            let attempt = self.attempt(endpoint, path, request.clone(), seen, deadline);
            let error = match within(deadline, attempt).await {
                None => return Err(Error::Deadline { after: self.timeouts.call, last: last.map(Box::new) }),
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => error,
            };
            attempts += 1;
            if !self.may_try_again(&error, repeat, attempts) {
                return Err(error);
            }
            last = Some(error);
            if attempts % round == 0 && within(deadline, tokio::time::sleep(RETRY_AFTER)).await.is_none() {
                return Err(Error::Deadline { after: self.timeouts.call, last: last.map(Box::new) });
            }
        }
    }

    fn may_try_again(&self, error: &Error, repeat: Repeat, attempts: usize) -> bool {
        match error {
            Error::Unreachable { .. } => self.patient || attempts < self.endpoints.len(),
            Error::Answered { code: Code::Unavailable, .. } => {
                repeat == Repeat::Safe
                    && attempts < ATTEMPTS_MAX
                    && (self.patient || attempts < self.endpoints.len())
            }
            // A learner refuses what a voter behind the next endpoint may do.
            Error::Answered { text, .. } if text == "etcdserver: rpc not supported for learner" => {
                attempts < self.endpoints.len()
            }
            _ => false,
        }
    }

    async fn attempt<Q, A>(
        &self,
        endpoint: &Endpoint,
        path: &'static str,
        request: Q,
        seen: Option<LogIndex>,
        deadline: Option<Instant>,
    ) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc(endpoint);
        grpc.ready().await.map_err(|error| unreachable(endpoint, &error))?;
        let mut request = tonic::Request::new(request);
        if let Some(deadline) = deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(LogIndex(index)) = seen {
            request.metadata_mut().insert(IF_MEMBERSHIP, MetadataValue::from(index));
        }
        match grpc.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::new()).await {
            Ok(answer) => {
                endpoint.note_reached();
                Ok(answer.into_inner())
            }
            Err(status) => Err(answered(endpoint, status.code(), status.message(), &status)),
        }
    }

    pub(super) fn grpc(&self, endpoint: &Endpoint) -> tonic::client::Grpc<tonic::transport::Channel> {
        tonic::client::Grpc::new(endpoint.channel()).max_decoding_message_size(self.answer_bytes_max)
    }

    fn check_size(&self, request: &impl Message) -> Result<(), Error> {
        let size = request.encoded_len();
        if size > self.request_bytes_max {
            return Err(Error::TooLarge { size, limit: self.request_bytes_max });
        }
        Ok(())
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

async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
    }
}

fn unreachable(endpoint: &Endpoint, error: &(dyn std::error::Error + 'static)) -> Error {
    endpoint.note_failed();
    Error::Unreachable { endpoint: endpoint.text().to_owned(), reason: root_cause(error) }
}

/// A status with an error of connecting at its root means that nothing was sent.
pub(super) fn answered(
    endpoint: &Endpoint,
    code: Code,
    text: &str,
    status: &(dyn std::error::Error + 'static),
) -> Error {
    let mut cause = Some(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return unreachable(endpoint, error);
        }
        cause = error.source();
    }
    Error::Answered { endpoint: endpoint.text().to_owned(), code, text: text.to_owned() }
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(deeper) = root.source() {
        root = deeper;
    }
    root.to_string()
}

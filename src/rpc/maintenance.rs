//! The Maintenance service: how this member is, and what keeps it so.

use std::sync::Arc;

use http::HeaderMap;
use tonic::Status;

use super::gate::Gate;
use super::grpc::Reply;
use super::header::Headers;
use super::{answer, status};
use crate::apply::{Command, Outcome};
use crate::membership::{Alarm, AlarmKind};
use crate::mvcc::HashKv;
use crate::proto::etcdserverpb as pb;
use crate::raft::{self, Handle};
use crate::types::{CLUSTER_VERSION, ETCD_VERSION, MemberId, Revision};

pub(super) struct Maintenance {
    pub(super) gate: Arc<Gate>,
    pub(super) headers: Headers,
    pub(super) handle: Handle,
    /// `--quota-backend-bytes` with its default filled in.
    pub(super) quota_bytes: i64,
}

impl Maintenance {
    /// Local: says what this member knows, whether or not it has a leader.
    pub(super) async fn status(
        self: Arc<Self>,
        headers: HeaderMap,
        _request: pb::StatusRequest,
    ) -> Result<Reply<pb::StatusResponse>, Status> {
        self.gate.unary(&headers, true)?;
        let raft = self.handle.status();
        let (state, store) = (&self.headers.state, self.headers.state.store());
        let mut errors = Vec::new();
        if raft.leader.is_none() {
            errors.push("etcdserver: no leader".to_string());
        }
        errors.extend(state.alarms().iter().map(|alarm| {
            let kind = match alarm.kind {
                AlarmKind::NoSpace => "NOSPACE",
                AlarmKind::Corrupt => "CORRUPT",
            };
            format!("memberID:{} alarm:{kind}", alarm.member.0)
        }));
        let me = state.members().get(self.headers.me).cloned();
        Ok(pb::StatusResponse {
            header: self.headers.now(),
            version: ETCD_VERSION.to_string(),
            db_size: store.size_in_bytes() as i64,
            leader: raft.leader.map_or(0, |leader| leader.0),
            raft_index: raft.committed.0,
            raft_term: raft.term.0,
            raft_applied_index: raft.applied.0,
            errors,
            db_size_in_use: store.size_in_use_in_bytes() as i64,
            is_learner: me.is_some_and(|me| me.is_learner),
            storage_version: CLUSTER_VERSION.to_string(),
            db_size_quota: self.quota_bytes,
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }
        .into())
    }

    /// Lists, raises and clears alarms. etcd sends even the listing through the log; a read barrier does.
    pub(super) async fn alarm(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::AlarmRequest,
    ) -> Result<Reply<pb::AlarmResponse>, Status> {
        use pb::alarm_request::AlarmAction;
        self.gate.unary(&headers, false)?;
        let kind = alarm_kind(request.alarm)?;
        let member = MemberId(request.member_id);
        let alarms = match (AlarmAction::try_from(request.action), kind) {
            (Ok(AlarmAction::Get), kind) => {
                self.handle.read_index().await.map_err(status::of_raft)?;
                let mut alarms = self.headers.state.alarms();
                alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
                alarms
            }
            (Ok(AlarmAction::Activate), Some(kind)) => {
                self.propose(Command::RaiseAlarm(Alarm { member, kind })).await?
            }
            (Ok(AlarmAction::Deactivate), Some(kind)) => {
                self.propose(Command::ClearAlarm { member, kind: Some(kind) }).await?
            }
            // Nothing is named: etcd changes nothing and says so by an empty list.
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate), None) => Vec::new(),
            (Err(_), _) => {
                let text = format!(
                    "alarm action {} is unknown: 0 (get), 1 (activate), 2 (deactivate)",
                    request.action
                );
                return Err(Status::invalid_argument(text));
            }
        };
        let alarms = alarms.iter().map(answer::alarm).collect();
        Ok(pb::AlarmResponse { header: self.headers.now(), alarms }.into())
    }

    async fn propose(&self, command: Command) -> Result<Vec<Alarm>, Status> {
        match self.handle.propose(command).await.map_err(status::of_raft)?.outcome {
            Outcome::Alarms(alarms) => Ok(alarms),
            _ => Ok(Vec::new()),
        }
    }

    /// The store gives room back by itself as it compacts; there is nothing left to do, and no member stops
    /// serving for it.
    pub(super) async fn defragment(
        self: Arc<Self>,
        headers: HeaderMap,
        _request: pb::DefragmentRequest,
    ) -> Result<Reply<pb::DefragmentResponse>, Status> {
        self.gate.unary(&headers, false)?;
        Ok(pb::DefragmentResponse { header: None }.into())
    }

    pub(super) async fn hash_kv(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::HashKvRequest,
    ) -> Result<Reply<pb::HashKvResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let (hash, now) = self.hash_at(Revision(request.revision)).await?;
        Ok(pb::HashKvResponse {
            header: self.headers.at(now),
            hash: hash.hash,
            compact_revision: hash.compact_revision.0,
            hash_revision: hash.hash_revision.0,
        }
        .into())
    }

    /// For tests of etcd's kind: equal on members with equal key spaces.
    pub(super) async fn hash(
        self: Arc<Self>,
        headers: HeaderMap,
        _request: pb::HashRequest,
    ) -> Result<Reply<pb::HashResponse>, Status> {
        self.gate.unary(&headers, false)?;
        let (hash, now) = self.hash_at(Revision(0)).await?;
        Ok(pb::HashResponse { header: self.headers.at(now), hash: hash.hash }.into())
    }

    /// The hash, and the store's revision when it was taken.
    async fn hash_at(&self, revision: Revision) -> Result<(HashKv, Revision), Status> {
        let store = self.headers.state.store().clone();
        let hash = tokio::task::spawn_blocking(move || store.hash_kv(revision)).await;
        hash.map_err(|_| status::broken("hashing"))?.map_err(status::of_store)
    }

    pub(super) async fn move_leader(
        self: Arc<Self>,
        headers: HeaderMap,
        request: pb::MoveLeaderRequest,
    ) -> Result<Reply<pb::MoveLeaderResponse>, Status> {
        self.gate.unary(&headers, false)?;
        if !self.handle.status().is_leader() {
            return Err(status::of_raft(raft::Error::NotLeader));
        }
        self.handle.move_leader(MemberId(request.target_id)).await.map_err(status::of_raft)?;
        Ok(pb::MoveLeaderResponse { header: None }.into())
    }
}

fn alarm_kind(kind: i32) -> Result<Option<AlarmKind>, Status> {
    match pb::AlarmType::try_from(kind) {
        Ok(pb::AlarmType::None) => Ok(None),
        Ok(pb::AlarmType::Nospace) => Ok(Some(AlarmKind::NoSpace)),
        Ok(pb::AlarmType::Corrupt) => Ok(Some(AlarmKind::Corrupt)),
        Err(_) => Err(Status::invalid_argument(format!(
            "alarm {kind} is unknown: 0 (none), 1 (NOSPACE), 2 (CORRUPT)"
        ))),
    }
}

//! The space quota, `--quota-backend-bytes`: a write that would not fit is refused before it is proposed, and the
//! NOSPACE alarm makes every member refuse writes until somebody clears it (etcd's `v3rpc/quota.go`).

use tonic::Status;

use super::status;
use crate::apply::{Command, Rejection, State};
use crate::membership::{Alarm, AlarmKind};
use crate::proto::etcdserverpb as pb;
use crate::raft::Handle;
use crate::types::MemberId;

/// What etcd counts for a key beside key and value.
const KEY_OVERHEAD_BYTES: u64 = 256;

pub(super) struct Quota {
    pub(super) me: MemberId,
    pub(super) handle: Handle,
    pub(super) state: State,
    /// None: no limit.
    pub(super) bytes: Option<u64>,
}

impl Quota {
    /// Lets a write of this cost pass, or raises the alarm.
    ///
    /// # Errors
    /// ResourceExhausted when the key space has no room for it; Unavailable when the alarm cannot be raised.
    pub(super) async fn admit(&self, cost: u64) -> Result<(), Status> {
        let Some(bytes) = self.bytes.filter(|_| cost > 0) else { return Ok(()) };
        let size = self.state.store().size_in_bytes();
        if size + cost < bytes {
            return Ok(());
        }
        let alarm = Alarm { member: self.me, kind: AlarmKind::NoSpace };
        if !self.state.alarms().contains(&alarm) {
            tracing::warn!(
                "quota-size-bytes" = bytes,
                "size-bytes" = size,
                "space quota exceeded; raising alarm"
            );
            self.handle.propose(Command::RaiseAlarm(alarm)).await.map_err(status::of_raft)?;
        }
        Err(status::of_rejection(Rejection::NoSpace))
    }
}

pub(super) fn cost_of_put(request: &pb::PutRequest) -> u64 {
    KEY_OVERHEAD_BYTES + (request.key.len() + request.value.len()) as u64
}

/// The dearer branch's puts; deletes and reads cost nothing, so that room can be made under the quota.
pub(super) fn cost_of_txn(request: &pb::TxnRequest) -> u64 {
    use pb::request_op::Request;
    let cost_of_op = |op: &pb::RequestOp| match &op.request {
        Some(Request::RequestPut(put)) => cost_of_put(put),
        Some(Request::RequestTxn(txn)) => cost_of_txn(txn),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
    };
    let cost = |branch: &[pb::RequestOp]| branch.iter().map(cost_of_op).sum();
    u64::max(cost(&request.success), cost(&request.failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_costs_its_dearer_branch_and_reads_and_deletes_are_free() {
        use pb::request_op::Request;
        let op = |request| pb::RequestOp { request: Some(request) };
        let put = |value: &'static str| {
            let put = pb::PutRequest { key: "key".into(), value: value.into(), ..Default::default() };
            op(Request::RequestPut(put))
        };
        let nested = op(Request::RequestTxn(pb::TxnRequest {
            success: vec![put("1"), put("2")],
            ..Default::default()
        }));
        let free = [
            op(Request::RequestRange(pb::RangeRequest::default())),
            op(Request::RequestDeleteRange(pb::DeleteRangeRequest::default())),
            pb::RequestOp { request: None },
        ];
        let txn =
            |success: Vec<_>, failure: Vec<_>| pb::TxnRequest { success, failure, ..Default::default() };
        assert_eq!(cost_of_txn(&txn(free.to_vec(), free.to_vec())), 0);
        assert_eq!(cost_of_txn(&txn(vec![put("")], vec![])), 259);
        assert_eq!(cost_of_txn(&txn(vec![put("")], vec![put("1"), put("2")])), 520);
        assert_eq!(cost_of_txn(&txn(vec![put(""), nested], vec![put("")])), 259 + 520);
    }
}

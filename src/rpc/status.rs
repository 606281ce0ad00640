//! Every error that a client can meet, with the code and the very text that etcd gives it: clients tell
//! errors apart by the text.

use tonic::{Code, Status};

use super::parse::Invalid;
use crate::apply::Rejection;
use crate::membership::Refusal;
use crate::mvcc;
use crate::raft;

/// All texts of the server carry this in front.
fn etcdserver(code: Code, text: &str) -> Status {
    Status::new(code, format!("etcdserver: {text}"))
}

pub(super) fn no_leader() -> Status {
    etcdserver(Code::Unavailable, "no leader")
}

pub(super) fn stopped() -> Status {
    etcdserver(Code::Unavailable, "server stopped")
}

pub(super) fn not_for_learners() -> Status {
    etcdserver(Code::FailedPrecondition, "rpc not supported for learner")
}

pub(super) fn invalid_client_api_version() -> Status {
    etcdserver(Code::InvalidArgument, "invalid client api version")
}

/// The member is on its way into a cluster, or holds; `/kvorum/state` says why.
pub(super) fn not_running() -> Status {
    Status::unavailable("etcdserver: member is not running, its /kvorum/state says why")
}

/// A call of etcd's that we do not serve yet.
pub(super) fn not_served(what: &str) -> Status {
    Status::unimplemented(format!("{what} is not served by this version of kvorum"))
}

/// A piece of work of this member ended without an answer.
pub(super) fn broken(what: &str) -> Status {
    Status::internal(format!("{what} failed on this member; its log has the reason"))
}

pub(super) fn of_invalid(error: Invalid) -> Status {
    etcdserver(Code::InvalidArgument, &error.to_string())
}

pub(super) fn of_store(error: mvcc::Error) -> Status {
    match error {
        mvcc::Error::Compacted => compacted(),
        mvcc::Error::FutureRevision => future_revision(),
    }
}

fn compacted() -> Status {
    etcdserver(Code::OutOfRange, "mvcc: required revision has been compacted")
}

fn future_revision() -> Status {
    etcdserver(Code::OutOfRange, "mvcc: required revision is a future revision")
}

pub(super) fn of_rejection(rejection: Rejection) -> Status {
    match rejection {
        Rejection::Compacted => compacted(),
        Rejection::FutureRevision => future_revision(),
        Rejection::KeyNotFound => etcdserver(Code::InvalidArgument, "key not found"),
        Rejection::LeaseNotFound => etcdserver(Code::NotFound, "requested lease not found"),
        Rejection::NoSpace => etcdserver(Code::ResourceExhausted, "mvcc: database space exceeded"),
        Rejection::Corrupt => etcdserver(Code::DataLoss, "corrupt cluster"),
        Rejection::Membership(refusal) => of_refusal(refusal),
        // Whoever proposed it has its answer already; nobody waits for this one.
        Rejection::AlreadyApplied => broken("a proposal that came twice"),
    }
}

pub(super) fn of_refusal(refusal: Refusal) -> Status {
    let code = match &refusal {
        Refusal::NotFound => Code::NotFound,
        Refusal::IdExists
        | Refusal::PeerUrlsExist
        | Refusal::NotLearner
        | Refusal::LearnerNotReady
        | Refusal::TooManyLearners
        | Refusal::Moved { .. } => Code::FailedPrecondition,
        // etcd's own slip: its table names the client's error value here, which has no code.
        Refusal::NotEnoughStarted => Code::Unknown,
        Refusal::Unhealthy => Code::Unavailable,
    };
    etcdserver(code, &refusal.to_string())
}

pub(super) fn of_raft(error: raft::Error) -> Status {
    match error {
        raft::Error::Rejected(rejection) => of_rejection(rejection),
        raft::Error::Refused(refusal) => of_refusal(refusal),
        raft::Error::NoLeader => no_leader(),
        raft::Error::LeaderChanged => etcdserver(Code::Unavailable, "leader changed"),
        raft::Error::NotLeader => etcdserver(Code::FailedPrecondition, "not leader"),
        raft::Error::BadTransferee => etcdserver(Code::FailedPrecondition, "bad leader transferee"),
        raft::Error::TooLarge => etcdserver(Code::InvalidArgument, "request is too large"),
        // The same slip as with NotEnoughStarted.
        raft::Error::TooManyRequests => etcdserver(Code::Unknown, "too many requests"),
        raft::Error::Timeout => etcdserver(Code::Unavailable, "request timed out"),
        raft::Error::TimeoutLeaderFailure => {
            etcdserver(Code::Unavailable, "request timed out, possibly due to previous leader failure")
        }
        raft::Error::TimeoutConnectionLost => {
            etcdserver(Code::Unavailable, "request timed out, possibly due to connection lost")
        }
        raft::Error::TimeoutWaitApplied => {
            etcdserver(Code::Unavailable, "request timed out, waiting for the applied index took too long")
        }
        // etcd's table of codes has none for it.
        raft::Error::TimeoutLeaderTransfer => {
            etcdserver(Code::Unknown, "request timed out, leader transfer took too long")
        }
        raft::Error::Stopped => stopped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Code::*;

    #[test]
    fn every_error_has_etcds_code_and_text() {
        let table: Vec<(Status, Code, &str)> = vec![
            (of_invalid(Invalid::EmptyKey), InvalidArgument, "etcdserver: key is not provided"),
            (of_invalid(Invalid::EmptyOp), InvalidArgument, "etcdserver: key not found"),
            (of_invalid(Invalid::ValueProvided), InvalidArgument, "etcdserver: value is provided"),
            (of_invalid(Invalid::LeaseProvided), InvalidArgument, "etcdserver: lease is provided"),
            (
                of_invalid(Invalid::TooManyOps),
                InvalidArgument,
                "etcdserver: too many operations in txn request",
            ),
            (
                of_invalid(Invalid::DuplicateKey),
                InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ),
            (of_invalid(Invalid::SortOption), InvalidArgument, "etcdserver: invalid sort option"),
            (of_invalid(Invalid::MemberUrls), InvalidArgument, "etcdserver: given member URLs are invalid"),
            (of_rejection(Rejection::KeyNotFound), InvalidArgument, "etcdserver: key not found"),
            (
                of_rejection(Rejection::Compacted),
                OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                of_store(mvcc::Error::FutureRevision),
                OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (of_rejection(Rejection::LeaseNotFound), NotFound, "etcdserver: requested lease not found"),
            (
                of_rejection(Rejection::NoSpace),
                ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (of_rejection(Rejection::Corrupt), DataLoss, "etcdserver: corrupt cluster"),
            (of_refusal(Refusal::NotFound), NotFound, "etcdserver: member not found"),
            (of_refusal(Refusal::IdExists), FailedPrecondition, "etcdserver: member ID already exist"),
            (of_refusal(Refusal::PeerUrlsExist), FailedPrecondition, "etcdserver: Peer URLs already exists"),
            (
                of_refusal(Refusal::NotEnoughStarted),
                Unknown,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            (of_refusal(Refusal::Unhealthy), Unavailable, "etcdserver: unhealthy cluster"),
            (
                of_refusal(Refusal::NotLearner),
                FailedPrecondition,
                "etcdserver: can only promote a learner member",
            ),
            (
                of_refusal(Refusal::LearnerNotReady),
                FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            (
                of_refusal(Refusal::TooManyLearners),
                FailedPrecondition,
                "etcdserver: too many learner members in cluster",
            ),
            (of_raft(raft::Error::TooManyRequests), Unknown, "etcdserver: too many requests"),
            (of_raft(raft::Error::TooLarge), InvalidArgument, "etcdserver: request is too large"),
            (of_raft(raft::Error::NotLeader), FailedPrecondition, "etcdserver: not leader"),
            (of_raft(raft::Error::BadTransferee), FailedPrecondition, "etcdserver: bad leader transferee"),
            (of_raft(raft::Error::NoLeader), Unavailable, "etcdserver: no leader"),
            (of_raft(raft::Error::LeaderChanged), Unavailable, "etcdserver: leader changed"),
            (of_raft(raft::Error::Stopped), Unavailable, "etcdserver: server stopped"),
            (of_raft(raft::Error::Timeout), Unavailable, "etcdserver: request timed out"),
            (
                of_raft(raft::Error::TimeoutLeaderFailure),
                Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            (
                of_raft(raft::Error::TimeoutConnectionLost),
                Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            (
                of_raft(raft::Error::TimeoutWaitApplied),
                Unavailable,
                "etcdserver: request timed out, waiting for the applied index took too long",
            ),
            (not_for_learners(), FailedPrecondition, "etcdserver: rpc not supported for learner"),
            (invalid_client_api_version(), InvalidArgument, "etcdserver: invalid client api version"),
        ];
        for (status, code, text) in table {
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }
}

//! What every call must pass before it is looked at: etcd's interceptors, as plain checks.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use tonic::Status;

use super::status;
use crate::apply::State;
use crate::clock::Clock;
use crate::raft::Handle;
use crate::types::MemberId;
use crate::watch::{CloseReason, Requests};

/// A client that sends `hasleader: true` would rather have an error than wait for a leader.
const REQUIRE_LEADER: &str = "hasleader";
const CLIENT_API_VERSION: &str = "client-api-version";
/// Election timeouts without a leader after which a running stream that requires one ends, as in etcd:
/// to connect anew costs much more than to refuse a new request.
const PATIENCE: u32 = 3;

pub(super) struct Gate {
    me: MemberId,
    handle: Handle,
    state: State,
    streams: Arc<Mutex<Streams>>,
}

/// The running streams that require a leader.
#[derive(Default)]
struct Streams {
    next: u64,
    open: HashMap<u64, Requests>,
}

/// Held by a stream that requires a leader while it runs.
pub(super) struct Registered {
    number: u64,
    streams: Arc<Mutex<Streams>>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.streams.lock().open.remove(&self.number);
    }
}

impl Gate {
    pub(super) fn new(me: MemberId, handle: Handle, state: State) -> Self {
        Gate { me, handle, state, streams: Arc::default() }
    }

    /// For a call of one request. A learner answers only what it can know by itself.
    pub(super) fn unary(&self, headers: &HeaderMap, learners_may: bool) -> Result<(), Status> {
        if !learners_may && self.is_learner() {
            return Err(status::not_for_learners());
        }
        self.check(headers).map(|_| ())
    }

    /// For a stream; a learner serves none of those we have. Answers whether the client requires a leader.
    pub(super) fn stream(&self, headers: &HeaderMap) -> Result<bool, Status> {
        if self.is_learner() {
            return Err(status::not_for_learners());
        }
        self.check(headers)
    }

    fn check(&self, headers: &HeaderMap) -> Result<bool, Status> {
        if headers.get(CLIENT_API_VERSION).is_some_and(|v| std::str::from_utf8(v.as_bytes()).is_err()) {
            return Err(status::invalid_client_api_version());
        }
        let requires_leader = headers.get(REQUIRE_LEADER).is_some_and(|value| value == "true");
        if requires_leader && self.handle.status().leader.is_none() {
            return Err(status::no_leader());
        }
        Ok(requires_leader)
    }

    fn is_learner(&self) -> bool {
        self.state.members().get(self.me).is_some_and(|member| member.is_learner)
    }

    /// Has the stream closed when the leader stays away.
    pub(super) fn register(&self, stream: Requests) -> Registered {
        let mut streams = self.streams.lock();
        streams.next += 1;
        let number = streams.next;
        streams.open.insert(number, stream);
        Registered { number, streams: self.streams.clone() }
    }
}

/// Looks once per election timeout whether there is a leader; ends with the gate.
pub(super) async fn watch_leader(gate: Weak<Gate>, election: Duration, clock: Arc<dyn Clock>) {
    let mut without_leader = 0;
    loop {
        clock.sleep(election).await;
        let Some(gate) = gate.upgrade() else { return };
        if gate.handle.status().leader.is_some() {
            without_leader = 0;
            continue;
        }
        without_leader += 1;
        if without_leader >= PATIENCE {
            let open = std::mem::take(&mut gate.streams.lock().open);
            open.values().for_each(|stream| stream.close(CloseReason::NoLeader));
        }
    }
}

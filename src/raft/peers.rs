//! The other members as this one sees them: their links, and how healthy those are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::transport::{Control, Forward};
use super::types::Membership;
use crate::membership::Member;
use crate::types::MemberId;

/// The health of the link to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    pub id: MemberId,
    /// Since when the link is up; none while it is down.
    pub active_since: Option<Instant>,
    /// The latest measured round trip of a small message.
    pub round_trip: Option<Duration>,
}

/// The members this one keeps links to: everybody else in the effective membership.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<MemberId, Arc<Peer>>>);

/// One other member. [`Peers`] closes its links when it leaves the membership.
pub(super) struct Peer {
    pub id: MemberId,
    /// What it was when it was added: where to dial until the replicated state knows better.
    pub added_as: Member,
    pub control: Control,
    pub forward: Forward,
    health: Mutex<Health>,
    close: CancellationToken,
}

#[derive(Clone, Copy, Default)]
struct Health {
    active_since: Option<Instant>,
    round_trip: Option<Duration>,
    /// The log says already that it cannot be reached.
    told: bool,
}

impl Peer {
    fn open(shared: &Arc<Shared>, member: &Member) -> Arc<Self> {
        let (control, control_queue) = Control::new();
        let (forward, forward_queue) = Forward::new();
        let peer = Arc::new(Self {
            id: member.id,
            added_as: member.clone(),
            control,
            forward,
            health: Mutex::default(),
            close: shared.stop.child_token(),
        });
        control_queue.run(shared, &peer);
        forward_queue.run(shared, &peer);
        peer
    }

    /// Runs a task of one of its links until the peer is closed.
    pub(super) fn spawn(&self, shared: &Shared, task: impl Future<Output = ()> + Send + 'static) {
        let close = self.close.clone();
        shared.runtime.spawn(async move {
            tokio::select! {
                () = close.cancelled() => {}
                () = task => {}
            }
        });
    }

    pub(super) fn connected(&self) {
        *self.health.lock() = Health { active_since: Some(Instant::now()), ..Health::default() };
        tracing::info!(peer = %self.id, "connected to peer");
    }

    pub(super) fn disconnected(&self, reason: &std::io::Error) {
        *self.health.lock() = Health { told: true, ..Health::default() };
        tracing::warn!(peer = %self.id, %reason, "lost connection to peer");
    }

    /// An attempt to connect failed: worth a line once, until the peer is connected again.
    pub(super) fn unreachable(&self, error: &std::io::Error) {
        if std::mem::replace(&mut self.health.lock().told, true) {
            tracing::debug!(peer = %self.id, %error, "peer still cannot be reached");
        } else {
            tracing::warn!(peer = %self.id, %error, "peer cannot be reached");
        }
    }

    pub(super) fn measured(&self, round_trip: Duration) {
        self.health.lock().round_trip = Some(round_trip);
    }

    fn state(&self) -> PeerState {
        let Health { active_since, round_trip, .. } = *self.health.lock();
        PeerState { id: self.id, active_since, round_trip }
    }
}

impl Peers {
    /// The peer of that id, opened if this is the first time anybody asks for it.
    pub(super) fn get_or_open(&self, shared: &Arc<Shared>, member: &Member) -> Arc<Peer> {
        let mut peers = self.0.lock();
        Arc::clone(peers.entry(member.id).or_insert_with(|| Peer::open(shared, member)))
    }

    pub(super) fn get(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.0.lock().get(&id).cloned()
    }

    /// Opens links to members that came and closes those to members that went.
    pub(super) fn follow(&self, shared: &Arc<Shared>, membership: &Membership) {
        let mut peers = self.0.lock();
        for (_, gone) in peers.extract_if(|id, _| membership.get_node(id).is_none()) {
            gone.close.cancel();
        }
        for (id, member) in membership.nodes().filter(|(id, _)| **id != shared.me) {
            peers.entry(*id).or_insert_with(|| Peer::open(shared, member));
        }
    }

    pub(super) fn close(&self) {
        self.0.lock().drain().for_each(|(_, peer)| peer.close.cancel());
    }

    pub(super) fn states(&self) -> Vec<PeerState> {
        let mut states: Vec<_> = self.0.lock().values().map(|peer| peer.state()).collect();
        states.sort_by_key(|state| state.id);
        states
    }

    /// Whether the link to `id` has been up since before `since`.
    pub(super) fn connected_since(&self, id: MemberId, since: tokio::time::Instant) -> bool {
        let active_since = self.get(id).and_then(|peer| peer.state().active_since);
        active_since.is_some_and(|active| active < since.into_std())
    }

    /// Whether so many members, this one included, have been connected since before `since` that
    /// they are a quorum of all.
    pub(super) fn connects_quorum_since(&self, since: tokio::time::Instant) -> bool {
        let ids: Vec<_> = self.0.lock().keys().copied().collect();
        let connected = ids.iter().filter(|id| self.connected_since(**id, since)).count();
        let members = ids.len() + 1;
        connected + 1 > members / 2
    }
}

//! What a client asks of a watch, and what it is told.

use std::fmt;

use crate::mvcc::{Event, EventKind, KeyRange};
use crate::types::Revision;

/// Identity of a watcher within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub i64);

impl WatchId {
    /// In a create request: the server picks the identity.
    pub const AUTO: WatchId = WatchId(0);
    /// In a message: no watcher (a refused create), or all watchers of the stream (progress).
    pub const NONE: WatchId = WatchId(-1);
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Kinds of events that a watcher does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    pub no_put: bool,
    pub no_delete: bool,
}

impl Filters {
    pub(super) fn drops(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        }
    }
}

/// A request for a new watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// [`WatchId::AUTO`]: the stream picks the lowest counter value not in use.
    pub id: WatchId,
    pub range: KeyRange,
    /// First revision of interest; 0 is what comes after now, negative is refused.
    pub start: Revision,
    pub filters: Filters,
    pub prev_kv: bool,
    pub progress_notify: bool,
    pub fragment: bool,
}

/// Why a watcher was not made. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("mvcc: duplicate watch ID provided on the WatchStream")]
    DuplicateId,
    #[error("mvcc: watcher range is empty")]
    EmptyRange,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    NegativeStart,
}

/// Why the server ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client asked for a leader and this member has seen none for three election timeouts.
    NoLeader,
    /// The server stops.
    Stopped,
    /// What the client sent is no request.
    Unreadable,
}

/// One thing a stream tells its client. `revision` is the store's when the message was made.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Created {
        id: WatchId,
        revision: Revision,
    },
    Refused {
        reason: Refused,
        revision: Revision,
    },
    Canceled {
        id: WatchId,
        revision: Revision,
    },
    /// The watcher needs revisions that are gone; it is over.
    Compacted {
        id: WatchId,
        compacted: Revision,
    },
    /// Events in revision order, never empty; all events of one revision come in one message.
    Events {
        id: WatchId,
        revision: Revision,
        events: Vec<Told>,
        fragment: bool,
    },
    /// Everything up to `revision` has been told: to this watcher, or to all ([`WatchId::NONE`]).
    Progress {
        id: WatchId,
        revision: Revision,
    },
    Closed(CloseReason),
}

/// An event as it is told, with the key's state before it if the watcher asked and history still has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub event: Event,
    pub prev_kv: Option<crate::mvcc::KeyValue>,
}

/// Whether a watcher over `range` with `filters` from revision `min` on wants this event.
pub(super) fn wants(range: &KeyRange, filters: Filters, event: &Event) -> bool {
    !filters.drops(event.kind) && range.contains(&event.kv.key)
}

/// Whether the range can hold no key at all.
pub(super) fn is_empty(range: &KeyRange) -> bool {
    match range {
        KeyRange::Span(start, end) => end <= start,
        KeyRange::One(_) | KeyRange::From(_) => false,
    }
}

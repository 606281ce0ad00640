//! The one place that hears of each revision and passes it on to the streams in step with it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::groups::{Groups, Synced, Token};
use super::stream::{Shared, Stream};
use super::watcher::CloseReason;
use crate::mvcc::{Event, Store};
use crate::types::Revision;

/// Cheap to clone; one per server.
#[derive(Clone)]
pub struct Hub {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    /// Locked before any stream's own state, never after.
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// Every synced watcher has in its queue what it wants of the revisions up to this one.
    /// At or a moment behind the store's own revision.
    pub(super) delivered: Revision,
    pub(super) groups: Groups,
    /// Streams that asked for their progress at a revision the store has and `delivered` has not.
    pub(super) awaiting_progress: Vec<(Revision, Arc<Shared>)>,
    next_token: u64,
    /// Every open stream, by a number of its own.
    streams: HashMap<u64, Arc<Shared>>,
    next_stream: u64,
    watchers: usize,
    is_closed: bool,
}

/// The events of one revision, shared by all streams that are told of them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) revision: Revision,
    pub(super) events: Box<[Event]>,
}

/// For the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub streams: usize,
    pub watchers: usize,
    /// Watchers that read history because they are behind.
    pub slow: usize,
}

impl Hub {
    pub fn new(store: Store) -> Self {
        let state = State {
            delivered: store.revision(),
            groups: Groups::default(),
            awaiting_progress: Vec::new(),
            next_token: 0,
            streams: HashMap::new(),
            next_stream: 0,
            watchers: 0,
            is_closed: false,
        };
        Hub { inner: Arc::new(Inner { store, state: Mutex::new(state) }) }
    }

    /// Tells of a revision that the store has just reached, with all of its events. Revisions that were
    /// left out (the store took over a leader's checkpoint: no events) are read from history by whoever
    /// needs them. Called on the thread that applies: never blocks on a stream, never reads the store.
    pub fn notify(&self, revision: Revision, events: &[Event]) {
        let mut state = self.inner.state.lock();
        if revision <= state.delivered {
            return;
        }
        let complete = !events.is_empty() && revision.0 == state.delivered.0 + 1;
        if !state.groups.is_empty() {
            if complete {
                state.tell(revision, events);
            } else {
                state.send_to_history(revision);
            }
        }
        state.delivered = revision;
        state.answer_progress();
    }

    /// A new stream without watchers.
    pub fn stream(&self) -> Stream {
        let mut state = self.inner.state.lock();
        let number = state.next_stream;
        state.next_stream += 1;
        let shared = Arc::new(Shared::default());
        if state.is_closed {
            shared.close(CloseReason::Stopped);
        }
        state.streams.insert(number, shared.clone());
        Stream::new(self.clone(), number, shared)
    }

    /// The server stops: ends every stream, and those to come.
    pub fn close(&self) {
        let mut state = self.inner.state.lock();
        state.is_closed = true;
        state.streams.values().for_each(|stream| stream.close(CloseReason::Stopped));
    }

    pub fn counts(&self) -> Counts {
        let state = self.inner.state.lock();
        let synced = state.groups.len();
        Counts {
            streams: state.streams.len(),
            watchers: state.watchers,
            slow: state.watchers.saturating_sub(synced),
        }
    }
}

impl State {
    fn tell(&mut self, revision: Revision, events: &[Event]) {
        let interested = self.groups.interested(revision, events);
        if interested.is_empty() {
            return;
        }
        let batch = Arc::new(Batch { revision, events: events.into() });
        for token in interested {
            let watcher = self.groups.get(token).expect("the groups hold every watcher they find");
            if !watcher.stream.push_batch(watcher.id, token, &batch) {
                self.groups.remove(token);
            }
        }
    }

    /// The events up to `revision` are not at hand: who wants them reads them from the store.
    fn send_to_history(&mut self, revision: Revision) {
        for token in self.groups.due_by(revision) {
            if let Some(watcher) = self.groups.remove(token) {
                let next = watcher.min.max(Revision(self.delivered.0 + 1));
                watcher.stream.fall_behind(watcher.id, token, next);
            }
        }
    }

    fn answer_progress(&mut self) {
        if self.awaiting_progress.is_empty() {
            return;
        }
        let delivered = self.delivered;
        self.awaiting_progress.retain(|(revision, stream)| {
            if *revision > delivered {
                return true;
            }
            stream.push_progress_of_all(delivered);
            false
        });
    }

    pub(super) fn new_token(&mut self) -> Token {
        self.next_token += 1;
        self.watchers += 1;
        Token(self.next_token)
    }

    /// The watcher is over, wherever it was.
    pub(super) fn forget(&mut self, token: Token) {
        self.groups.remove(token);
        self.watchers -= 1;
    }

    pub(super) fn join(&mut self, token: Token, watcher: Synced) {
        self.groups.insert(token, watcher);
    }

    pub(super) fn stream_ended(&mut self, number: u64, tokens: impl Iterator<Item = Token>) {
        for token in tokens {
            self.forget(token);
        }
        if let Some(stream) = self.streams.remove(&number) {
            self.awaiting_progress.retain(|(_, waiting)| !Arc::ptr_eq(waiting, &stream));
        }
    }
}

//! One client's stream of watches: [`Requests`] takes what it asks, [`Stream`] gives what it is told.
//!
//! What always holds: the queue is in the order in which the client must be told, and a watcher is either
//! synced (the hub puts its batches into the queue) or behind (this stream reads its history), never both.
//! The queue holds at most [`BATCHES_MAX`] batches; a watcher whose batch finds no room falls behind.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::groups::{Synced, Token};
use super::hub::{Batch, Hub};
use super::watcher::{CloseReason, Create, Filters, Message, Refused, Told, WatchId, is_empty, wants};
use crate::mvcc::{self, Event, EventKind, KeyRange, Store};
use crate::types::Revision;

/// Batches that wait for a slow client before its watchers fall back on history.
const BATCHES_MAX: usize = 1024;
/// Unsent messages at which no further request is taken from the client.
const UNSENT_MAX: usize = 16 * 1024;
/// Distinct revisions in one message of a watcher that catches up, as in etcd.
const CATCH_UP_REVISIONS: usize = 1000;
/// Messages after which a watcher that is behind has its turn.
const TOLD_BEFORE_CATCH_UP: usize = 64;
/// A catch-up over more revisions than this is better done where it blocks nobody.
const SHORT_CATCH_UP: i64 = 2000;

/// What both halves of a stream and the hub share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes who waits for messages.
    output: AtomicWaker,
    /// Wakes who waits until requests may be taken again.
    input: AtomicWaker,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    batches: usize,
    watchers: BTreeMap<WatchId, Watcher>,
    next_id: i64,
    /// Watchers that are behind, next to be served first.
    behind: VecDeque<(WatchId, Token)>,
    /// Messages since the last catch-up.
    told: usize,
    ended: bool,
}

enum Item {
    /// Passed on as it is.
    Message(Message),
    Batch {
        id: WatchId,
        token: Token,
        batch: Arc<Batch>,
    },
    /// The watcher's batches before this place in the queue were the last that the hub gave.
    Fell {
        id: WatchId,
        token: Token,
        next: Revision,
    },
}

struct Watcher {
    token: Token,
    range: KeyRange,
    start: Revision,
    filters: Filters,
    prev_kv: bool,
    fragment: bool,
    position: Position,
    /// None: the client does not want ticks. Some(true): nothing was told since the last tick.
    quiet: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Synced,
    /// Out of the hub; batches that it gave before are still in the queue.
    Falling,
    /// All revisions below this one are told.
    Behind(Revision),
    /// Told so; counts as not synced until the client cancels it, as in etcd.
    Compacted,
}

/// What is to be done next for a stream.
#[derive(Debug)]
pub enum Next {
    Message(Message),
    /// Run it, wherever, and give the result to [`Stream::caught_up`].
    CatchUp(CatchUp),
    Nothing,
}

/// A read of history for one watcher that is behind.
#[derive(Debug)]
pub struct CatchUp {
    id: WatchId,
    token: Token,
    range: KeyRange,
    from: Revision,
}

#[derive(Debug)]
pub struct CaughtUp {
    id: WatchId,
    token: Token,
    /// The store's revision when the read began.
    revision: Revision,
    read: Result<mvcc::History, mvcc::Error>,
    compacted: Revision,
}

impl CatchUp {
    /// Whether so few revisions are to be read that it can be done in place.
    pub fn is_short(&self, store: &Store) -> bool {
        store.revision().0 - self.from.0 < SHORT_CATCH_UP
    }

    pub fn run(self, store: &Store) -> CaughtUp {
        let revision = store.revision();
        let read = store.events(&self.range, self.from, CATCH_UP_REVISIONS);
        let compacted = store.compacted_revision();
        CaughtUp { id: self.id, token: self.token, revision, read, compacted }
    }
}

impl Shared {
    /// Called by the hub. False: no room, the watcher has fallen behind.
    pub(super) fn push_batch(&self, id: WatchId, token: Token, batch: &Arc<Batch>) -> bool {
        let mut state = self.state.lock();
        let has_room = state.batches < BATCHES_MAX;
        if has_room {
            state.batches += 1;
            state.queue.push_back(Item::Batch { id, token, batch: batch.clone() });
        } else {
            state.fall(id, token, batch.revision);
        }
        drop(state);
        self.output.wake();
        has_room
    }

    /// Called by the hub when it has not the events from `next` on.
    pub(super) fn fall_behind(&self, id: WatchId, token: Token, next: Revision) {
        self.state.lock().fall(id, token, next);
        self.output.wake();
    }

    /// Called by the hub, in order with the batches.
    pub(super) fn push_progress_of_all(&self, revision: Revision) {
        let mut state = self.state.lock();
        if state.all_are_synced_at(revision) {
            state.queue.push_back(Item::Message(Message::Progress { id: WatchId::NONE, revision }));
            drop(state);
            self.output.wake();
        }
    }

    pub(super) fn close(&self, reason: CloseReason) {
        self.push(Message::Closed(reason));
    }

    fn push(&self, message: Message) {
        self.state.lock().queue.push_back(Item::Message(message));
        self.output.wake();
    }
}

impl State {
    fn watcher(&mut self, id: WatchId, token: Token) -> Option<&mut Watcher> {
        self.watchers.get_mut(&id).filter(|w| w.token == token)
    }

    fn fall(&mut self, id: WatchId, token: Token, next: Revision) {
        if let Some(watcher) = self.watcher(id, token) {
            watcher.position = Position::Falling;
            self.queue.push_back(Item::Fell { id, token, next });
        }
    }

    /// etcd's condition for telling progress; without watchers there is nobody to tell.
    fn all_are_synced_at(&self, revision: Revision) -> bool {
        !self.watchers.is_empty() && self.watchers.values().all(|w| w.is_synced_at(revision))
    }

    fn pick_id(&mut self, wanted: WatchId) -> Result<WatchId, Refused> {
        if wanted != WatchId::AUTO {
            let taken = self.watchers.contains_key(&wanted);
            return if taken { Err(Refused::DuplicateId) } else { Ok(wanted) };
        }
        while self.watchers.contains_key(&WatchId(self.next_id)) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok(WatchId(self.next_id - 1))
    }
}

impl Watcher {
    fn new(token: Token, create: &Create) -> Self {
        Watcher {
            token,
            range: create.range.clone(),
            start: create.start,
            filters: create.filters,
            prev_kv: create.prev_kv,
            fragment: create.fragment,
            position: Position::Synced,
            quiet: create.progress_notify.then_some(true),
        }
    }

    /// The next progress tick leaves it out.
    fn mark_told(&mut self) {
        self.quiet = self.quiet.map(|_| false);
    }

    fn is_synced_at(&self, revision: Revision) -> bool {
        self.position == Position::Synced && self.start <= revision
    }
}

/// Takes what a client asks of its stream. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Requests {
    hub: Hub,
    shared: Arc<Shared>,
}

impl Requests {
    /// Makes a watcher, or says in the stream why not.
    pub fn create(&self, create: Create) {
        let mut hub = self.hub.inner.state.lock();
        let revision = self.hub.inner.store.revision();
        let mut state = self.shared.state.lock();
        if state.ended {
            return;
        }
        match self.refusal_or_id(&create, &mut state) {
            Err(reason) => state.queue.push_back(Item::Message(Message::Refused { reason, revision })),
            Ok(id) => {
                let token = hub.new_token();
                let (start, filters) = (create.start, create.filters);
                state.queue.push_back(Item::Message(Message::Created { id, revision }));
                state.watchers.insert(id, Watcher::new(token, &create));
                if start == Revision(0) || start > revision {
                    let min = start.max(Revision(revision.0 + 1));
                    let stream = self.shared.clone();
                    hub.join(token, Synced { stream, id, range: create.range, filters, min });
                } else {
                    state.fall(id, token, start);
                }
            }
        }
        drop(state);
        drop(hub);
        self.shared.output.wake();
    }

    fn refusal_or_id(&self, create: &Create, state: &mut State) -> Result<WatchId, Refused> {
        if create.start < Revision(0) {
            return Err(Refused::NegativeStart);
        }
        if is_empty(&create.range) {
            return Err(Refused::EmptyRange);
        }
        state.pick_id(create.id)
    }

    /// Ends a watcher; an unknown one is not answered.
    pub fn cancel(&self, id: WatchId) {
        let mut hub = self.hub.inner.state.lock();
        let Some(watcher) = self.shared.state.lock().watchers.remove(&id) else { return };
        hub.forget(watcher.token);
        let revision = self.hub.inner.store.revision();
        drop(hub);
        self.shared.push(Message::Canceled { id, revision });
    }

    /// Asks for one [`Message::Progress`] of all watchers; dropped if any of them is not synced.
    pub fn progress(&self) {
        let mut hub = self.hub.inner.state.lock();
        let revision = self.hub.inner.store.revision();
        if hub.delivered >= revision {
            let delivered = hub.delivered;
            drop(hub);
            self.shared.push_progress_of_all(delivered);
        } else if self.shared.state.lock().all_are_synced_at(revision) {
            hub.awaiting_progress.push((revision, self.shared.clone()));
        }
    }

    /// A progress interval is over: tells each quiet watcher that wants to know where it is.
    pub fn tick(&self) {
        let hub = self.hub.inner.state.lock();
        let revision = hub.delivered;
        let mut state = self.shared.state.lock();
        let State { watchers, queue, .. } = &mut *state;
        for (id, watcher) in watchers.iter_mut() {
            if watcher.quiet == Some(true) && watcher.is_synced_at(revision) {
                queue.push_back(Item::Message(Message::Progress { id: *id, revision }));
            }
            if watcher.quiet.is_some() {
                watcher.quiet = Some(true);
            }
        }
        drop(state);
        drop(hub);
        self.shared.output.wake();
    }

    /// The server ends the stream: nothing is told after the reason.
    pub fn close(&self, reason: CloseReason) {
        self.shared.close(reason);
    }

    /// Ready while the client takes its messages in good time.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.input.register(context.waker());
        let state = self.shared.state.lock();
        if state.queue.len() < UNSENT_MAX || state.ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Gives what the client is to be told. Dropping it ends all watchers of the stream.
pub struct Stream {
    hub: Hub,
    /// The hub's name for it.
    number: u64,
    shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(hub: Hub, number: u64, shared: Arc<Shared>) -> Self {
        Stream { hub, number, shared }
    }

    pub fn requests(&self) -> Requests {
        Requests { hub: self.hub.clone(), shared: self.shared.clone() }
    }

    /// As [`Stream::take`], and arranges to be woken when there is nothing.
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.shared.output.register(context.waker());
        match self.take() {
            Next::Nothing => Poll::Pending,
            next => Poll::Ready(next),
        }
    }

    /// What to tell the client, or to read for it, now.
    pub fn take(&mut self) -> Next {
        loop {
            let mut state = self.shared.state.lock();
            if (state.queue.is_empty() || state.told >= TOLD_BEFORE_CATCH_UP)
                && let Some(catch_up) = state.next_catch_up()
            {
                state.told = 0;
                return Next::CatchUp(catch_up);
            }
            let Some(item) = state.queue.pop_front() else { return Next::Nothing };
            state.told += 1;
            if state.queue.len() == UNSENT_MAX / 2 {
                self.shared.input.wake();
            }
            match item {
                Item::Message(message) => return Next::Message(message),
                Item::Fell { id, token, next } => {
                    if let Some(watcher) = state.watcher(id, token) {
                        watcher.position = Position::Behind(next);
                        state.behind.push_back((id, token));
                    }
                }
                Item::Batch { id, token, batch } => {
                    state.batches -= 1;
                    let Some(watcher) = state.watcher(id, token) else { continue };
                    watcher.mark_told();
                    let (range, filters) = (watcher.range.clone(), watcher.filters);
                    let (prev_kv, fragment) = (watcher.prev_kv, watcher.fragment);
                    drop(state);
                    let events = batch.events.iter().filter(|e| wants(&range, filters, e)).cloned();
                    let events = self.tell(events, prev_kv);
                    return Next::Message(Message::Events { id, revision: batch.revision, events, fragment });
                }
            }
        }
    }

    /// Takes the result of a [`CatchUp`]; whatever it has to tell comes before what is queued.
    pub fn caught_up(&mut self, done: CaughtUp) -> Option<Message> {
        let CaughtUp { id, token, revision, read, compacted } = done;
        let mut hub = self.hub.inner.state.lock();
        let mut state = self.shared.state.lock();
        let watcher = state.watcher(id, token)?;
        let Ok((read, next)) = read else {
            watcher.position = Position::Compacted;
            return Some(Message::Compacted { id, compacted });
        };
        let (range, filters) = (watcher.range.clone(), watcher.filters);
        let (prev_kv, fragment) = (watcher.prev_kv, watcher.fragment);
        let events: Vec<Event> =
            read.into_iter().flat_map(|(_, events)| events).filter(|e| wants(&range, filters, e)).collect();
        if !events.is_empty() {
            watcher.mark_told();
        }
        if next > hub.delivered {
            watcher.position = Position::Synced;
            hub.join(token, Synced { stream: self.shared.clone(), id, range, filters, min: next });
        } else {
            watcher.position = Position::Behind(next);
            state.behind.push_back((id, token));
        }
        drop(state);
        drop(hub);
        if events.is_empty() {
            return None;
        }
        let events = self.tell(events.into_iter(), prev_kv);
        let revision = revision.max(Revision(next.0 - 1));
        Some(Message::Events { id, revision, events, fragment })
    }

    fn tell(&self, events: impl Iterator<Item = Event>, prev_kv: bool) -> Vec<Told> {
        let store = &self.hub.inner.store;
        let prev_of = |event: &Event| {
            let made_it = event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision;
            let before = Revision(event.kv.mod_revision.0 - 1);
            (prev_kv && !made_it).then(|| store.get_at(&event.kv.key, before)).flatten()
        };
        events.map(|event| Told { prev_kv: prev_of(&event), event }).collect()
    }
}

impl State {
    fn next_catch_up(&mut self) -> Option<CatchUp> {
        while let Some((id, token)) = self.behind.pop_front() {
            if let Some(watcher) = self.watcher(id, token)
                && let Position::Behind(from) = watcher.position
            {
                return Some(CatchUp { id, token, range: watcher.range.clone(), from });
            }
        }
        None
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut hub = self.hub.inner.state.lock();
        let mut state = self.shared.state.lock();
        state.ended = true;
        state.queue.clear();
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        hub.stream_ended(self.number, watchers.into_values().map(|w| w.token));
        drop(hub);
        self.shared.input.wake();
    }
}

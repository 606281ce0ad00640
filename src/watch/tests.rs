//! Stories of watchers, told through the hub with a real store and no network.

use bytes::Bytes;

use super::*;
use crate::apply::{Applier, Command, Envelope, ProposalId};
use crate::mvcc::{DeleteOp, Event, EventKind, KeyRange, PutOp};
use crate::types::{LeaseId, LogIndex, Revision, Term};

/// A store with a hub behind it.
struct World {
    applier: Applier,
    hub: Hub,
    index: u64,
}

impl World {
    fn new() -> Self {
        let applier = Applier::new();
        let hub = Hub::new(applier.state().store().clone());
        World { applier, hub, index: 0 }
    }

    /// Applies without telling the hub: as if its turn came later.
    fn apply(&mut self, command: Command) -> (Revision, Vec<Event>) {
        self.index += 1;
        let envelope = Envelope { id: ProposalId::default(), command };
        let applied = self.applier.apply(LogIndex(self.index), Term(1), envelope);
        applied.outcome.expect("the stories ask for nothing wrong");
        (applied.revision, applied.events)
    }

    fn change(&mut self, command: Command) -> Revision {
        let (revision, events) = self.apply(command);
        if !events.is_empty() {
            self.hub.notify(revision, &events);
        }
        revision
    }

    fn put(&mut self, key: &str, value: &str) -> Revision {
        self.change(put(key, value))
    }

    fn delete(&mut self, key: &str) -> Revision {
        let range = KeyRange::One(Bytes::copy_from_slice(key.as_bytes()));
        self.change(Command::DeleteRange(DeleteOp { range, prev_kv: false }))
    }

    fn compact(&mut self, revision: i64) {
        self.change(Command::Compact { revision: Revision(revision), physical: true });
    }

    fn stream(&self) -> Stream {
        self.hub.stream()
    }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(PutOp {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn all() -> Create {
    Create {
        id: WatchId::AUTO,
        range: KeyRange::From(Bytes::from_static(b"\0")),
        start: Revision(0),
        filters: Filters::default(),
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    }
}

fn one(key: &'static str) -> Create {
    Create { range: KeyRange::One(Bytes::from_static(key.as_bytes())), ..all() }
}

fn from(start: i64) -> Create {
    Create { start: Revision(start), ..all() }
}

/// Everything that the stream has to say now, a line each.
fn told(world: &World, stream: &mut Stream) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match stream.take() {
            Next::Nothing => return lines,
            Next::Message(message) => lines.push(line(&message)),
            Next::CatchUp(catch_up) => {
                let done = catch_up.run(world.applier.state().store());
                lines.extend(stream.caught_up(done).as_ref().map(line));
            }
        }
    }
}

fn line(message: &Message) -> String {
    match message {
        Message::Created { id, revision } => format!("{id} created at {revision}"),
        Message::Refused { reason, revision } => format!("refused at {revision}: {reason}"),
        Message::Canceled { id, revision } => format!("{id} canceled at {revision}"),
        Message::Compacted { id, compacted } => format!("{id} compacted at {compacted}"),
        Message::Progress { id, revision } => format!("{id} progress {revision}"),
        Message::Closed(reason) => format!("closed: {reason:?}"),
        Message::Events { id, revision, events, .. } => {
            let events: Vec<_> = events.iter().map(event).collect();
            format!("{id} at {revision}: {}", events.join(" "))
        }
    }
}

fn event(told: &Told) -> String {
    let kv = &told.event.kv;
    let key = String::from_utf8_lossy(&kv.key);
    let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
    let before = told.prev_kv.as_ref().map_or(String::new(), |kv| format!("(was {})", text(&kv.value)));
    match told.event.kind {
        EventKind::Put => format!("{key}={}@{}{before}", text(&kv.value), kv.mod_revision),
        EventKind::Delete => format!("-{key}@{}{before}", kv.mod_revision),
    }
}

#[test]
fn a_watcher_is_created_before_it_is_told_and_told_in_order() {
    let mut world = World::new();
    world.put("a", "old");
    let mut stream = world.stream();
    stream.requests().create(all());
    world.put("a", "1");
    world.put("b", "2");
    world.delete("a");
    assert_eq!(
        told(&world, &mut stream),
        ["0 created at 2", "0 at 3: a=1@3", "0 at 4: b=2@4", "0 at 5: -a@5"]
    );
}

#[test]
fn watchers_of_one_key_and_of_ranges_get_what_is_theirs() {
    let mut world = World::new();
    let mut stream = world.stream();
    let requests = stream.requests();
    requests.create(one("a"));
    requests.create(Create {
        range: KeyRange::Span(Bytes::from_static(b"b"), Bytes::from_static(b"d")),
        ..all()
    });
    requests.create(one("missing"));
    assert_eq!(told(&world, &mut stream).len(), 3);
    for key in ["a", "b", "c", "d"] {
        world.put(key, "x");
    }
    assert_eq!(told(&world, &mut stream), ["0 at 2: a=x@2", "1 at 3: b=x@3", "1 at 4: c=x@4"]);
}

#[test]
fn all_events_of_a_revision_come_together_and_once() {
    use crate::mvcc::{Op, TxnOp};
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(all());
    let Command::Put(a) = put("a", "1") else { unreachable!() };
    let Command::Put(b) = put("b", "2") else { unreachable!() };
    world.change(Command::Txn(TxnOp { success: vec![Op::Put(a), Op::Put(b)], ..TxnOp::default() }));
    assert_eq!(told(&world, &mut stream), ["0 created at 1", "0 at 2: a=1@2 b=2@2"]);
}

#[test]
fn a_watcher_that_starts_in_the_past_catches_up_and_goes_on() {
    let mut world = World::new();
    world.put("a", "1");
    world.put("a", "2");
    world.put("b", "3");
    let mut stream = world.stream();
    stream.requests().create(Create { prev_kv: true, ..from(3) });
    assert_eq!(told(&world, &mut stream), ["0 created at 4", "0 at 4: a=2@3(was 1) b=3@4"]);
    world.delete("a");
    assert_eq!(told(&world, &mut stream), ["0 at 5: -a@5(was 2)"]);
}

#[test]
fn what_is_written_while_a_watcher_catches_up_is_neither_lost_nor_told_twice() {
    let mut world = World::new();
    world.put("a", "1");
    let mut stream = world.stream();
    stream.requests().create(from(1));
    let Next::Message(created) = stream.take() else { panic!("a created message comes first") };
    assert_eq!(line(&created), "0 created at 2");
    let Next::CatchUp(catch_up) = stream.take() else { panic!("then history is read") };
    let done = catch_up.run(world.applier.state().store());
    world.put("a", "2");
    assert_eq!(stream.caught_up(done).as_ref().map(line).as_deref(), Some("0 at 2: a=1@2"));
    assert_eq!(told(&world, &mut stream), ["0 at 3: a=2@3"]);
    world.put("a", "3");
    assert_eq!(told(&world, &mut stream), ["0 at 4: a=3@4"]);
}

#[test]
fn a_watcher_made_between_apply_and_notify_is_not_told_of_the_past() {
    let mut world = World::new();
    let (revision, events) = world.apply(put("a", "1"));
    let mut stream = world.stream();
    stream.requests().create(all());
    stream.requests().create(from(2));
    world.hub.notify(revision, &events);
    assert_eq!(told(&world, &mut stream), ["0 created at 2", "1 created at 2", "1 at 2: a=1@2"]);
}

#[test]
fn a_start_in_the_future_withholds_what_comes_before_it_and_progress_too() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(from(3));
    stream.requests().progress();
    world.put("a", "2");
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), ["0 created at 1"]);
    world.put("a", "3");
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), ["0 at 3: a=3@3", "-1 progress 3"]);
}

#[test]
fn a_start_below_the_compacted_revision_ends_the_watcher() {
    let mut world = World::new();
    for value in ["1", "2", "3"] {
        world.put("a", value);
    }
    world.compact(3);
    let mut stream = world.stream();
    stream.requests().create(from(2));
    stream.requests().create(from(3));
    assert_eq!(
        told(&world, &mut stream),
        ["0 created at 4", "1 created at 4", "0 compacted at 3", "1 at 4: a=2@3 a=3@4"]
    );
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), [""; 0], "a compacted watcher is not in step");
    stream.requests().cancel(WatchId(0));
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), ["0 canceled at 4", "-1 progress 4"]);
}

#[test]
fn refusals_leave_the_stream_open() {
    let mut world = World::new();
    let mut stream = world.stream();
    let requests = stream.requests();
    let id = WatchId(5);
    requests.create(Create { id, ..all() });
    requests.create(Create { id, ..all() });
    let empty = KeyRange::Span(Bytes::from_static(b"b"), Bytes::from_static(b"a"));
    requests.create(Create { range: empty, ..all() });
    requests.create(from(-1));
    requests.cancel(WatchId(77));
    world.put("a", "1");
    assert_eq!(
        told(&world, &mut stream),
        [
            "5 created at 1",
            "refused at 1: mvcc: duplicate watch ID provided on the WatchStream",
            "refused at 1: mvcc: watcher range is empty",
            "refused at 1: etcdserver: mvcc: required revision has been compacted",
            "5 at 2: a=1@2",
        ]
    );
}

#[test]
fn picked_identities_count_up_and_skip_those_in_use() {
    let world = World::new();
    let mut stream = world.stream();
    let requests = stream.requests();
    requests.create(all());
    requests.create(Create { id: WatchId(1), ..all() });
    requests.create(all());
    requests.cancel(WatchId(0));
    requests.create(all());
    assert_eq!(
        told(&world, &mut stream),
        ["0 created at 1", "1 created at 1", "2 created at 1", "0 canceled at 1", "3 created at 1"]
    );
}

#[test]
fn filters_drop_a_kind_and_empty_messages_are_not_sent() {
    let mut world = World::new();
    world.put("a", "1");
    world.delete("a");
    let mut stream = world.stream();
    let no_put = Filters { no_put: true, no_delete: false };
    let no_delete = Filters { no_put: false, no_delete: true };
    stream.requests().create(Create { filters: no_put, ..from(1) });
    stream.requests().create(Create { filters: no_delete, ..from(1) });
    stream.requests().create(Create { filters: Filters { no_put: true, no_delete: true }, ..from(1) });
    let mut lines = told(&world, &mut stream);
    assert_eq!(lines.split_off(3), ["0 at 3: -a@3", "1 at 3: a=1@2"]);
    world.put("a", "2");
    assert_eq!(told(&world, &mut stream), ["1 at 4: a=2@4"]);
}

#[test]
fn progress_waits_for_the_events_before_it() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(all());
    let (revision, events) = world.apply(put("a", "1"));
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), ["0 created at 1"]);
    world.hub.notify(revision, &events);
    assert_eq!(told(&world, &mut stream), ["0 at 2: a=1@2", "-1 progress 2"]);
}

#[test]
fn progress_without_watchers_is_not_answered() {
    let world = World::new();
    let mut stream = world.stream();
    stream.requests().progress();
    assert_eq!(told(&world, &mut stream), [""; 0]);
}

#[test]
fn ticks_are_for_quiet_watchers_that_asked() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(Create { progress_notify: true, ..one("a") });
    stream.requests().create(one("b"));
    told(&world, &mut stream);
    stream.requests().tick();
    assert_eq!(told(&world, &mut stream), ["0 progress 1"]);
    world.put("a", "1");
    assert_eq!(told(&world, &mut stream), ["0 at 2: a=1@2"]);
    stream.requests().tick();
    assert_eq!(told(&world, &mut stream), [""; 0], "it was told something since the last tick");
    world.put("c", "1");
    stream.requests().tick();
    assert_eq!(told(&world, &mut stream), ["0 progress 3"]);
}

#[test]
fn a_slow_stream_falls_back_on_history_and_misses_nothing() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(all());
    let mut expected = Vec::new();
    for i in 0..5000 {
        let revision = world.put("a", &i.to_string());
        expected.push(format!("a={i}@{revision}"));
    }
    assert_eq!(world.hub.counts().slow, 1, "it is behind, and no queue grows for it");
    let lines = told(&world, &mut stream);
    let events: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, events)| events.split(' '))
        .collect();
    assert_eq!(events, expected);
    world.put("a", "last");
    assert_eq!(told(&world, &mut stream), ["0 at 5002: a=last@5002"]);
    assert_eq!(world.hub.counts().slow, 0);
}

#[test]
fn revisions_that_the_hub_was_not_told_of_are_read_from_history() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(all());
    stream.requests().create(from(4));
    told(&world, &mut stream);
    world.apply(put("a", "1"));
    let (revision, _) = world.apply(put("a", "2"));
    world.hub.notify(revision, &[]);
    assert_eq!(told(&world, &mut stream), ["0 at 3: a=1@2 a=2@3"]);
    world.put("a", "3");
    let mut lines = told(&world, &mut stream);
    lines.sort();
    assert_eq!(lines, ["0 at 4: a=3@4", "1 at 4: a=3@4"]);
}

#[test]
fn after_a_cancel_nothing_is_told_and_the_identity_is_free() {
    let mut world = World::new();
    let mut stream = world.stream();
    let requests = stream.requests();
    requests.create(Create { id: WatchId(3), ..one("a") });
    world.put("a", "1");
    requests.cancel(WatchId(3));
    requests.create(Create { id: WatchId(3), ..one("b") });
    world.put("a", "2");
    world.put("b", "3");
    assert_eq!(
        told(&world, &mut stream),
        ["3 created at 1", "3 canceled at 2", "3 created at 2", "3 at 4: b=3@4"]
    );
}

#[test]
fn a_dropped_stream_leaves_nothing_behind() {
    let mut world = World::new();
    let stream = world.stream();
    let requests = stream.requests();
    requests.create(all());
    requests.create(from(1));
    world.put("a", "1");
    assert_eq!((world.hub.counts().streams, world.hub.counts().watchers), (1, 2));
    drop(stream);
    requests.create(all());
    world.put("a", "2");
    assert_eq!(world.hub.counts(), Counts::default());
}

#[test]
fn a_closed_stream_says_why() {
    let world = World::new();
    let mut stream = world.stream();
    stream.requests().close(CloseReason::NoLeader);
    assert_eq!(told(&world, &mut stream), ["closed: NoLeader"]);
}

#[test]
fn a_closed_hub_ends_its_streams_and_those_to_come() {
    let mut world = World::new();
    let mut stream = world.stream();
    stream.requests().create(all());
    world.put("a", "1");
    world.hub.close();
    assert_eq!(told(&world, &mut stream), ["0 created at 1", "0 at 2: a=1@2", "closed: Stopped"]);
    assert_eq!(told(&world, &mut world.stream()), ["closed: Stopped"]);
}

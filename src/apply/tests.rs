//! The state machine as its callers see it.

use bytes::Bytes;

use super::{Applied, Applier, Command, Envelope, Outcome, ProposalId, Rejection};
use crate::mvcc::{DeleteOp, EventKind, KeyRange, PutOp, RangeOp};
use crate::types::{LeaseId, LogIndex, Revision, Term};

/// Applies commands one after the other.
struct Log {
    applier: Applier,
    next: u64,
}

impl Log {
    fn new() -> Self {
        Log { applier: Applier::new(), next: 1 }
    }

    fn apply(&mut self, command: Command) -> Applied {
        self.propose(ProposalId::default(), command)
    }

    fn propose(&mut self, id: ProposalId, command: Command) -> Applied {
        let index = LogIndex(self.next);
        self.next += 1;
        let bytes = Envelope { id, command }.encode();
        self.applier.apply(index, Term(1), Envelope::decode(bytes).expect("what was encoded can be decoded"))
    }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(put_op(key, value))
}

fn put_op(key: &str, value: &str) -> PutOp {
    PutOp {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn all() -> KeyRange {
    KeyRange::From(Bytes::from_static(b"\0"))
}

fn everything() -> RangeOp {
    RangeOp {
        range: all(),
        limit: 0,
        revision: Revision(0),
        sort: None,
        keys_only: false,
        count_only: false,
        min_mod_revision: Revision(0),
        max_mod_revision: Revision(0),
        min_create_revision: Revision(0),
        max_create_revision: Revision(0),
        serializable: false,
    }
}

#[test]
fn a_put_and_a_delete_are_read_back_at_each_revision() {
    let mut log = Log::new();
    assert_eq!(log.apply(put("a", "1")).revision, Revision(2));
    assert_eq!(log.apply(put("a", "2")).revision, Revision(3));
    let deleted = log.apply(Command::DeleteRange(DeleteOp { range: all(), prev_kv: true }));
    assert_eq!(deleted.events[0].kind, EventKind::Delete);
    let Ok(Outcome::DeleteRange(result)) = deleted.outcome else { panic!("{deleted:?}") };
    assert_eq!((result.deleted, result.prev_kvs[0].value.as_ref()), (1, &b"2"[..]));
    let store = log.applier.state().store().clone();
    let at = |revision| store.range(&RangeOp { revision: Revision(revision), ..everything() }).map(|r| r.kvs);
    assert_eq!(at(3).unwrap()[0].value.as_ref(), b"2");
    assert_eq!(at(2).unwrap()[0].value.as_ref(), b"1");
    assert!(at(4).unwrap().is_empty());
    assert_eq!(log.apply(Command::Compact { revision: Revision(4), physical: true }).revision, Revision(4));
    store.finish_compaction();
    assert_eq!(store.size_in_use_in_bytes(), 6, "the tombstone at the compacted revision is left");
    assert_eq!(
        log.apply(Command::Compact { revision: Revision(4), physical: true }).outcome,
        Err(Rejection::Compacted)
    );
}

#[test]
fn a_checkpoint_restores_the_state_it_was_taken_from() {
    let mut log = Log::new();
    for i in 0..1000 {
        log.apply(put(&format!("key{:03}", i % 300), &format!("value {i}")));
    }
    let checkpoint = log.applier.checkpoint();
    let mut bytes = Vec::new();
    checkpoint.write_to(&mut bytes).unwrap();
    let before = log.applier.state().store().range(&everything()).unwrap();
    log.apply(put("later", ""));
    let mut other = Applier::new();
    let state = other.state();
    other.restore(&mut bytes.as_slice()).unwrap();
    assert_eq!(state.store().range(&everything()).unwrap(), before);
    assert_eq!(state.applied(), (LogIndex(1000), Term(1)));
}

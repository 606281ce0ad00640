//! The state machine as its callers see it.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::proposals::{Proposals, WINDOW};
use super::{Applied, Applier, Command, Envelope, Outcome, ProposalId, Rejection, RestoreError};
use crate::membership::{Alarm, AlarmKind, Member, Refusal};
use crate::mvcc::{
    Compare, CompareResult, CompareTarget, DeleteOp, EventKind, KeyRange, Op, PutOp, RangeOp, Sort,
    SortTarget, TxnOp,
};
use crate::types::{LeaseId, LogIndex, MemberId, Revision, Term};

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

    fn apply_membership(&mut self, members: Vec<Member>) {
        self.applier.apply_membership(LogIndex(self.next), Term(1), members);
        self.next += 1;
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
    let empty = Applier::new().state().store().size_in_use_in_bytes();
    assert_eq!(store.size_in_use_in_bytes(), empty + 6, "the tombstone at the compacted revision is left");
    assert_eq!(
        log.apply(Command::Compact { revision: Revision(4), physical: true }).outcome,
        Err(Rejection::Compacted)
    );
}

/// A state in which every part holds something.
fn full() -> Log {
    let mut log = Log::new();
    let member = |id: u64| Member {
        id: MemberId(id),
        peer_urls: vec![format!("http://p{id}")],
        is_learner: id == 3,
        ..Member::default()
    };
    log.apply_membership(vec![member(1), member(2), member(3), member(4)]);
    log.apply_membership(vec![member(1), member(2), member(3)]);
    let client_urls = vec!["http://c1".to_owned()];
    log.apply(Command::Publish { member: MemberId(1), name: "one".into(), client_urls });
    log.apply(Command::SetClusterVersion("3.7.0".into()));
    for i in 0..300 {
        let id = ProposalId { origin: MemberId(1 + i % 2), sequence: (u64::MAX - 5).wrapping_add(i / 2) };
        log.propose(id, put(&format!("key{:02}", i % 30), &format!("value {i}")));
    }
    log.apply(Command::DeleteRange(DeleteOp {
        range: KeyRange::One(Bytes::from_static(b"key07")),
        prev_kv: false,
    }));
    log.apply(Command::Compact { revision: Revision(250), physical: false });
    log.applier.state().store().finish_compaction();
    log.apply(put("key00", "after"));
    log.apply(Command::RaiseAlarm(Alarm { member: MemberId(2), kind: AlarmKind::NoSpace }));
    log
}

fn written(applier: &Applier) -> Vec<u8> {
    let mut bytes = Vec::new();
    applier.checkpoint().write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_restored_state_goes_on_exactly_as_the_one_it_was_taken_from() {
    let mut log = full();
    let checkpoint = log.applier.checkpoint();
    let before = log.applier.state().store().range(&everything()).unwrap();
    // The view stands still while the state goes on.
    let clear = Command::ClearAlarm { member: MemberId(2), kind: Some(AlarmKind::NoSpace) };
    log.apply(clear);
    log.apply(Command::DeleteRange(DeleteOp { range: all(), prev_kv: false }));
    log.apply(Command::Compact { revision: Revision(303), physical: false });
    let mut bytes = Vec::new();
    checkpoint.write_to(&mut bytes).unwrap();

    let mut other = Log::new();
    other.apply(put("overwritten", "by the restore"));
    let state = other.applier.state();
    other.applier.restore(&mut bytes.as_slice()).unwrap();
    assert_eq!(state.store().range(&everything()).unwrap(), before);
    assert_eq!((state.applied(), checkpoint.revision()), (checkpoint.position(), before.revision));
    assert_eq!(state.store().compacted_revision(), Revision(250));
    assert_eq!(state.alarms(), [Alarm { member: MemberId(2), kind: AlarmKind::NoSpace }]);
    assert_eq!(state.cluster_version().as_deref(), Some("3.7.0"));
    assert_eq!(*state.members(), *log.applier.state().members());
    assert_eq!(written(&other.applier), bytes, "the same state gives the same bytes");

    // What the first state saw since then, the second sees now; and both answer alike.
    let mut first = full();
    other.next = first.next;
    let again = ProposalId { origin: MemberId(1), sequence: u64::MAX };
    for command in [put("key01", "x"), Command::ClearAlarm { member: MemberId(2), kind: None }] {
        assert_eq!(other.propose(again, command.clone()), first.propose(again, command));
    }
    assert_eq!(
        state.store().hash_kv(Revision(0)).unwrap(),
        first.applier.state().store().hash_kv(Revision(0)).unwrap()
    );
}

#[test]
fn a_checkpoint_cut_anywhere_is_refused_and_changes_nothing() {
    let bytes = written(&full().applier);
    let mut log = Log::new();
    log.apply(put("mine", "stays"));
    let before = written(&log.applier);
    for len in (0..bytes.len()).step_by(7).chain(bytes.len() - 40..bytes.len()) {
        let error = log.applier.restore(&mut &bytes[..len]).expect_err("half a checkpoint");
        assert!(matches!(error, RestoreError::Short { .. }), "cut at {len}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let error = log.applier.restore(&mut longer.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "checkpoint section end: something follows the end");
    assert_eq!(written(&log.applier), before);
}

#[test]
fn a_broken_bit_anywhere_is_noticed() {
    let bytes = written(&full().applier);
    let mut applier = Applier::new();
    for at in (0..bytes.len()).step_by(11).chain(0..64) {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 8);
        assert!(applier.restore(&mut broken.as_slice()).is_err(), "bit of byte {at}");
    }
    assert_eq!(applier.state().store().revision(), Revision(1));
}

#[test]
fn a_refused_checkpoint_says_what_is_wrong() {
    let refusal = |bytes: &[u8]| Applier::new().restore(&mut &*bytes).unwrap_err().to_string();
    assert_eq!(
        refusal(b"something else"),
        "not a checkpoint: it begins with [73, 6f, 6d, 65, 74, 68, 69, 6e], \
         a checkpoint begins with [4b, 56, 4f, 52, 55, 4d, 43, 50]"
    );
    assert_eq!(refusal(b"KVORUMCP\x02\0\0\0"), "checkpoint has version 2, this server reads version 1");
    assert_eq!(refusal(b"KVORUMCP\x01\0\0\0\x04"), "checkpoint section position: section 4 is in its place");
    assert_eq!(refusal(b"KVORUMCP\x01\0\0\0\x01\xff"), "checkpoint ends within section position");
}

#[test]
fn a_proposal_is_applied_once() {
    let mut log = Log::new();
    let id = |sequence| ProposalId { origin: MemberId(7), sequence };
    let revisions: Vec<i64> = [5, 4, 5, 6, 4].map(|n| log.propose(id(n), put("k", "v")).revision.0).into();
    assert_eq!(revisions, [2, 3, 3, 4, 4]);
    assert_eq!(log.propose(id(6), put("k", "v")).outcome, Err(Rejection::AlreadyApplied));
    // A restart counts from elsewhere; what is on its way from before is still known.
    let restarted = 1 << 60;
    assert!(log.propose(id(restarted), put("k", "v")).outcome.is_ok());
    assert_eq!(log.propose(id(6), put("k", "v")).outcome, Err(Rejection::AlreadyApplied));
    assert!(log.propose(id(7), put("k", "v")).outcome.is_ok());
    // Numbers wrap around.
    for n in [u64::MAX, 0, 1] {
        let id = ProposalId { origin: MemberId(8), sequence: n };
        assert!(log.propose(id, put("k", "v")).outcome.is_ok());
        assert_eq!(log.propose(id, put("k", "v")).outcome, Err(Rejection::AlreadyApplied));
    }
    // Nobody's proposals are not told apart.
    for _ in 0..2 {
        assert!(log.apply(put("k", "v")).outcome.is_ok());
    }
}

#[test]
fn proposals_are_known_through_the_window_in_any_order() {
    let mut proposals = Proposals::default();
    let id = |sequence| ProposalId { origin: MemberId(1), sequence };
    let mut order: Vec<u64> = (0..3 * WINDOW).collect();
    for pair in order.chunks_mut(100) {
        pair.reverse();
    }
    for n in &order {
        assert!(proposals.admit(id(1000 + n)), "{n} is new");
    }
    assert!(order.iter().all(|n| !proposals.admit(id(1000 + n))), "none of them twice");
    assert!(proposals.admit(id(1000 + 5 * WINDOW)));
    assert!(proposals.admit(id(1000 + 5 * WINDOW - 1)), "skipped before, within the window");
    assert!(!proposals.admit(id(1000 + 4 * WINDOW)), "too long ago to know");
}

#[test]
fn alarms_forbid_what_they_forbid_in_etcd() {
    let nested = |op| TxnOp {
        success: vec![Op::Txn(TxnOp { failure: vec![op], ..TxnOp::default() })],
        ..TxnOp::default()
    };
    let delete = DeleteOp { range: all(), prev_kv: false };
    let commands = || {
        [
            put("k", "v"),
            Command::Txn(nested(Op::Put(put_op("k", "v")))),
            Command::Txn(nested(Op::Delete(delete.clone()))),
            Command::DeleteRange(delete.clone()),
            Command::Compact { revision: Revision(2), physical: false },
            Command::SetClusterVersion("3.7.0".into()),
        ]
    };
    for (kind, forbidden, reason) in
        [(AlarmKind::NoSpace, 2, Rejection::NoSpace), (AlarmKind::Corrupt, 5, Rejection::Corrupt)]
    {
        let mut log = Log::new();
        log.apply(put("k", "v"));
        let alarm = Alarm { member: MemberId(9), kind };
        assert_eq!(log.apply(Command::RaiseAlarm(alarm)).outcome, Ok(Outcome::Alarms(vec![alarm])));
        for (i, command) in commands().into_iter().enumerate() {
            let applied = log.apply(command.clone());
            match i < forbidden {
                true => assert_eq!((applied.outcome, applied.revision), (Err(reason.clone()), Revision(2))),
                false => assert!(applied.outcome.is_ok(), "{kind:?} allows {command:?}"),
            }
        }
        log.apply(Command::ClearAlarm { member: MemberId(9), kind: Some(kind) });
        assert!(log.apply(put("k", "v")).outcome.is_ok());
    }
}

#[test]
fn members_change_by_their_own_entries() {
    let mut log = full();
    let state = log.applier.state();
    assert_eq!(state.members().changed_at(), LogIndex(2));
    let update =
        |member, url: &str| Command::UpdateMember { member: MemberId(member), peer_urls: vec![url.into()] };
    let Ok(Outcome::Members(members)) = log.apply(update(2, "http://new")).outcome else { panic!() };
    assert_eq!(members[1].peer_urls, ["http://new"]);
    assert_eq!(state.members().changed_at(), LogIndex(log.next - 1));
    for (command, refusal) in [
        (update(2, "http://p1"), Refusal::PeerUrlsExist),
        (update(4, "http://removed"), Refusal::NotFound),
        (
            Command::Publish { member: MemberId(4), name: "gone".into(), client_urls: Vec::new() },
            Refusal::NotFound,
        ),
    ] {
        assert_eq!(log.apply(command).outcome, Err(Rejection::Membership(refusal)));
    }
    assert_eq!(state.members().get(MemberId(1)).unwrap().name, "one");
    assert!(state.members().is_removed(MemberId(4)));
}

#[test]
#[should_panic(expected = "entry 1 is applied after entry 1")]
fn an_entry_out_of_order_stops_the_member() {
    let mut applier = Applier::new();
    applier.apply_blank(LogIndex(1), Term(1));
    applier.apply_blank(LogIndex(1), Term(1));
}

#[test]
fn bytes_that_hold_no_command_are_refused() {
    let reason = |bytes: &'static [u8]| Envelope::decode(Bytes::from_static(bytes)).unwrap_err().to_string();
    assert_eq!(reason(b""), "log entry cannot be decoded: command is missing");
    assert_eq!(
        reason(b"\x2a\x02\x12\x00"),
        "log entry cannot be decoded: request of an operation is missing"
    );
    assert_eq!(reason(b"\x3a\x02\x08\x01"), "log entry cannot be decoded: alarm is missing");
    assert_eq!(reason(b"\x3a\x02\x08\x09"), "log entry cannot be decoded: action has the unknown value 9");
    assert!(reason(b"\x1a\xff").starts_with("log entry cannot be decoded: "));
}

#[test]
fn decoding_shares_the_entry_instead_of_copying_it() {
    let bytes = Envelope { id: ProposalId::default(), command: put("some key", "some value") }.encode();
    let within = |part: &Bytes| bytes.as_ptr_range().contains(&part.as_ptr());
    let Command::Put(op) = Envelope::decode(bytes.clone()).unwrap().command else { panic!() };
    assert!(within(&op.key) && within(&op.value));
}

// --- Every command, there and back ---

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (vec(any::<u8>(), 1..4), prop_oneof![Just(vec![]), Just(vec![0]), vec(any::<u8>(), 1..4)])
        .prop_map(|(key, end)| KeyRange::of(key.into(), end.into()))
}

fn revision() -> impl Strategy<Value = Revision> {
    any::<i64>().prop_map(Revision)
}

prop_compose! {
    fn read()(
        range in range(), limit in any::<i64>(), revisions in prop::array::uniform5(revision()),
        sort in option::of((0..5usize, any::<bool>(), any::<bool>())), flags in any::<(bool, bool, bool)>(),
    ) -> RangeOp {
        const TARGETS: [SortTarget; 5] =
            [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
        // Key order is no sort, and an order of NONE is not descending: so it is parsed.
        let sort = sort
            .filter(|(target, descending, _)| *target != 0 || *descending)
            .map(|(target, descending, after_limit)| Sort {
                target: TARGETS[target], descending, after_limit: after_limit && !descending,
            });
        RangeOp {
            range, limit, sort,
            revision: revisions[0],
            min_mod_revision: revisions[1],
            max_mod_revision: revisions[2],
            min_create_revision: revisions[3],
            max_create_revision: revisions[4],
            keys_only: flags.0,
            count_only: flags.1,
            serializable: flags.2,
        }
    }
}

prop_compose! {
    fn any_put()(key in blob(), value in blob(), lease in any::<i64>(), flags in any::<(bool, bool, bool)>()) -> PutOp {
        let (prev_kv, ignore_value, ignore_lease) = flags;
        PutOp { key, value, lease: LeaseId(lease), prev_kv, ignore_value, ignore_lease }
    }
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        any::<i64>().prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::Create),
        revision().prop_map(CompareTarget::Mod),
        blob().prop_map(CompareTarget::Value),
        any::<i64>().prop_map(|id| CompareTarget::Lease(LeaseId(id))),
    ];
    let result = prop_oneof![
        Just(CompareResult::Equal),
        Just(CompareResult::Greater),
        Just(CompareResult::Less),
        Just(CompareResult::NotEqual),
    ];
    (range(), result, target).prop_map(|(range, result, target)| Compare { range, result, target })
}

fn delete() -> impl Strategy<Value = DeleteOp> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteOp { range, prev_kv })
}

fn txn() -> impl Strategy<Value = TxnOp> {
    let leaf =
        prop_oneof![any_put().prop_map(Op::Put), delete().prop_map(Op::Delete), read().prop_map(Op::Range)];
    let step = leaf.prop_recursive(3, 12, 3, |inner| {
        (vec(compare(), 0..2), vec(inner.clone(), 0..3), vec(inner, 0..3))
            .prop_map(|(compares, success, failure)| Op::Txn(TxnOp { compares, success, failure }))
    });
    (vec(compare(), 0..3), vec(step.clone(), 0..3), vec(step, 0..3))
        .prop_map(|(compares, success, failure)| TxnOp { compares, success, failure })
}

fn command() -> impl Strategy<Value = Command> {
    let member = || any::<u64>().prop_map(MemberId);
    let kind = || prop_oneof![Just(AlarmKind::NoSpace), Just(AlarmKind::Corrupt)];
    let urls = || vec("http://[a-z]{1,5}:[0-9]{2,4}", 0..3);
    prop_oneof![
        any_put().prop_map(Command::Put),
        delete().prop_map(Command::DeleteRange),
        txn().prop_map(Command::Txn),
        (revision(), any::<bool>()).prop_map(|(revision, physical)| Command::Compact { revision, physical }),
        (member(), kind()).prop_map(|(member, kind)| Command::RaiseAlarm(Alarm { member, kind })),
        (member(), option::of(kind())).prop_map(|(member, kind)| Command::ClearAlarm { member, kind }),
        (member(), ".{0,5}", urls()).prop_map(|(member, name, client_urls)| Command::Publish {
            member,
            name,
            client_urls
        }),
        (member(), urls()).prop_map(|(member, peer_urls)| Command::UpdateMember { member, peer_urls }),
        "[0-9.]{1,6}".prop_map(Command::SetClusterVersion),
    ]
}

proptest! {
    // One fixed seed, so that every run is the same; PROPTEST_CASES and PROPTEST_RNG_SEED search further.
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_command_comes_back_as_it_went(origin in any::<u64>(), sequence in any::<u64>(), command in command()) {
        let envelope = Envelope { id: ProposalId { origin: MemberId(origin), sequence }, command };
        prop_assert_eq!(Envelope::decode(envelope.encode()).unwrap(), envelope);
    }
}

//! Random requests over a small key space, so that they meet each other often.

use bytes::Bytes;
use kvorum::proto::etcdserverpb as pb;
use pb::compare::TargetUnion;
use pb::request_op::Request;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Eleven keys at most, with the two that the watches of the harness use: up to twelve, Go's sort keeps the
/// order of equals.
const KEYS: [&str; 9] = ["a", "aa", "ab", "b", "b\0", "c", "ca", "d", "z"];

/// What the generator knows of the store that the requests meet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

pub(crate) struct Generator {
    pub(crate) rng: StdRng,
    written: u64,
}

impl Generator {
    pub(crate) fn new(rng: StdRng) -> Self {
        Generator { rng, written: 0 }
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn key(&mut self) -> Bytes {
        if self.chance(1) {
            return Bytes::new();
        }
        Bytes::from_static(KEYS.choose(&mut self.rng).expect("there are keys").as_bytes())
    }

    fn range_end(&mut self) -> Bytes {
        match self.rng.random_range(0..10) {
            0..5 => Bytes::new(),
            5 => Bytes::from_static(b"\0"),
            6 => Bytes::from_static(b"\0\0"),
            7 => Bytes::from_static(b"c"),
            8 => Bytes::from_static(b"zz"),
            _ => self.key(),
        }
    }

    /// The whole space now and then, or a key and an end.
    pub(crate) fn range_pair(&mut self) -> (Bytes, Bytes) {
        match self.rng.random_range(0..8) {
            0 => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            1 => (Bytes::from_static(b"a"), Bytes::from_static(b"zz")),
            _ => (self.key(), self.range_end()),
        }
    }

    /// A revision around those that matter.
    pub(crate) fn revision(&mut self, known: Known) -> i64 {
        let near = self.rng.random_range(-2..=2);
        match self.rng.random_range(0..6) {
            0 => known.revision + near,
            1 => known.compacted + near,
            2 => -1,
            3 => 1,
            _ => self.rng.random_range(known.compacted.max(1)..=known.revision.max(known.compacted).max(1)),
        }
    }

    fn now_or_revision(&mut self, known: Known) -> i64 {
        if self.chance(60) { 0 } else { self.revision(known) }
    }

    pub(crate) fn range(&mut self, known: Known) -> pb::RangeRequest {
        let (key, range_end) = self.range_pair();
        let mut request = pb::RangeRequest {
            key,
            range_end,
            limit: if self.chance(40) { self.rng.random_range(-1..5) } else { 0 },
            revision: self.now_or_revision(known),
            serializable: self.chance(20),
            keys_only: self.chance(20),
            count_only: self.chance(15),
            ..Default::default()
        };
        if self.chance(40) {
            request.sort_order = self.rng.random_range(0..3);
            request.sort_target = self.rng.random_range(0..5);
        }
        if self.chance(1) {
            request.sort_target = 9;
        }
        if self.chance(30) {
            let bounds = [
                &mut request.min_mod_revision,
                &mut request.max_mod_revision,
                &mut request.min_create_revision,
                &mut request.max_create_revision,
            ];
            for bound in bounds {
                if self.chance(40) {
                    *bound = self.revision(known);
                }
            }
        }
        request
    }

    fn value(&mut self) -> Bytes {
        self.written += 1;
        match self.rng.random_range(0..10) {
            0 => Bytes::new(),
            1..4 => Bytes::from(format!("same{}", self.rng.random_range(0..3))),
            _ => Bytes::from(format!("value{}", self.written)),
        }
    }

    pub(crate) fn put(&mut self) -> pb::PutRequest {
        let mut request = pb::PutRequest {
            key: self.key(),
            value: self.value(),
            lease: if self.chance(3) { 7 } else { 0 },
            prev_kv: self.chance(30),
            ignore_value: self.chance(8),
            ignore_lease: self.chance(8),
        };
        if request.ignore_value && self.chance(80) {
            request.value = Bytes::new();
        }
        request
    }

    pub(crate) fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.range_pair();
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.chance(40) }
    }

    pub(crate) fn txn(&mut self, known: Known, depth: usize) -> pb::TxnRequest {
        let compares = self.rng.random_range(0..3);
        let mut branch = || {
            let length = self.rng.random_range(0..4);
            self.branch(known, depth, length)
        };
        let (success, failure) = (branch(), branch());
        let compare = (0..compares).map(|_| self.compare(known)).collect();
        pb::TxnRequest { compare, success, failure }
    }

    fn branch(&mut self, known: Known, depth: usize, length: usize) -> Vec<pb::RequestOp> {
        let mut ops: Vec<_> = (0..length).map(|_| self.op(known, depth)).collect();
        // etcd itself stops when a put that keeps the value of its key meets, within its transaction, a
        // delete of "every key from this one on", which its check for duplicates leaves out.
        if contains_open_delete(&ops) {
            ops.iter_mut().for_each(forget_ignores);
        }
        ops
    }

    fn op(&mut self, known: Known, depth: usize) -> pb::RequestOp {
        let request = match self.rng.random_range(0..20) {
            0..7 => Request::RequestRange(self.range(known)),
            7..14 => Request::RequestPut(self.put()),
            14..17 => Request::RequestDeleteRange(self.delete()),
            17..19 if depth > 0 => Request::RequestTxn(self.txn(known, depth - 1)),
            _ if self.chance(10) => return pb::RequestOp { request: None },
            _ => Request::RequestPut(self.put()),
        };
        pb::RequestOp { request: Some(request) }
    }

    fn compare(&mut self, known: Known) -> pb::Compare {
        let (key, range_end) = if self.chance(80) { (self.key(), Bytes::new()) } else { self.range_pair() };
        let target_union = match self.rng.random_range(0..11) {
            0..2 => Some(TargetUnion::Version(self.rng.random_range(0..4))),
            2..4 => Some(TargetUnion::CreateRevision(self.revision(known))),
            4..6 => Some(TargetUnion::ModRevision(self.revision(known))),
            6..9 => Some(TargetUnion::Value(self.value())),
            9 => Some(TargetUnion::Lease(self.rng.random_range(0..2))),
            _ => None,
        };
        let fitting = match target_union {
            Some(TargetUnion::Version(_)) | None => 0,
            Some(TargetUnion::CreateRevision(_)) => 1,
            Some(TargetUnion::ModRevision(_)) => 2,
            Some(TargetUnion::Value(_)) => 3,
            Some(TargetUnion::Lease(_)) => 4,
        };
        let target = if self.chance(95) { fitting } else { self.rng.random_range(0..5) };
        pb::Compare { result: self.rng.random_range(0..4), target, key, range_end, target_union }
    }

    /// A transaction around the limit of 128 operations, some of them nested.
    pub(crate) fn long_txn(&mut self) -> pb::TxnRequest {
        let length = self.rng.random_range(120..132);
        let op = |i: usize| {
            let put = pb::PutRequest { key: format!("many{i}").into(), ..Default::default() };
            pb::RequestOp { request: Some(Request::RequestPut(put)) }
        };
        let ops: Vec<_> = (0..length).map(op).collect();
        // Read-only and false, so that the many keys never come to be.
        let impossible = pb::Compare { result: 1, target: 0, key: "a".into(), ..Default::default() };
        let never = pb::Compare { target_union: Some(TargetUnion::Version(i64::MAX)), ..impossible };
        let inner = pb::TxnRequest { compare: vec![never.clone()], success: ops, failure: Vec::new() };
        if self.chance(50) {
            return inner;
        }
        let outer = (0..self.rng.random_range(1..4)).map(|_| pb::RequestOp {
            request: Some(Request::RequestTxn(pb::TxnRequest { success: Vec::new(), ..inner.clone() })),
        });
        let mut success: Vec<_> = outer.collect();
        success.push(pb::RequestOp { request: Some(Request::RequestTxn(inner)) });
        pb::TxnRequest { compare: vec![never], success, failure: Vec::new() }
    }

    pub(crate) fn watch(&mut self, known: Known) -> pb::WatchCreateRequest {
        let (key, range_end) = self.range_pair();
        let start = match self.rng.random_range(0..10) {
            0..5 => 0,
            5 => self.rng.random_range(-2..2),
            _ => self.revision(known).min(known.revision),
        };
        let filters = (0..2).filter(|_| self.rng.random_range(0..5) == 0).collect();
        pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: start,
            progress_notify: false,
            filters,
            prev_kv: self.chance(40),
            watch_id: if self.chance(20) { self.rng.random_range(1..6) } else { 0 },
            fragment: self.chance(20),
        }
    }
}

/// Whether a transaction may delete a key and put it again.
pub(crate) fn deletes_openly(txn: &pb::TxnRequest) -> bool {
    contains_open_delete(&txn.success) || contains_open_delete(&txn.failure)
}

fn contains_open_delete(ops: &[pb::RequestOp]) -> bool {
    ops.iter().any(|op| match &op.request {
        Some(Request::RequestDeleteRange(delete)) => delete.range_end.as_ref() == b"\0",
        Some(Request::RequestTxn(txn)) => deletes_openly(txn),
        _ => false,
    })
}

fn forget_ignores(op: &mut pb::RequestOp) {
    match &mut op.request {
        Some(Request::RequestPut(put)) => (put.ignore_value, put.ignore_lease) = (false, false),
        Some(Request::RequestTxn(txn)) => {
            txn.success.iter_mut().chain(&mut txn.failure).for_each(forget_ignores);
        }
        _ => {}
    }
}

//! A second key space, as simple as can be: the whole map at every revision. The store is tested against it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::op::*;
use super::store::{Error, WriteError};
use super::{Event, HashKv};
use crate::proto::mvccpb;
use crate::types::{LeaseId, Revision};

type Map = BTreeMap<Bytes, KeyValue>;

pub(super) struct Model {
    /// The map after each revision, from 1.
    maps: BTreeMap<Revision, Map>,
    pub(super) history: BTreeMap<Revision, Vec<Event>>,
    pub(super) compacted: Revision,
    hashes: Vec<HashKv>,
    /// What etcd's bucket holds.
    bucket: BTreeMap<(i64, i64), (bool, Bytes)>,
}

/// A write in progress.
struct Writing {
    before: Map,
    map: Map,
    begin: Revision,
    events: Vec<Event>,
}

impl Model {
    pub(super) fn new() -> Self {
        Model {
            maps: [(Revision(1), Map::new())].into(),
            history: BTreeMap::new(),
            compacted: Revision(-1),
            hashes: Vec::new(),
            bucket: BTreeMap::new(),
        }
    }

    pub(super) fn revision(&self) -> Revision {
        *self.maps.keys().last().unwrap()
    }

    pub(super) fn map(&self) -> &Map {
        &self.maps[&self.revision()]
    }

    pub(super) fn at(&self, revision: Revision) -> &Map {
        &self.maps[&revision]
    }

    pub(super) fn txn(&mut self, op: &TxnOp) -> Result<(TxnResult, Revision, Vec<Event>), WriteError> {
        let before = self.map().clone();
        let mut writing = Writing { map: before.clone(), before, begin: self.revision(), events: Vec::new() };
        self.check(&writing, op)?;
        let mut result = self.execute(&mut writing, op);
        let revision = writing.now();
        result.revision = revision;
        if !writing.events.is_empty() {
            for (sub, event) in writing.events.iter().enumerate() {
                self.bucket.insert((revision.0, sub as i64), body(event));
            }
            self.history.insert(revision, writing.events.clone());
            self.maps.insert(revision, writing.map);
        }
        Ok((result, revision, writing.events))
    }

    fn check(&self, writing: &Writing, op: &TxnOp) -> Result<(), WriteError> {
        for op in chosen(&writing.before, op).1 {
            match op {
                Op::Range(op) if op.revision.0 == 0 => {}
                Op::Range(op) if op.revision > writing.begin => return Err(Error::FutureRevision.into()),
                Op::Range(op) if op.revision < self.compacted => return Err(Error::Compacted.into()),
                Op::Range(_) | Op::Delete(_) => {}
                Op::Put(op) if op.lease.0 != 0 => return Err(WriteError::LeaseNotFound),
                Op::Put(op) => {
                    if (op.ignore_value || op.ignore_lease) && !writing.before.contains_key(&op.key) {
                        return Err(WriteError::KeyNotFound);
                    }
                }
                Op::Txn(op) => self.check(writing, op)?,
            }
        }
        Ok(())
    }

    fn execute(&self, writing: &mut Writing, op: &TxnOp) -> TxnResult {
        let (succeeded, ops) = chosen(&writing.before, op);
        let results = ops
            .iter()
            .map(|op| match op {
                Op::Range(op) => {
                    let now = writing.now();
                    let at = if op.revision.0 <= 0 { now } else { op.revision };
                    let map = if at == now { &writing.map } else { self.at(at) };
                    OpResult::Range(read(map, now, op))
                }
                Op::Put(op) => OpResult::Put(writing.put(op)),
                Op::Delete(op) => OpResult::Delete(writing.delete(op)),
                Op::Txn(op) => OpResult::Txn(self.execute(writing, op)),
            })
            .collect();
        TxnResult { revision: Revision(0), succeeded, results }
    }

    pub(super) fn range(&self, op: &RangeOp) -> Result<RangeResult, Error> {
        let now = self.revision();
        let at = if op.revision.0 <= 0 { now } else { op.revision };
        match at {
            at if at > now => Err(Error::FutureRevision),
            at if at < self.compacted => Err(Error::Compacted),
            at => Ok(read(self.at(at), now, op)),
        }
    }

    pub(super) fn compact(&mut self, revision: Revision) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision() {
            return Err(Error::FutureRevision);
        }
        let available = self.last_changes(revision, true);
        let hash = self.hash(self.compacted, revision, &available);
        self.hashes.push(hash);
        if self.hashes.len() > 10 {
            self.hashes.remove(0);
        }
        self.bucket.retain(|stamp, _| stamp.0 > revision.0 || available.contains(stamp));
        self.compacted = revision;
        Ok(())
    }

    pub(super) fn hash_kv(&self, revision: Revision) -> Result<HashKv, Error> {
        if let Some(hash) = self.hashes.iter().find(|hash| hash.hash_revision == revision) {
            return Ok(*hash);
        }
        match revision {
            Revision(1..) if revision < self.compacted => Err(Error::Compacted),
            _ if revision > self.revision() => Err(Error::FutureRevision),
            _ => {
                let through = if revision.0 == 0 { self.revision() } else { revision };
                Ok(self.hash(self.compacted, through, &self.last_changes(through, false)))
            }
        }
    }

    pub(super) fn forget_hashes(&mut self) {
        self.hashes.clear();
    }

    /// Number of revisions in it.
    pub(super) fn bucket_len(&self) -> usize {
        self.bucket.len()
    }

    /// Of every key the last change up to `revision`, unless it is a tombstone. One at `revision` itself counts
    /// for a compaction; otherwise it hides that its key was put again in the same revision.
    fn last_changes(&self, revision: Revision, is_compaction: bool) -> BTreeSet<(i64, i64)> {
        let mut last: BTreeMap<Bytes, ((i64, i64), bool)> = BTreeMap::new();
        for (stamp, (tombstone, body)) in self.bucket.range(..(revision.0 + 1, 0)) {
            let key = mvccpb::KeyValue::decode(body.clone()).unwrap().key;
            let is_hidden = last.get(&key).is_some_and(|(before, gone)| *gone && before.0 == revision.0);
            if is_compaction || !is_hidden {
                last.insert(key, (*stamp, *tombstone));
            }
        }
        last.into_values()
            .filter(|(stamp, tombstone)| !tombstone || is_compaction && stamp.0 == revision.0)
            .map(|(stamp, _)| stamp)
            .collect()
    }

    fn hash(&self, compacted: Revision, through: Revision, keep: &BTreeSet<(i64, i64)>) -> HashKv {
        let mut bytes = b"key".to_vec();
        for (stamp, (tombstone, body)) in self.bucket.range(..(through.0 + 1, 0)) {
            let is_dropped = stamp.0 <= compacted.0 && !keep.is_empty() && !keep.contains(stamp);
            if is_dropped || (stamp.0 == compacted.0 && *tombstone) {
                continue;
            }
            bytes.extend(stamp.0.to_be_bytes());
            bytes.push(b'_');
            bytes.extend(stamp.1.to_be_bytes());
            bytes.extend(if *tombstone { &b"t"[..] } else { b"" });
            bytes.extend(body);
        }
        HashKv { hash: crc32c::crc32c(&bytes), compact_revision: compacted, hash_revision: through }
    }
}

fn body(event: &Event) -> (bool, Bytes) {
    let kv = &event.kv;
    let message = match event.kind {
        EventKind::Put => mvccpb::KeyValue {
            key: kv.key.clone(),
            create_revision: kv.create_revision.0,
            mod_revision: kv.mod_revision.0,
            version: kv.version,
            value: kv.value.clone(),
            lease: kv.lease.0,
        },
        EventKind::Delete => mvccpb::KeyValue { key: kv.key.clone(), ..Default::default() },
    };
    (event.kind == EventKind::Delete, message.encode_to_vec().into())
}

impl Writing {
    fn now(&self) -> Revision {
        if self.events.is_empty() { self.begin } else { self.next() }
    }

    fn next(&self) -> Revision {
        Revision(self.begin.0 + 1)
    }

    fn put(&mut self, op: &PutOp) -> PutResult {
        let before = self.map.get(&op.key).cloned();
        let kv = KeyValue {
            key: op.key.clone(),
            value: match &before {
                Some(before) if op.ignore_value => before.value.clone(),
                _ => op.value.clone(),
            },
            create_revision: before.as_ref().map_or(self.next(), |before| before.create_revision),
            mod_revision: self.next(),
            version: before.as_ref().map_or(0, |before| before.version) + 1,
            lease: op.lease,
        };
        self.map.insert(op.key.clone(), kv.clone());
        self.events.push(Event { kind: EventKind::Put, kv });
        PutResult { revision: self.next(), prev_kv: before.filter(|_| op.prev_kv) }
    }

    fn delete(&mut self, op: &DeleteOp) -> DeleteResult {
        let gone: Vec<KeyValue> =
            self.map.values().filter(|kv| op.range.contains(&kv.key)).cloned().collect();
        for kv in &gone {
            self.map.remove(&kv.key);
            let kv = KeyValue { key: kv.key.clone(), mod_revision: self.next(), ..KeyValue::default() };
            self.events.push(Event { kind: EventKind::Delete, kv });
        }
        DeleteResult {
            revision: self.now(),
            deleted: gone.len() as i64,
            prev_kvs: if op.prev_kv { gone } else { Vec::new() },
        }
    }
}

fn chosen<'a>(map: &Map, op: &'a TxnOp) -> (bool, &'a [Op]) {
    let succeeded = op.compares.iter().all(|compare| {
        let found: Vec<&KeyValue> = map.values().filter(|kv| compare.range.contains(&kv.key)).collect();
        match &compare.target {
            CompareTarget::Value(_) if found.is_empty() => false,
            _ if found.is_empty() => matches(compare, &KeyValue::default()),
            _ => found.into_iter().all(|kv| matches(compare, kv)),
        }
    });
    (succeeded, if succeeded { &op.success } else { &op.failure })
}

fn matches(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}

fn read(map: &Map, now: Revision, op: &RangeOp) -> RangeResult {
    let mut kvs: Vec<KeyValue> = map.values().filter(|kv| op.range.contains(&kv.key)).cloned().collect();
    let count = kvs.len() as i64;
    if op.count_only {
        kvs.clear();
    }
    let limit = if op.limit > 0 { op.limit as usize } else { usize::MAX };
    let bounds = [op.min_mod_revision, op.max_mod_revision, op.min_create_revision, op.max_create_revision];
    if op.sort.is_some_and(|sort| sort.after_limit) && bounds == [Revision(0); 4] {
        kvs.truncate(limit.saturating_add(1));
    }
    kvs.retain(|kv| {
        (bounds[0].0 == 0 || kv.mod_revision >= bounds[0])
            && (bounds[1].0 == 0 || kv.mod_revision <= bounds[1])
            && (bounds[2].0 == 0 || kv.create_revision >= bounds[2])
            && (bounds[3].0 == 0 || kv.create_revision <= bounds[3])
    });
    if let Some(sort) = op.sort {
        kvs.sort_by(|a, b| {
            let order = match sort.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if sort.descending { order.reverse() } else { order }
        });
    }
    let more = kvs.len() > limit;
    kvs.truncate(limit);
    if op.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
            kv.lease = LeaseId(0);
        }
    }
    RangeResult { revision: now, kvs, count, more }
}

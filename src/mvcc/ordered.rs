//! An ordered set of slots whose keys lie elsewhere: in the records that the slots lead to.
//!
//! Keys are long and often alike at the front, and a record holds its key already; a second copy would cost more
//! than all the rest of the index. So slots stand in leaves of up to [`LEAF_SLOTS`], and of each key a leaf keeps
//! only a *head*: the four bytes behind the prefix that all of its keys share. A search looks at a record only
//! where heads are equal, which is mostly at the key it looks for.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Slots of a full leaf. Tests use small leaves, so that few keys fill many.
const LEAF_SLOTS: usize = if cfg!(test) { 4 } else { 128 };

/// Room is made for so many slots at a time: doubling would leave a third of the memory unused.
const GROWTH: usize = 16;

/// Tells the key of a slot.
pub(super) trait Keys<S> {
    fn key_of(&self, slot: S) -> &[u8];
}

/// Where a slot stands, or would stand; good until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    leaf: usize,
    at: usize,
}

#[derive(Debug)]
pub(super) struct Ordered<S> {
    /// From the lowest key that a leaf may hold to its number in `leaves`. The first bound is the empty key,
    /// and its leaf is always there.
    directory: BTreeMap<Box<[u8]>, usize>,
    leaves: Vec<Leaf<S>>,
    /// Numbers of leaves that are free to be used again.
    free: Vec<usize>,
}

impl<S> Default for Ordered<S> {
    fn default() -> Self {
        let directory = BTreeMap::from([(Box::default(), 0)]);
        Ordered { directory, leaves: vec![Leaf::default()], free: Vec::new() }
    }
}

#[derive(Debug)]
struct Leaf<S> {
    /// Shared by all keys here.
    prefix: Vec<u8>,
    /// Of each key, in order, the four bytes behind the prefix, filled up with zeros.
    heads: Vec<u32>,
    slots: Vec<S>,
}

impl<S> Default for Leaf<S> {
    fn default() -> Self {
        Leaf { prefix: Vec::new(), heads: Vec::new(), slots: Vec::new() }
    }
}

fn head(behind_prefix: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    let len = behind_prefix.len().min(4);
    bytes[..len].copy_from_slice(&behind_prefix[..len]);
    u32::from_be_bytes(bytes)
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl<S: Copy> Leaf<S> {
    fn new(slots: Vec<S>, keys: &impl Keys<S>) -> Self {
        let prefix = match (slots.first(), slots.last()) {
            (Some(first), Some(last)) => {
                let (first, last) = (keys.key_of(*first), keys.key_of(*last));
                first[..common_prefix(first, last)].to_vec()
            }
            _ => Vec::new(),
        };
        let mut leaf = Leaf { prefix, heads: Vec::new(), slots };
        leaf.take_heads(keys);
        leaf
    }

    fn take_heads(&mut self, keys: &impl Keys<S>) {
        let skip = self.prefix.len();
        self.heads.clear();
        self.heads.reserve_exact(self.slots.capacity());
        self.heads.extend(self.slots.iter().map(|slot| head(&keys.key_of(*slot)[skip..])));
    }

    /// Where the key is, or where it would be.
    fn search(&self, key: &[u8], keys: &impl Keys<S>) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(self.prefix.as_slice()) else {
            return Err(if key < self.prefix.as_slice() { 0 } else { self.slots.len() });
        };
        let head = head(rest);
        let first = self.heads.partition_point(|other| *other < head);
        let equal = self.heads[first..].partition_point(|other| *other == head);
        self.slots[first..first + equal]
            .binary_search_by(|slot| keys.key_of(*slot).cmp(key))
            .map(|at| first + at)
            .map_err(|at| first + at)
    }

    fn insert(&mut self, at: usize, key: &[u8], slot: S, keys: &impl Keys<S>) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(GROWTH);
            self.heads.reserve_exact(GROWTH);
        }
        if self.slots.is_empty() {
            self.prefix = key.to_vec();
        }
        let shared = common_prefix(&self.prefix, key);
        if shared < self.prefix.len() {
            self.prefix.truncate(shared);
            self.take_heads(keys);
        }
        self.slots.insert(at, slot);
        self.heads.insert(at, head(&key[shared..]));
    }
}

impl<S: Copy> Ordered<S> {
    fn leaf_of(&self, key: &[u8]) -> usize {
        let (_, leaf) = self
            .directory
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .expect("the first leaf's bound is below every key");
        *leaf
    }

    /// Where the key stands, or where it would stand.
    pub(super) fn find(&self, key: &[u8], keys: &impl Keys<S>) -> Result<Position, Position> {
        let leaf = self.leaf_of(key);
        let position = |at| Position { leaf, at };
        self.leaves[leaf].search(key, keys).map(position).map_err(position)
    }

    pub(super) fn get(&self, position: Position) -> S {
        self.leaves[position.leaf].slots[position.at]
    }

    pub(super) fn set(&mut self, position: Position, slot: S) {
        self.leaves[position.leaf].slots[position.at] = slot;
    }

    /// Adds a slot where [`Ordered::find`] said that its key would stand.
    pub(super) fn insert(&mut self, position: Position, key: &[u8], slot: S, keys: &impl Keys<S>) {
        let Position { leaf, at } = position;
        if self.leaves[leaf].slots.len() < LEAF_SLOTS {
            return self.leaves[leaf].insert(at, key, slot, keys);
        }
        let is_last = self.directory.last_key_value().is_some_and(|(_, last)| *last == leaf);
        if is_last && at == LEAF_SLOTS {
            // Keys that come in order fill their leaves.
            let new = self.add_leaf(key, Leaf::default());
            return self.leaves[new].insert(0, key, slot, keys);
        }
        let upper = self.leaves[leaf].slots.split_off(LEAF_SLOTS / 2);
        let lower = std::mem::take(&mut self.leaves[leaf].slots);
        let bound = keys.key_of(upper[0]);
        self.leaves[leaf] = Leaf::new(lower, keys);
        let new = self.add_leaf(bound, Leaf::new(upper, keys));
        let (leaf, at) = if at <= LEAF_SLOTS / 2 { (leaf, at) } else { (new, at - LEAF_SLOTS / 2) };
        self.leaves[leaf].insert(at, key, slot, keys);
    }

    fn add_leaf(&mut self, bound: &[u8], leaf: Leaf<S>) -> usize {
        let number = match self.free.pop() {
            Some(number) => {
                self.leaves[number] = leaf;
                number
            }
            None => {
                self.leaves.push(leaf);
                self.leaves.len() - 1
            }
        };
        self.directory.insert(bound.into(), number);
        number
    }

    /// Takes out the slot of `key`, which stands at `position`.
    pub(super) fn remove(&mut self, position: Position, key: &[u8]) {
        let leaf = &mut self.leaves[position.leaf];
        leaf.slots.remove(position.at);
        leaf.heads.remove(position.at);
        if !leaf.slots.is_empty() {
            return;
        }
        *leaf = Leaf::default();
        let mut up_to_key = self.directory.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        if let Some((bound, _)) = up_to_key.next_back().filter(|(bound, _)| !bound.is_empty()) {
            let bound = bound.clone();
            self.directory.remove(&bound);
            self.free.push(position.leaf);
        }
    }

    /// The slots from `start` to `end`, in order.
    pub(super) fn range<'a, K: Keys<S>>(
        &'a self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        keys: &K,
    ) -> impl Iterator<Item = S> + use<'a, S, K> {
        let start_of_all = Position { leaf: self.leaf_of(&[]), at: 0 };
        let first = self.edge(start, false, keys).unwrap_or(start_of_all);
        let last = self.edge(end, true, keys);
        let lowest: &[u8] = match start {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded => &[],
        };
        let up_to_start = self.directory.range::<[u8], _>((Bound::Unbounded, Bound::Included(lowest)));
        let (bound, _) = { up_to_start }.next_back().expect("the first leaf's bound is below every key");
        let mut is_over = false;
        self.directory
            .range::<[u8], _>((Bound::Included(bound.as_ref()), Bound::Unbounded))
            .map_while(move |(_, leaf)| {
                if is_over {
                    return None;
                }
                let slots = &self.leaves[*leaf].slots;
                let from = if *leaf == first.leaf { first.at } else { 0 };
                is_over = last.is_some_and(|last| last.leaf == *leaf);
                let to = last.filter(|_| is_over).map_or(slots.len(), |last| last.at);
                Some(slots.get(from..to).unwrap_or_default())
            })
            .flatten()
            .copied()
    }

    /// The position that a bound cuts at; None: it does not cut.
    fn edge(&self, bound: Bound<&[u8]>, is_end: bool, keys: &impl Keys<S>) -> Option<Position> {
        let (key, is_included) = match bound {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => return None,
        };
        Some(match self.find(key, keys) {
            // The slot itself lies before the cut when the end includes it or the start excludes it.
            Ok(Position { leaf, at }) if is_included == is_end => Position { leaf, at: at + 1 },
            Ok(position) | Err(position) => position,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// Every key that was ever inserted, by its number.
    #[derive(Default)]
    struct Table(Vec<Vec<u8>>);

    impl Keys<usize> for Table {
        fn key_of(&self, slot: usize) -> &[u8] {
            &self.0[slot]
        }
    }

    fn insert(
        set: &mut Ordered<usize>,
        model: &mut BTreeMap<Vec<u8>, usize>,
        table: &mut Table,
        key: Vec<u8>,
    ) {
        table.0.push(key.clone());
        let number = table.0.len() - 1;
        match set.find(&key, table) {
            Ok(position) => set.set(position, number),
            Err(position) => set.insert(position, &key, number, table),
        }
        model.insert(key, number);
    }

    fn remove(set: &mut Ordered<usize>, model: &mut BTreeMap<Vec<u8>, usize>, table: &Table, key: &[u8]) {
        let found = set.find(key, table);
        assert_eq!(found.ok().map(|position| set.get(position)), model.remove(key));
        if let Ok(position) = found {
            set.remove(position, key);
        }
    }

    fn compare(
        set: &Ordered<usize>,
        model: &BTreeMap<Vec<u8>, usize>,
        table: &Table,
        key: &[u8],
        other: &[u8],
    ) {
        let found = set.find(key, table).ok().map(|position| set.get(position));
        assert_eq!(found, model.get(key).copied());
        let (low, high) = (key.min(other), key.max(other));
        let bounds = |key| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded];
        for start in bounds(low) {
            for end in bounds(high) {
                if low == high && start != Bound::Unbounded && end != Bound::Unbounded {
                    continue;
                }
                let expected: Vec<usize> = model.range::<[u8], _>((start, end)).map(|(_, n)| *n).collect();
                assert_eq!(set.range(start, end, table).collect::<Vec<_>>(), expected, "{start:?} {end:?}");
            }
        }
    }

    /// Short keys of few letters, and long ones that share their fronts, zeros among them.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let letter = || prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(b'b'), Just(0xff)];
        prop_oneof![
            vec(letter(), 0..5),
            (0..3usize, vec(letter(), 0..4))
                .prop_map(|(n, tail)| [&b"/registry/pods/"[..5 * n], &tail].concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 200,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn it_holds_what_an_ordered_map_holds(steps in vec((0..4u8, key(), key()), 1..200)) {
            let (mut set, mut model, mut table) = (Ordered::default(), BTreeMap::new(), Table::default());
            for (what, key, other) in steps {
                match what {
                    0 | 1 => insert(&mut set, &mut model, &mut table, key),
                    2 => remove(&mut set, &mut model, &table, &key),
                    _ => compare(&set, &model, &table, &key, &other),
                }
            }
            compare(&set, &model, &table, b"", b"\xff\xff\xff\xff\xff");
            // Emptied to the last key, it can be filled again.
            for key in model.keys().cloned().collect::<Vec<_>>() {
                remove(&mut set, &mut model, &table, &key);
            }
            compare(&set, &model, &table, b"", b"\xff");
            insert(&mut set, &mut model, &mut table, b"again".to_vec());
            compare(&set, &model, &table, b"again", b"b");
        }
    }

    #[test]
    fn keys_in_order_fill_their_leaves() {
        let (mut set, mut model, mut table) = (Ordered::default(), BTreeMap::new(), Table::default());
        for n in 0..10 * LEAF_SLOTS {
            insert(&mut set, &mut model, &mut table, format!("{n:05}").into_bytes());
        }
        assert_eq!(set.leaves.len(), 10);
    }
}

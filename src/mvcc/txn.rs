//! Transactions: which path the compares choose, whether every step on it may be taken, and taking it.
//!
//! The three stand apart, because etcd evaluates all compares, nested ones included, against the state
//! before the transaction, and rejects the whole of it before anything is written (`etcdserver/txn/txn.go`).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::op::{Compare, CompareResult, CompareTarget, KeyValue, Op, OpResult, RangeOp, TxnOp, TxnResult};
use super::range::{self, View};
use super::store::{Error, WriteError};
use super::write_txn::{Leases, WriteTxn, check_put};
use crate::types::Revision;

/// For each transaction on the chosen path, in the order of its steps, whether its compares hold.
type Path = Vec<bool>;

impl WriteTxn<'_> {
    /// Runs a transaction.
    ///
    /// # Errors
    /// The first reason on the chosen path why a step cannot be taken; then nothing was written.
    pub(crate) fn txn(&mut self, op: &TxnOp, leases: &dyn Leases) -> Result<TxnResult, WriteError> {
        let space = &*self.space();
        let path = choose(&mut &*space, op);
        check(op, &mut path.iter(), &mut |step| match step {
            Op::Range(op) => Ok(check_range(&space, op)?),
            Op::Put(op) => check_put(space, op, leases),
            Op::Delete(_) | Op::Txn(_) => Ok(()),
        })?;
        let mut result = self.execute(op, &mut path.iter())?;
        result.revision = self.revision();
        Ok(result)
    }

    fn execute(&mut self, op: &TxnOp, path: &mut std::slice::Iter<'_, bool>) -> Result<TxnResult, Error> {
        let (succeeded, steps) = branch(op, path);
        let mut results = Vec::with_capacity(steps.len());
        for step in steps {
            results.push(match step {
                Op::Range(op) => OpResult::Range(self.range(op)?),
                Op::Put(op) => OpResult::Put(self.put(op)),
                Op::Delete(op) => OpResult::Delete(self.delete(op)),
                Op::Txn(op) => OpResult::Txn(self.execute(op, path)?),
            });
        }
        Ok(TxnResult { revision: Revision(0), succeeded, results })
    }
}

/// Runs a transaction of reads; steps that write are no matter of this function and are passed over.
pub(super) fn read_only(view: &mut impl View, op: &TxnOp) -> Result<TxnResult, Error> {
    let path = choose(view, op);
    let (succeeded, steps) = branch(op, &mut path.iter());
    let reads = || steps.iter().filter_map(|step| if let Op::Range(op) = step { Some(op) } else { None });
    debug_assert_eq!(reads().count(), steps.len(), "a read-only transaction holds reads only");
    for op in reads() {
        check_range(view, op)?;
    }
    let results = reads().map(|op| range::range(view, op).map(OpResult::Range)).collect::<Result<_, _>>()?;
    Ok(TxnResult { revision: view.revision(), succeeded, results })
}

/// The next branch on the path.
fn branch<'a>(op: &'a TxnOp, path: &mut std::slice::Iter<'_, bool>) -> (bool, &'a [Op]) {
    let succeeded = *path.next().expect("the path has a choice for each transaction on it");
    (succeeded, if succeeded { &op.success } else { &op.failure })
}

fn choose(view: &mut impl View, op: &TxnOp) -> Path {
    let succeeded = op.compares.iter().all(|compare| holds(view, compare));
    let mut path = vec![succeeded];
    for step in if succeeded { &op.success } else { &op.failure } {
        if let Op::Txn(op) = step {
            path.extend(choose(view, op));
        }
    }
    path
}

fn check(
    op: &TxnOp,
    path: &mut std::slice::Iter<'_, bool>,
    check_step: &mut dyn FnMut(&Op) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    for step in branch(op, path).1 {
        match step {
            Op::Txn(op) => check(op, path, check_step)?,
            step => check_step(step)?,
        }
    }
    Ok(())
}

/// Unlike in a plain read, a negative revision is not "now" here: it is compacted, or, in a store that was
/// never compacted, -1 passes (`checkRange`).
fn check_range(view: &impl View, op: &RangeOp) -> Result<(), Error> {
    match op.revision {
        Revision(0) => Ok(()),
        revision if revision > view.revision() => Err(Error::FutureRevision),
        revision if revision < view.compacted() => Err(Error::Compacted),
        _ => Ok(()),
    }
}

/// Whether a compare holds: for every key of its range, or, when there is none, for a key of zeros;
/// a value is never equal to that of no key.
fn holds(view: &mut impl View, compare: &Compare) -> bool {
    let now = view.revision();
    let (mut is_empty, mut holds) = (true, true);
    view.scan(&compare.range, now, &mut |space, place| {
        is_empty = false;
        holds = matches(compare, &space.log.key_value(place.location()));
        if holds { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if is_empty {
        return !matches!(compare.target, CompareTarget::Value(_)) && matches(compare, &KeyValue::default());
    }
    holds
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
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}

//! The judge of a run: what the clients were told, held against what the cluster says it did.
//!
//! Every value is written once and by one writer, so each event names the write it comes from. An
//! acknowledged write must be there at the very revision that was told. A write whose end is unknown may
//! be there or not, but once at most. Revisions and linearizable reads must follow real time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

/// One call of a client, from before it was sent until its answer was read.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Put {
        key: String,
        value: String,
        fate: Fate,
    },
    /// A linearizable read that was answered: the store's revision, and the key's value with its revision.
    Get {
        key: String,
        at: i64,
        found: Option<(String, i64)>,
    },
}

/// What became of a write, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged at this revision.
    Done(i64),
    /// No member has seen it.
    Unsent,
    /// It may or may not take effect, now or later.
    Unknown,
}

/// One write as the cluster tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) revision: i64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) done: usize,
    pub(crate) unknown: usize,
    pub(crate) reads: usize,
}

/// Judges `calls` by `events`, the cluster's whole history of the keys in question.
pub(crate) fn judge(calls: &[Call], events: &[Event]) -> Result<Judged, String> {
    order_of_events(events)?;
    acknowledged_writes_are_there(calls, events)?;
    events_come_from_writes(calls, events)?;
    reads_tell_the_history(calls, events)?;
    real_time_is_kept(calls)?;
    let count = |wanted: fn(&What) -> bool| calls.iter().filter(|call| wanted(&call.what)).count();
    Ok(Judged {
        done: count(|what| matches!(what, What::Put { fate: Fate::Done(_), .. })),
        unknown: count(|what| matches!(what, What::Put { fate: Fate::Unknown, .. })),
        reads: count(|what| matches!(what, What::Get { .. })),
    })
}

/// One after another; none twice.
pub(crate) fn order_of_events(events: &[Event]) -> Result<(), String> {
    match events.windows(2).find(|pair| pair[0].revision >= pair[1].revision) {
        Some(pair) => Err(format!("events out of order or twice: {:?} then {:?}", pair[0], pair[1])),
        None => Ok(()),
    }
}

fn acknowledged_writes_are_there(calls: &[Call], events: &[Event]) -> Result<(), String> {
    let at: HashMap<i64, &Event> = events.iter().map(|event| (event.revision, event)).collect();
    for call in calls {
        if let What::Put { key, value, fate: Fate::Done(revision) } = &call.what {
            match at.get(revision) {
                Some(event) if event.key == *key && event.value == *value => {}
                other => {
                    return Err(format!(
                        "acknowledged write {key}={value} at {revision} is lost: {other:?} is there"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn events_come_from_writes(calls: &[Call], events: &[Event]) -> Result<(), String> {
    let mut sent = HashMap::new();
    for call in calls {
        if let What::Put { key, value, fate } = &call.what {
            sent.insert((key.as_str(), value.as_str()), *fate);
        }
    }
    let mut seen = HashSet::new();
    for event in events {
        let write = (event.key.as_str(), event.value.as_str());
        match sent.get(&write) {
            None => return Err(format!("nobody wrote {event:?}")),
            Some(Fate::Unsent) => return Err(format!("{event:?} was never sent")),
            Some(_) if !seen.insert(write) => return Err(format!("{event:?} was applied twice")),
            Some(_) => {}
        }
    }
    Ok(())
}

fn reads_tell_the_history(calls: &[Call], events: &[Event]) -> Result<(), String> {
    let mut of_key: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        of_key.entry(&event.key).or_default().push(event);
    }
    for call in calls {
        let What::Get { key, at, found } = &call.what else { continue };
        let history = of_key.get(key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let upto = history.partition_point(|event| event.revision <= *at);
        let right = upto.checked_sub(1).map(|last| (history[last].value.clone(), history[last].revision));
        if *found != right {
            return Err(format!("a read of {key} at {at} brought {found:?}; the history has {right:?}"));
        }
    }
    Ok(())
}

/// What begins after something ended comes at a later revision: a write above, a read not below.
fn real_time_is_kept(calls: &[Call]) -> Result<(), String> {
    let revision = |call: &Call| match call.what {
        What::Put { fate: Fate::Done(revision), .. } => Some((revision, true)),
        What::Get { at, .. } => Some((at, false)),
        What::Put { .. } => None,
    };
    let told: Vec<(&Call, i64, bool)> =
        calls.iter().filter_map(|call| revision(call).map(|(at, is_write)| (call, at, is_write))).collect();
    let mut by_begin: Vec<usize> = (0..told.len()).collect();
    by_begin.sort_by_key(|&index| told[index].0.begun);
    let mut by_end: Vec<usize> = (0..told.len()).collect();
    by_end.sort_by_key(|&index| told[index].0.ended);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<usize> = None;
    for index in by_begin {
        let (call, at, is_write) = told[index];
        while let Some(earlier) = ended.next_if(|&earlier| told[earlier].0.ended < call.begun) {
            if highest.is_none_or(|best| told[best].1 < told[earlier].1) {
                highest = Some(earlier);
            }
        }
        if let Some(earlier) = highest {
            let before = told[earlier].1;
            if before > at || (is_write && before == at) {
                return Err(format!(
                    "{:?} ended before {:?} began, at a later revision",
                    told[earlier].0.what, call.what
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn put(begun: u64, ended: u64, value: &str, fate: Fate) -> (u64, u64, What) {
        (begun, ended, What::Put { key: "k".into(), value: value.into(), fate })
    }

    fn get(begun: u64, ended: u64, at: i64, found: Option<(&str, i64)>) -> (u64, u64, What) {
        let found = found.map(|(value, revision)| (value.to_owned(), revision));
        (begun, ended, What::Get { key: "k".into(), at, found })
    }

    fn verdict(calls: &[(u64, u64, What)], events: &[(i64, &str)]) -> Result<Judged, String> {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let calls: Vec<Call> = calls
            .iter()
            .map(|(begun, ended, what)| Call { begun: at(*begun), ended: at(*ended), what: what.clone() })
            .collect();
        let events: Vec<Event> = events
            .iter()
            .map(|&(revision, value)| Event { revision, key: "k".into(), value: value.into() })
            .collect();
        judge(&calls, &events)
    }

    #[test]
    fn a_right_history_passes() {
        let calls = [
            get(0, 1, 1, None),
            put(2, 5, "a", Fate::Done(2)),
            put(6, 9, "b", Fate::Unknown),
            put(10, 11, "c", Fate::Unsent),
            get(12, 13, 2, Some(("a", 2))),
            put(14, 15, "d", Fate::Unknown),
        ];
        // The write of unknown end took effect after a later read.
        let judged = verdict(&calls, &[(2, "a"), (3, "b")]).unwrap();
        assert_eq!(judged, Judged { done: 1, unknown: 2, reads: 2 });
    }

    #[test]
    fn every_kind_of_wrong_history_is_found() {
        use Fate::{Done, Unknown, Unsent};
        for (wrong, calls, events) in [
            ("is lost", vec![put(0, 1, "a", Done(2))], vec![]),
            ("is lost", vec![put(0, 1, "a", Done(2)), put(0, 1, "b", Unknown)], vec![(2, "b"), (3, "a")]),
            ("applied twice", vec![put(0, 1, "a", Unknown)], vec![(2, "a"), (3, "a")]),
            ("out of order", vec![put(0, 1, "a", Unknown)], vec![(3, "a"), (3, "a")]),
            ("never sent", vec![put(0, 1, "a", Unsent)], vec![(2, "a")]),
            ("nobody wrote", vec![], vec![(2, "a")]),
            ("the history has", vec![put(0, 1, "a", Done(2)), get(2, 3, 2, None)], vec![(2, "a")]),
            ("the history has", vec![put(0, 1, "a", Done(2)), get(2, 3, 3, Some(("a", 3)))], vec![(2, "a")]),
            ("later revision", vec![put(0, 1, "a", Done(2)), get(2, 3, 1, None)], vec![(2, "a")]),
            (
                "later revision",
                vec![put(0, 1, "a", Done(3)), put(2, 3, "b", Done(2))],
                vec![(2, "b"), (3, "a")],
            ),
            ("later revision", vec![get(0, 1, 5, None), get(2, 3, 4, None)], vec![]),
        ] {
            let error = verdict(&calls, &events).expect_err(wrong);
            assert!(error.contains(wrong), "{error:?} should tell of {wrong:?}");
        }
    }
}

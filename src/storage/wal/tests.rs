//! The log against a disk that forgets: whatever was acknowledged is there, whatever is there was
//! appended in that order, and damage below a durable position is never taken for a torn tail.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::writer::file_name;
use super::{Entry, Error, Options, Record, Recovered, Wal};
use crate::storage::fs::Fs;
use crate::storage::fs_forgetful::Forgetful;

const FOLDER: &str = "/log";

fn small() -> Options {
    Options { segment_bytes: 4096, tail_bytes: 1000, ..Options::default() }
}

fn open(disk: &Forgetful) -> Result<(Wal, Recovered), Error> {
    Wal::open_on(Arc::new(disk.clone()), Path::new(FOLDER), small())
}

fn entry(index: u64, term: u64) -> Record {
    let payload = Bytes::from(format!("entry {index} of term {term} ").repeat((index % 7) as usize));
    Record::Entry(Entry { index, term, payload })
}

/// Appends and waits until it is durable.
fn write(wal: &Wal, records: Vec<Record>) {
    let (sender, durable) = channel();
    wal.append(records, move |result| sender.send(result).unwrap());
    durable.recv().unwrap().unwrap();
}

fn indexes(wal: &Wal) -> Vec<(u64, u64)> {
    wal.read(0..u64::MAX, usize::MAX).unwrap().iter().map(|entry| (entry.index, entry.term)).collect()
}

#[test]
fn what_was_appended_comes_back_after_a_restart() {
    let disk = Forgetful::default();
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered, Recovered::default());
    write(&wal, vec![Record::Vote("vote 1".into())]);
    for index in 0..200 {
        write(&wal, vec![entry(index, 1)]);
    }
    write(&wal, vec![Record::TruncateAfter(Some(149)), entry(150, 2), Record::Vote("vote 2".into())]);
    wal.append_lazily(Record::Committed("150".into()));
    drop(wal);

    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.vote, Some("vote 2".into()));
    assert_eq!(recovered.committed, Some("150".into()));
    assert_eq!((recovered.first, recovered.last, recovered.last_term), (Some(0), Some(150), Some(2)));
    let Record::Entry(expected) = entry(149, 1) else { unreachable!() };
    assert_eq!(wal.read(149..150, 0).unwrap(), vec![expected]);
    assert_eq!(wal.read(0..200, 200).unwrap().len(), 5, "stops at the bytes asked for");
}

#[test]
fn entries_are_readable_before_they_are_durable() {
    let (wal, _) = open(&Forgetful::default()).unwrap();
    let (sender, durable) = channel();
    wal.append(vec![entry(0, 1), entry(1, 1)], move |result| sender.send(result).unwrap());
    assert_eq!(indexes(&wal), [(0, 1), (1, 1)]);
    durable.recv().unwrap().unwrap();
}

#[test]
fn purged_segments_are_used_again_and_nothing_old_shines_through() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    for index in 0..1000 {
        write(&wal, vec![entry(index, 1)]);
        if index % 50 == 49 {
            write(&wal, vec![Record::Purged { through: index - 5, position: "p".into() }]);
        }
    }
    drop(wal);
    let names = disk.list(Path::new(FOLDER)).unwrap();
    assert!(names.len() < 8, "purged segments are still there: {names:?}");
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.purged, Some((994, "p".into())));
    assert_eq!(indexes(&wal), [(995, 1), (996, 1), (997, 1), (998, 1), (999, 1)]);
}

#[test]
fn a_snapshot_may_jump_over_the_end_of_the_log() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, (0..10).map(|index| entry(index, 1)).collect());
    write(&wal, vec![Record::Purged { through: 99, position: "99".into() }]);
    assert_eq!(wal.bounds(), (None, None));
    write(&wal, vec![entry(100, 3)]);
    drop(wal);
    let (wal, _) = open(&disk).unwrap();
    assert_eq!(indexes(&wal), [(100, 3)]);
}

/// One step of a random history, as plain values.
fn random_step(coin: &mut StdRng, next: &mut u64, purged: &mut u64, term: &mut u64) -> Vec<Record> {
    match coin.random_range(0..10) {
        0 => vec![Record::Vote(format!("vote {}", coin.random::<u16>()).into())],
        1 if *next > *purged + 3 => {
            *next -= coin.random_range(1..3);
            *term += 1;
            vec![Record::TruncateAfter(Some(*next - 1))]
        }
        2 if *next > *purged + 8 => {
            *purged = coin.random_range(*purged + 1..*next - 4);
            vec![Record::Purged { through: *purged, position: purged.to_string().into() }]
        }
        _ => (0..coin.random_range(1..6))
            .map(|_| {
                *next += 1;
                entry(*next - 1, *term)
            })
            .collect(),
    }
}

/// What a log holds after these records: the oracle.
fn replay(steps: &[Vec<Record>]) -> (Option<Bytes>, Vec<(u64, u64)>) {
    let (mut vote, mut entries) = (None, Vec::new());
    for record in steps.iter().flatten() {
        match record {
            Record::Vote(v) => vote = Some(v.clone()),
            Record::Entry(entry) => entries.push((entry.index, entry.term)),
            Record::TruncateAfter(last) => entries.retain(|(index, _)| Some(*index) <= *last),
            Record::Purged { through, .. } => entries.retain(|(index, _)| index > through),
            Record::Committed(_) => {}
        }
    }
    (vote, entries)
}

#[test]
fn after_power_is_lost_the_log_is_a_prefix_that_holds_all_that_was_acknowledged() {
    for seed in 0..300 {
        let mut coin = StdRng::seed_from_u64(seed);
        let mut disk = Forgetful::default();
        let (mut next, mut purged, mut term) = (1, 0, 1);
        let mut steps = vec![vec![entry(0, 1)]];
        write(&open(&disk).unwrap().0, steps[0].clone());
        for crash in 0..4 {
            let (wal, _) = open(&disk).unwrap();
            let mut acknowledged = steps.len();
            for _ in 0..coin.random_range(1..40) {
                let step = random_step(&mut coin, &mut next, &mut purged, &mut term);
                steps.push(step.clone());
                if coin.random_bool(0.7) {
                    write(&wal, step);
                    acknowledged = steps.len();
                } else {
                    step.into_iter().for_each(|record| wal.append_lazily(record));
                }
            }
            let after = disk.crash(&mut coin);
            drop(wal);
            disk = after;
            let (wal, recovered) =
                open(&disk).unwrap_or_else(|error| panic!("seed {seed}, crash {crash}: {error}"));
            let found = (recovered.vote, indexes(&wal));
            let flat: Vec<Record> = steps.concat();
            let least = steps[..acknowledged].concat().len();
            let prefix = (least..=flat.len()).rev().find(|end| replay(&[flat[..*end].to_vec()]) == found);
            let Some(prefix) = prefix else {
                panic!(
                    "seed {seed}, crash {crash}: {found:?} is no prefix of the history that holds what was acknowledged"
                )
            };
            // History goes on from what survived.
            steps = vec![flat[..prefix].to_vec()];
            next = found.1.last().map_or(purged + 1, |(index, _)| index + 1);
            purged = found.1.first().map_or(next - 1, |(index, _)| index.saturating_sub(1));
            term += 1;
        }
    }
}

#[test]
fn damage_below_a_durable_position_is_corruption_with_file_and_offset() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    for index in 0..20 {
        write(&wal, vec![entry(index, 1)]);
    }
    // A crash, so that the last segment is not sealed.
    let disk = disk.crash(&mut StdRng::seed_from_u64(1));
    let path = Path::new(FOLDER).join(file_name(1));
    disk.flip(&path, 300);
    let error = open(&disk).err().expect("a damaged log does not open").to_string();
    assert!(error.contains("0000000000000001.log") && error.contains("corrupt at offset"), "{error}");
}

#[test]
fn damage_in_an_earlier_segment_is_corruption() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, (0..20).map(|index| entry(index, 1)).collect());
    drop(wal);
    drop(open(&disk).unwrap());
    disk.flip(&Path::new(FOLDER).join(file_name(1)), 200);
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
}

#[test]
fn a_missing_segment_is_corruption() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    for index in 0..200 {
        write(&wal, vec![entry(index, 1)]);
    }
    drop(wal);
    disk.remove(&Path::new(FOLDER).join(file_name(2))).unwrap();
    let error = open(&disk).err().expect("a log with a hole does not open").to_string();
    assert!(error.contains("is missing"), "{error}");
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, vec![entry(0, 1)]);
    disk.fail_syncs_after(0);
    for index in 1..3 {
        let (sender, done) = channel();
        wal.append(vec![entry(index, 1)], move |result| sender.send(result).unwrap());
        assert!(done.recv().unwrap().is_err());
    }
}

//! The log against a disk that forgets: whatever was acknowledged is there, whatever is there was
//! appended in that order, and damage below a durable position is never taken for a torn tail.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::index::{Found, Index, Segment};
use super::segment::{Content, HEADER_BYTES, Header, Place};
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
    match coin.random_range(0..12) {
        0 => vec![Record::Vote(format!("vote {}", coin.random::<u16>()).into())],
        1 if *next > *purged + 3 => {
            *next -= coin.random_range(1..3);
            *term += 1;
            // A follower truncates and appends at once.
            *next += 1;
            vec![Record::TruncateAfter(Some(*next - 2)), entry(*next - 1, *term)]
        }
        2 if *next > *purged + 8 => {
            *purged = coin.random_range(*purged + 1..*next - 4);
            vec![Record::Purged { through: *purged, position: purged.to_string().into() }]
        }
        3 if *next > 0 => vec![Record::Committed((*next - 1).to_string().into())],
        // More than are held back for others to ride along with.
        4 if coin.random_bool(0.2) => (0..100).map(|_| random_entry(next, *term)).collect(),
        _ => (0..coin.random_range(1..6)).map(|_| random_entry(next, *term)).collect(),
    }
}

fn random_entry(next: &mut u64, term: u64) -> Record {
    *next += 1;
    entry(*next - 1, term)
}

/// What a log holds: the oracle.
#[derive(Debug, Default, PartialEq, Eq)]
struct Replayed {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<u64>,
    /// Index and term of each.
    entries: Vec<(u64, u64)>,
}

impl Replayed {
    fn take(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            Record::Committed(position) => self.committed = Some(position.clone()),
            Record::Entry(entry) => self.entries.push((entry.index, entry.term)),
            Record::TruncateAfter(last) => self.entries.retain(|(index, _)| Some(*index) <= *last),
            Record::Purged { through, .. } => {
                self.purged = Some(*through);
                self.entries.retain(|(index, _)| index > through);
            }
        }
    }
}

/// What is known of a random history while it is written.
struct History {
    records: Vec<Record>,
    /// So many of them were acknowledged.
    acknowledged: usize,
    next: u64,
    purged: u64,
    term: u64,
}

impl History {
    /// Appends steps until there are enough or power is lost; many are queued before the first is answered.
    fn go_on(&mut self, coin: &mut StdRng, wal: &Wal, disk: &Forgetful) {
        let (sender, answers) = channel();
        for _ in 0..coin.random_range(1..60) {
            let step = random_step(coin, &mut self.next, &mut self.purged, &mut self.term);
            self.records.extend(step.iter().cloned());
            if coin.random_bool(0.5) {
                let (sender, upto) = (sender.clone(), self.records.len());
                // The receiver waits for every answer.
                wal.append(step, move |result| sender.send(result.map(|()| upto)).unwrap());
                if coin.random_bool(0.6) {
                    self.hear(answers.recv().unwrap(), disk);
                }
            } else {
                step.into_iter().for_each(|record| wal.append_lazily(record));
            }
            if disk.has_lost_power() {
                break;
            }
        }
        drop(sender);
        // Those whom power has overtaken are answered, too.
        while let Ok(answer) = answers.recv() {
            self.hear(answer, disk);
        }
    }

    fn hear(&mut self, answer: io::Result<usize>, disk: &Forgetful) {
        match answer {
            Ok(upto) => self.acknowledged = upto,
            Err(error) => assert!(disk.has_lost_power(), "refused before power was lost: {error}"),
        }
    }

    /// The log that came back must be what some prefix of the history made, not shorter than what was
    /// acknowledged; the history goes on from there.
    fn judge(&mut self, wal: &Wal, recovered: Recovered) -> Result<(), String> {
        let found = Replayed {
            vote: recovered.vote,
            committed: recovered.committed,
            purged: recovered.purged.map(|(through, _)| through),
            entries: indexes(wal),
        };
        let (mut log, mut prefix) = (Replayed::default(), None);
        for (record, length) in self.records.iter().zip(1..) {
            log.take(record);
            if length >= self.acknowledged && log == found {
                prefix = Some(length);
            }
        }
        let Some(prefix) = prefix else {
            return Err(format!(
                "{found:?} is no prefix of the history that holds the {} of {} records that were acknowledged",
                self.acknowledged,
                self.records.len()
            ));
        };
        self.records.truncate(prefix);
        self.acknowledged = prefix;
        self.purged = found.purged.unwrap_or(0);
        self.next = found.entries.last().map_or(self.purged + 1, |(index, _)| index + 1);
        self.term += 1;
        Ok(())
    }
}

#[test]
fn after_power_is_lost_the_log_is_a_prefix_that_holds_all_that_was_acknowledged() {
    for seed in 0..200 {
        let mut coin = StdRng::seed_from_u64(seed);
        let mut disk = Forgetful::default();
        let records = vec![entry(0, 1)];
        let mut history = History { records, acknowledged: 1, next: 1, purged: 0, term: 1 };
        write(&open(&disk).unwrap().0, history.records.clone());
        for crash in 0..6 {
            if coin.random_bool(0.8) {
                disk.lose_power_after(coin.random_range(0..100));
            }
            // Power may go while the log is opened, as at any other time.
            let after = match open(&disk) {
                Ok((wal, _)) => {
                    history.go_on(&mut coin, &wal, &disk);
                    // What nobody waits for has perhaps been written, but not synced.
                    if coin.random() {
                        drop(wal);
                        disk.crash(&mut coin)
                    } else {
                        disk.crash(&mut coin)
                    }
                }
                Err(error) => {
                    assert!(disk.has_lost_power(), "seed {seed}, crash {crash}: {error}");
                    disk.crash(&mut coin)
                }
            };
            disk = after;
            let (wal, recovered) =
                open(&disk).unwrap_or_else(|error| panic!("seed {seed}, crash {crash}: {error}"));
            let judged = history.judge(&wal, recovered);
            judged.unwrap_or_else(|wrong| panic!("seed {seed}, crash {crash}: {wrong}"));
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
    disk.fail_a_sync_after(0);
    for index in 1..4 {
        let (sender, done) = channel();
        wal.append(vec![entry(index, 1)], move |result| sender.send(result).unwrap());
        assert!(done.recv().unwrap().is_err(), "entry {index} is acknowledged");
    }
}

#[test]
fn a_damaged_header_is_corruption_and_so_is_one_of_another_segment() {
    let begun = || {
        let disk = Forgetful::default();
        write(&open(&disk).unwrap().0, vec![entry(0, 1)]);
        disk
    };
    let first = Path::new(FOLDER).join(file_name(1));
    let disk = begun();
    disk.flip(&first, 20);
    assert!(matches!(open(&disk), Err(Error::Corrupt { offset: 0, .. })));
    let disk = begun();
    disk.rename(&first, &Path::new(FOLDER).join(file_name(2))).unwrap();
    assert!(matches!(open(&disk), Err(Error::Corrupt { offset: 0, .. })));
}

#[test]
fn entries_that_do_not_begin_behind_the_purge_point_are_corruption() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    for index in 0..100 {
        write(&wal, vec![entry(index, 1)]);
    }
    drop(wal);
    disk.remove(&Path::new(FOLDER).join(file_name(1))).unwrap();
    let error = open(&disk).err().expect("a log without its beginning does not open").to_string();
    assert!(error.contains("expected 0"), "{error}");
}

#[test]
fn what_a_crash_left_without_a_name_is_removed() {
    let disk = Forgetful::default();
    let left = Path::new(FOLDER).join("0000000000000009.new");
    disk.create(&left).unwrap();
    drop(open(&disk).unwrap());
    assert!(disk.open(&left).is_err());
}

#[test]
fn all_may_be_voided() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, vec![entry(0, 1), entry(1, 1), Record::TruncateAfter(None), entry(0, 2)]);
    assert_eq!(indexes(&wal), [(0, 2)]);
    drop(wal);
    assert_eq!(indexes(&open(&disk).unwrap().0), [(0, 2)]);
}

#[test]
fn the_newest_of_each_kind_outlives_the_segment_it_was_written_to() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    let purged = |through, position: &'static str| Record::Purged { through, position: position.into() };
    let newest = [Record::Vote("v".into()), Record::Committed("c".into()), purged(59, "p")];
    // Together more than fits a segment, so that the next one begins another.
    write(&wal, (0..60).map(|index| entry(index, 1)).chain(newest).collect());
    // It comes too late to change anything, but lets the first go.
    write(&wal, vec![purged(5, "late")]);
    write(&wal, vec![entry(60, 1)]);
    assert_eq!(segments(&disk), [file_name(2)]);
    drop(wal);
    let (wal, recovered) = open(&disk).unwrap();
    assert_eq!((recovered.vote, recovered.committed), (Some("v".into()), Some("c".into())));
    assert_eq!(recovered.purged, Some((59, "p".into())));
    // The same for what an earlier run has written.
    write(&wal, vec![purged(60, "q")]);
    write(&wal, vec![entry(61, 1)]);
    assert_eq!(segments(&disk), [file_name(3)]);
    drop(wal);
    let recovered = open(&disk).unwrap().1;
    assert_eq!((recovered.vote, recovered.committed), (Some("v".into()), Some("c".into())));
    assert_eq!(recovered.purged, Some((60, "q".into())));
}

/// Where the batches of the first segment begin, and how far each says that the log was durable.
fn batches(disk: &Forgetful) -> Vec<(u64, Place)> {
    let file = disk.open(&Path::new(FOLDER).join(file_name(1))).unwrap();
    let mut bytes = vec![0; file.size_bytes().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let (mut offset, mut found) = (HEADER_BYTES, Vec::new());
    while let Some((content, taken)) = header.decode_record(&bytes[offset as usize..], offset) {
        if let Content::Batch { durable } = content {
            found.push((offset, durable));
        }
        offset += taken as u64;
    }
    found
}

#[test]
fn a_batch_says_what_was_durable_before_it_and_no_more() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, vec![entry(0, 1)]);
    wal.append_lazily(Record::Committed("0".into()));
    // It is written soon, but not synced.
    let begun = Instant::now();
    while batches(&disk).len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "a record that nobody waits for is never written");
        std::thread::yield_now();
    }
    write(&wal, vec![entry(1, 1)]);
    write(&wal, vec![entry(2, 1)]);
    let found = batches(&disk);
    let place = |at: usize| Place { sequence: 1, offset: found[at].0 };
    let durable: Vec<Place> = found[1..].iter().map(|(_, durable)| *durable).collect();
    assert_eq!(durable, [place(1), place(2), place(2), place(4)]);
}

#[test]
fn a_damaged_batch_before_a_whole_one_is_torn_as_long_as_nobody_says_that_it_was_durable() {
    let header = Header { sequence: 1, salt: 9 };
    let log = |says: fn(u64, u64) -> u64| {
        let mut bytes = header.encode().to_vec();
        header.push_batch(&mut bytes, 0, Place::default());
        header.push_record(&mut bytes, 0, &entry(0, 1));
        let torn = bytes.len() as u64;
        header.push_batch(&mut bytes, 0, Place { sequence: 1, offset: torn });
        header.push_record(&mut bytes, 0, &entry(1, 1));
        let whole = bytes.len() as u64;
        header.push_batch(&mut bytes, 0, Place { sequence: 1, offset: says(torn, whole) });
        header.push_record(&mut bytes, 0, &entry(2, 1));
        bytes[torn as usize + 20] ^= 1;
        disk_with(&bytes)
    };
    let (wal, _) = open(&log(|torn, _| torn)).unwrap();
    assert_eq!(indexes(&wal), [(0, 1)]);
    assert!(matches!(open(&log(|_, whole| whole)), Err(Error::Corrupt { .. })));
}

fn disk_with(first_segment: &[u8]) -> Forgetful {
    let disk = Forgetful::default();
    let file = disk.create(&Path::new(FOLDER).join(file_name(1))).unwrap();
    file.write_at(first_segment, 0).unwrap();
    disk
}

/// Names of the segments on the disk.
fn segments(disk: &Forgetful) -> Vec<String> {
    let mut names = disk.list(Path::new(FOLDER)).unwrap();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names
}

#[test]
fn a_segment_goes_with_its_last_entry_and_one_without_entries_with_them() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    let mut index = 0;
    while segments(&disk).len() < 2 {
        write(&wal, vec![entry(index, 1)]);
        index += 1;
    }
    // The last one opened the second segment, which then fills up with votes, and a third.
    let last_of_first = index - 2;
    while segments(&disk).len() < 4 {
        write(&wal, vec![Record::Vote("v".repeat(500).into())]);
    }
    let purge = |through| write(&wal, vec![Record::Purged { through, position: "p".into() }]);
    purge(last_of_first - 1);
    write(&wal, vec![]);
    assert_eq!(segments(&disk).len(), 4);
    purge(last_of_first);
    // It goes after the answer, before the next write.
    write(&wal, vec![]);
    assert_eq!(segments(&disk), [2, 3, 4].map(file_name));
    purge(last_of_first + 1);
    write(&wal, vec![]);
    assert_eq!(segments(&disk), [file_name(4)]);
}

#[test]
fn damage_that_comes_after_the_start_is_told_by_the_read_that_meets_it() {
    let disk = Forgetful::default();
    let (wal, _) = open(&disk).unwrap();
    write(&wal, (0..100).map(|index| entry(index, 1)).collect());
    drop(wal);
    let (wal, _) = open(&disk).unwrap();
    // Early entries are read from the disk, for memory holds only the newest.
    disk.flip(&Path::new(FOLDER).join(file_name(1)), 170);
    let error = wal.read(0..5, usize::MAX).expect_err("the damage is met").to_string();
    assert!(error.contains("unreadable in segment 1"), "{error}");
    assert_eq!(wal.read(90..92, usize::MAX).unwrap().len(), 2);
}

/// A segment made by hand.
fn segment_of(records: &[Record]) -> Forgetful {
    let header = Header { sequence: 1, salt: 9 };
    let mut bytes = header.encode().to_vec();
    header.push_batch(&mut bytes, 0, Place::default());
    records.iter().for_each(|record| header.push_record(&mut bytes, 0, record));
    header.push_end(&mut bytes, 0);
    disk_with(&bytes)
}

#[test]
fn entries_follow_each_other_and_come_behind_the_purge_point() {
    let error = open(&segment_of(&[entry(0, 1), entry(2, 1)])).err().expect("there is a gap").to_string();
    assert!(error.contains("entry 2 follows entry 0"), "{error}");
    let mut records = vec![Record::Purged { through: 3, position: "3".into() }];
    records.extend((0..6).map(|index| entry(index, 1)));
    assert_eq!(indexes(&open(&segment_of(&records)).unwrap().0), [(4, 1), (5, 1)]);
}

#[test]
fn a_record_passes_only_whole_in_its_place_and_under_its_salt() {
    let header = Header { sequence: 3, salt: 7 };
    let Record::Entry(one) = entry(5, 2) else { unreachable!() };
    let record = Record::Entry(one);
    let mut bytes = Vec::new();
    header.push_record(&mut bytes, 64, &record);
    let whole = Some((Content::Record(record), bytes.len()));
    assert_eq!(header.decode_record(&bytes, 64), whole);
    assert_eq!(header.decode_record(&bytes, 72), None);
    assert_eq!(Header { salt: 8, ..header }.decode_record(&bytes, 64), None);
    assert_eq!(header.decode_record(&bytes[..bytes.len() - 8], 64), None);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // What fills up between head, payload and the next record is no part of it.
        let passes = header.decode_record(&damaged, 64);
        assert!(passes.is_none() || passes == whole, "bit {bit} may be damaged: {passes:?}");
    }
}

#[test]
fn memory_keeps_a_payload_until_its_own_place_is_known() {
    let place = |offset| Place { sequence: 1, offset };
    let mut index = Index::default();
    index.segments.push_back(segment_in_memory());
    index.note(&entry(3, 1));
    index.note(&Record::TruncateAfter(None));
    index.note(&entry(3, 2));
    // The place of the entry that was voided meanwhile.
    index.set_place(3, 1, place(64));
    index.set_tail_bytes_max(0);
    index.trim_payloads();
    assert!(matches!(index.find(3..4, 0)[..], [Found::Here(_)]));
    index.set_place(3, 2, place(128));
    index.trim_payloads();
    assert!(matches!(index.find(3..4, 0)[..], [Found::There { place: Place { offset: 128, .. }, .. }]));
}

#[test]
fn a_read_at_the_place_of_another_entry_fails() {
    let segment = segment_in_memory();
    let mut bytes = Vec::new();
    segment.header.push_record(&mut bytes, 64, &entry(0, 1));
    segment.file.write_at(&bytes, 64).unwrap();
    let there = |index, term| {
        let (segment, place) = (segment.clone(), Place { sequence: 1, offset: 64 });
        Found::There { index, term, payload_bytes: 0, place, segment }.load()
    };
    assert_eq!(there(0, 1).unwrap().term, 1);
    assert!(there(0, 2).is_err());
    assert!(there(1, 1).is_err());
}

fn segment_in_memory() -> Segment {
    let file = Forgetful::default().create(Path::new("/segment")).unwrap();
    Segment { header: Header { sequence: 1, salt: 9 }, file, greatest: None }
}

//! The writer's thread: drains the queue, writes one batch, syncs once, answers all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::index::{Index, Segment};
use super::segment::{Header, Place};
use super::{Options, Record};
use crate::storage::fs::{File, Fs};

/// Zeros are written this far ahead of the data, so that a sync does not have to grow the file.
const AHEAD_BYTES_MAX: u64 = 4 << 20;
/// A batch takes in no more than this, so that its sync does not take long.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Purged segments kept for use again.
const SPARES_MAX: usize = 2;
/// How long a record that nobody waits for may stay in memory alone.
const LAZY_MAX: Duration = Duration::from_millis(20);
const LAZY_JOBS_MAX: usize = 64;
const SUFFIX: &str = ".log";
const SPARE_SUFFIX: &str = ".spare";
const NEW_SUFFIX: &str = ".new";

pub(super) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

pub(super) struct Job {
    pub(super) records: Vec<Record>,
    /// `None`: nobody waits, so no sync is owed.
    pub(super) done: Option<Done>,
}

/// The way to the writer. Dropping it writes what is queued, then ends the thread.
pub(super) struct Queue {
    sender: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    pub(super) fn start(
        fs: Arc<dyn Fs>,
        folder: &Path,
        options: Options,
        next_sequence: u64,
        spares: Vec<PathBuf>,
        index: Arc<Mutex<Index>>,
    ) -> io::Result<Self> {
        let (sender, jobs) = channel();
        let mut writer = Writer {
            fs,
            folder: folder.to_owned(),
            options,
            index,
            spares,
            next_sequence,
            current: None,
            durable: Place::default(),
            written: Newest::default(),
            failed: None,
        };
        writer.index.lock().state().iter().for_each(|record| writer.written.note(record));
        writer.begin_segment()?;
        let thread = std::thread::Builder::new().name("wal".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    pub(super) fn push(&self, job: Job) {
        let sender = self.sender.as_ref().expect("open until dropped");
        if let Err(refused) = sender.send(job)
            && let Some(done) = refused.0.done
        {
            done(Err(io::Error::other("the log's writer has ended")));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the writer has already been reported by its own thread.
            let _ = thread.join();
        }
    }
}

struct Writer {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    options: Options,
    index: Arc<Mutex<Index>>,
    spares: Vec<PathBuf>,
    next_sequence: u64,
    current: Option<Current>,
    /// Everything before this place is synced.
    durable: Place,
    /// Memory is ahead of it by what is queued.
    written: Newest,
    /// The error that stopped the log for good.
    failed: Option<(io::ErrorKind, String)>,
}

/// The segment being written.
struct Current {
    segment: Segment,
    offset: u64,
    /// Up to here the file has blocks.
    filled: u64,
}

/// The newest vote, commit hint and purge point among the records that have been written.
#[derive(Default)]
struct Newest {
    vote: Option<Record>,
    committed: Option<Record>,
    purged: Option<Record>,
}

impl Newest {
    fn note(&mut self, record: &Record) {
        match record {
            Record::Vote(_) => self.vote = Some(record.clone()),
            Record::Committed(_) => self.committed = Some(record.clone()),
            Record::Purged { through, .. } if self.purged_through() < Some(*through) => {
                self.purged = Some(record.clone());
            }
            Record::Purged { .. } | Record::Entry(_) | Record::TruncateAfter(_) => {}
        }
    }

    fn purged_through(&self) -> Option<u64> {
        match self.purged {
            Some(Record::Purged { through, .. }) => Some(through),
            _ => None,
        }
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        [&self.vote, &self.committed, &self.purged].into_iter().flatten()
    }
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        // Jobs that nobody waits for ride along with the next batch.
        let mut held: Vec<Job> = Vec::new();
        loop {
            let next = if held.is_empty() {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(LAZY_MAX)
            };
            match next {
                Ok(job) if job.done.is_none() && held.len() < LAZY_JOBS_MAX => held.push(job),
                Ok(job) => {
                    held.push(job);
                    drain(jobs, &mut held);
                    self.carry_out(std::mem::take(&mut held));
                }
                Err(RecvTimeoutError::Timeout) => self.carry_out(std::mem::take(&mut held)),
                Err(RecvTimeoutError::Disconnected) => {
                    if !held.is_empty() {
                        self.carry_out(held);
                    }
                    return;
                }
            }
        }
    }

    fn carry_out(&mut self, jobs: Vec<Job>) {
        if self.failed.is_none()
            && let Err(error) = self.write(&jobs)
        {
            tracing::error!(error = %error, folder = %self.folder.display(), "write-ahead log failed");
            self.failed = Some((error.kind(), error.to_string()));
        }
        for done in jobs.into_iter().filter_map(|job| job.done) {
            done(match &self.failed {
                None => Ok(()),
                Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            });
        }
    }

    fn write(&mut self, jobs: &[Job]) -> io::Result<()> {
        self.roll_if_full()?;
        let ahead_bytes = self.ahead_bytes();
        let current = self.current.as_mut().expect("a segment is open");
        let header = current.segment.header;
        let base = current.offset;
        let mut batch = Vec::with_capacity(jobs.iter().map(size_bytes).sum::<usize>() + 64);
        let mut places = Vec::new();
        header.push_batch(&mut batch, base, self.durable);
        for record in jobs.iter().flat_map(|job| &job.records) {
            if let Record::Entry(entry) = record {
                let place = Place { sequence: header.sequence, offset: base + batch.len() as u64 };
                places.push((entry.index, entry.term, place));
                current.segment.greatest = current.segment.greatest.max(Some(entry.index));
            }
            header.push_record(&mut batch, base, record);
        }
        current.fill(base + batch.len() as u64, ahead_bytes)?;
        current.segment.file.write_at(&batch, base)?;
        if let Some(on_write) = &self.options.on_write {
            on_write(batch.len() as u64);
        }
        current.offset += batch.len() as u64;
        jobs.iter().flat_map(|job| &job.records).for_each(|record| self.written.note(record));
        let purged = jobs.iter().flat_map(|job| &job.records).any(|r| matches!(r, Record::Purged { .. }));
        // Segments go only after the purge point that lets them go is durable.
        if purged || jobs.iter().any(|job| job.done.is_some()) {
            self.sync()?;
        }
        self.settle(places, purged)
    }

    fn ahead_bytes(&self) -> u64 {
        AHEAD_BYTES_MAX.min(self.options.segment_bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let current = self.current.as_ref().expect("a segment is open");
        let start = Instant::now();
        current.segment.file.sync_data()?;
        if let Some(on_sync) = &self.options.on_sync {
            on_sync(start.elapsed());
        }
        self.durable = Place { sequence: current.segment.header.sequence, offset: current.offset };
        Ok(())
    }

    /// Tells memory where the entries lie, and lets go of what is purged.
    fn settle(&mut self, places: Vec<(u64, u64, Place)>, purged: bool) -> io::Result<()> {
        let index = Arc::clone(&self.index);
        let mut index = index.lock();
        for (entry, term, place) in places {
            index.set_place(entry, term, place);
        }
        if let (Some(newest), Some(current)) = (index.segments.back_mut(), &self.current) {
            newest.greatest = current.segment.greatest;
        }
        index.trim_payloads();
        let mut gone = Vec::new();
        if purged {
            // Only from the front: a truncation in a later segment voids entries of earlier ones,
            // so it must not go before them. The newest is still written.
            let through = self.written.purged_through();
            while index.segments.len() > 1 && index.segments[0].greatest <= through {
                gone.extend(index.segments.pop_front());
            }
        }
        drop(index);
        gone.iter().try_for_each(|segment| self.retire(segment.header.sequence))
    }

    fn retire(&mut self, sequence: u64) -> io::Result<()> {
        let path = self.folder.join(file_name(sequence));
        if self.spares.len() < SPARES_MAX {
            let spare = self.folder.join(format!("{sequence:016x}{SPARE_SUFFIX}"));
            self.fs.rename(&path, &spare)?;
            self.spares.push(spare);
        } else {
            self.fs.remove(&path)?;
        }
        self.fs.sync_folder(&self.folder)
    }

    fn roll_if_full(&mut self) -> io::Result<()> {
        let full = self.current.as_ref().is_some_and(|current| current.offset >= self.options.segment_bytes);
        if !full {
            return Ok(());
        }
        let current = self.current.as_mut().expect("it is full, so it is there");
        let mut end = Vec::new();
        current.segment.header.push_batch(&mut end, current.offset, self.durable);
        current.segment.header.push_end(&mut end, current.offset);
        current.segment.file.write_at(&end, current.offset)?;
        current.offset += end.len() as u64;
        self.sync()?;
        self.begin_segment()
    }

    /// Opens the next segment and begins it with the newest vote, commit hint and purge point that
    /// have been written: newer ones may speak of entries that are queued behind this, and are lost
    /// in a crash. It gets its name only when all of that is durable, so a segment with a bad header is corrupt.
    fn begin_segment(&mut self) -> io::Result<()> {
        let header = Header { sequence: self.next_sequence, salt: rand::random() };
        let path = self.folder.join(file_name(header.sequence));
        let (unnamed, file, filled) = self.blank_file(header.sequence)?;
        let segment = Segment { header, file, greatest: None };
        let mut start = header.encode().to_vec();
        header.push_batch(&mut start, 0, self.durable);
        self.written.records().for_each(|record| header.push_record(&mut start, 0, record));
        let mut current = Current { segment: segment.clone(), offset: start.len() as u64, filled };
        current.fill(current.offset, self.ahead_bytes())?;
        segment.file.write_at(&start, 0)?;
        segment.file.sync_data()?;
        self.fs.rename(&unnamed, &path)?;
        self.fs.sync_folder(&self.folder)?;
        self.next_sequence += 1;
        self.durable = Place { sequence: header.sequence, offset: current.offset };
        self.current = Some(current);
        self.index.lock().segments.push_back(segment);
        tracing::debug!(segment = %path.display(), "log segment begun");
        Ok(())
    }

    /// A file to begin a segment in: a purged one used again, or a new one; with how far it has blocks.
    fn blank_file(&mut self, sequence: u64) -> io::Result<(PathBuf, Arc<dyn File>, u64)> {
        if let Some(spare) = self.spares.pop() {
            let file = self.fs.open(&spare)?;
            let filled = file.size_bytes()?;
            return Ok((spare, file, filled));
        }
        let path = self.folder.join(format!("{sequence:016x}{NEW_SUFFIX}"));
        let file = self.fs.create(&path)?;
        Ok((path, file, 0))
    }
}

impl Current {
    /// Gives the file blocks up to `end` and some way beyond.
    fn fill(&mut self, end: u64, ahead_bytes: u64) -> io::Result<()> {
        if end <= self.filled {
            return Ok(());
        }
        let target = end.next_multiple_of(ahead_bytes);
        let zeros = vec![0; (target - self.filled) as usize];
        self.segment.file.write_at(&zeros, self.filled)?;
        self.filled = target;
        Ok(())
    }
}

pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}{SUFFIX}")
}

fn size_bytes(job: &Job) -> usize {
    let payload = |record: &Record| match record {
        Record::Entry(entry) => entry.payload.len(),
        Record::Vote(bytes) | Record::Committed(bytes) | Record::Purged { position: bytes, .. } => {
            bytes.len()
        }
        Record::TruncateAfter(_) => 0,
    };
    job.records.iter().map(|record| payload(record) + 40).sum()
}

/// Takes in what else is queued, up to a batch's size.
fn drain(jobs: &Receiver<Job>, batch: &mut Vec<Job>) {
    let mut bytes: usize = batch.iter().map(size_bytes).sum();
    while bytes < BATCH_BYTES_MAX
        && let Ok(job) = jobs.try_recv()
    {
        bytes += size_bytes(&job);
        batch.push(job);
    }
}

/// Sequences of the segments in the folder, in order, and the spares. What a crash left without a
/// name of its own is removed.
pub(super) fn files(fs: &dyn Fs, folder: &Path) -> io::Result<(Vec<u64>, Vec<PathBuf>)> {
    let mut sequences = Vec::new();
    let mut spares = Vec::new();
    for name in fs.list(folder)? {
        if let Some(sequence) = name.strip_suffix(SUFFIX).and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            sequences.push(sequence);
        } else if name.ends_with(SPARE_SUFFIX) {
            spares.push(folder.join(name));
        } else if name.ends_with(NEW_SUFFIX) {
            fs.remove(&folder.join(name))?;
        }
    }
    sequences.sort_unstable();
    Ok((sequences, spares))
}

//! Reading the log back: scan the segments in order, rebuild the index, tell a torn tail from corruption.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::{Index, Segment};
use super::segment::{Content, HEADER_BYTES, Header, Place};
use super::writer::{file_name, files};
use super::{Error, Record};
use crate::storage::fs::{File, Fs};

/// What the segments hold, and where writing goes on: always in a new segment, whose salt makes
/// whatever a torn batch left behind unreadable for ever.
pub(super) struct Scan {
    pub(super) index: Index,
    pub(super) next_sequence: u64,
    pub(super) spares: Vec<PathBuf>,
}

pub(super) fn scan(fs: &dyn Fs, folder: &Path) -> Result<Scan, Error> {
    let io_error = |source| Error::Io { folder: folder.to_owned(), source };
    fs.create_folder(folder).map_err(io_error)?;
    let (sequences, spares) = files(fs, folder).map_err(io_error)?;
    let mut index = Index::default();
    for (at, sequence) in sequences.iter().enumerate() {
        let path = folder.join(file_name(*sequence));
        let is_last = at + 1 == sequences.len();
        if at > 0 && sequences[at - 1] + 1 != *sequence {
            let what = format!("segment {:016x} before it is missing", sequence - 1);
            return Err(Error::Corrupt { path, offset: 0, what });
        }
        let bytes = read_all(fs, &path).map_err(io_error)?;
        let mut reader = Reader { path: &path, bytes, sequence: *sequence, is_last };
        reader.take_in(&mut index, fs.open(&path).map_err(io_error)?)?;
        if is_last {
            reader.seal(fs).map_err(io_error)?;
        }
    }
    refuse_gap(&index, folder)?;
    Ok(Scan { index, next_sequence: sequences.last().map_or(1, |last| last + 1), spares })
}

struct Reader<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    sequence: u64,
    is_last: bool,
}

impl Reader<'_> {
    fn take_in(&mut self, index: &mut Index, file: Arc<dyn File>) -> Result<(), Error> {
        let Some(header) = self.header() else {
            return Err(self.corrupt(0, "its header is damaged"));
        };
        index.segments.push_back(Segment { header, file, greatest: None });
        let mut offset = HEADER_BYTES;
        loop {
            match header.decode_record(self.rest(offset), offset) {
                Some((Content::End, _)) => return Ok(()),
                Some((Content::Batch { .. }, taken)) => offset += taken as u64,
                Some((Content::Record(record), taken)) => {
                    self.apply(index, &record, Place { sequence: self.sequence, offset })?;
                    offset += taken as u64;
                }
                None => return self.judge_hole(header, offset),
            }
        }
    }

    fn header(&self) -> Option<Header> {
        Header::decode(&self.bytes).filter(|header| header.sequence == self.sequence)
    }

    fn rest(&self, offset: u64) -> &[u8] {
        self.bytes.get(offset as usize..).unwrap_or_default()
    }

    fn apply(&self, index: &mut Index, record: &Record, place: Place) -> Result<(), Error> {
        if let Record::Entry(entry) = record {
            if index.purged_through().is_some_and(|through| entry.index <= through) {
                return Ok(());
            }
            if let Some(last) = index.last()
                && entry.index != last + 1
            {
                let what = format!("entry {} follows entry {last}", entry.index);
                return Err(self.corrupt(place.offset, &what));
            }
        }
        index.note(record);
        if let Record::Entry(entry) = record {
            index.set_place(entry.index, entry.term, place);
            let newest = index.segments.back_mut().expect("this segment");
            newest.greatest = newest.greatest.max(Some(entry.index));
            index.trim_payloads();
        }
        Ok(())
    }

    /// A record cannot be read at `offset`. An ordinary torn batch, unless this is not the last
    /// segment (it was synced before the next was written), or a whole record further on says that
    /// the log was durable past the hole.
    fn judge_hole(&self, header: Header, offset: u64) -> Result<(), Error> {
        if !self.is_last {
            return Err(self.corrupt(offset, "a record is damaged, and the segment is not the last"));
        }
        let hole = Place { sequence: self.sequence, offset };
        let later = (offset..self.bytes.len() as u64).step_by(8).skip(1).find(|at| {
            let durable = header.decode_batch(self.rest(*at), *at);
            durable.is_some_and(|durable| durable > hole)
        });
        match later {
            None => Ok(()),
            Some(at) => {
                let what = format!("a record is damaged, and the batch at offset {at} says it was durable");
                Err(self.corrupt(offset, &what))
            }
        }
    }

    /// Marks where the segment ends, so that the next start does not judge the same tail again.
    fn seal(&self, fs: &dyn Fs) -> io::Result<()> {
        let Some(header) = self.header() else { return Ok(()) };
        let mut offset = HEADER_BYTES;
        loop {
            match header.decode_record(self.rest(offset), offset) {
                Some((Content::End, _)) => return Ok(()),
                Some((_, taken)) => offset += taken as u64,
                None => break,
            }
        }
        let mut end = Vec::new();
        header.push_end(&mut end, offset);
        let file = fs.open(self.path)?;
        file.write_at(&end, offset)?;
        file.sync_data()
    }

    fn corrupt(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt { path: self.path.to_owned(), offset, what: what.to_owned() }
    }
}

/// Entries must begin right above the purge point.
fn refuse_gap(index: &Index, folder: &Path) -> Result<(), Error> {
    let expected = index.purged_through().map_or(0, |through| through + 1);
    match index.first() {
        Some(first) if first != expected => {
            let what = format!("entries begin at {first}, expected {expected}: a segment is missing");
            Err(Error::Corrupt { path: folder.to_owned(), offset: 0, what })
        }
        _ => Ok(()),
    }
}

fn read_all(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let mut bytes = vec![0; file.size_bytes()? as usize];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

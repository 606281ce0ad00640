//! Checkpoints: the whole replicated state at one position of the log, one file each.
//!
//! ```text
//! "KVCKPT\0\1"  8 bytes
//! meta length   u32 little endian, then the meta (raft's: log position and membership)
//! body          what `apply` wrote
//! CRC-32C       u32 little endian over everything before it
//! ```
//!
//! A file under its final name is whole and synced; anything else in the folder is left over from a
//! crash and removed at open. Names sort by position: `TERM-INDEX.checkpoint`, 16 hex digits each.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::fs::{Disk, File, Fs};

const MAGIC: &[u8; 8] = b"KVCKPT\0\x01";
const SUFFIX: &str = ".checkpoint";
const BUFFER_BYTES: usize = 1 << 20;
/// A meta holds a membership; anything near this size is not one.
const META_BYTES_MAX: u32 = 16 << 20;

/// The log position that a checkpoint stands for (openraft's raw index).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub term: u64,
    pub index: u64,
}

/// The folder of checkpoints; cheap to clone.
#[derive(Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    fs: Arc<dyn Fs>,
    keep: usize,
}

/// One complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    pub position: Position,
    pub meta: Bytes,
    pub path: PathBuf,
    pub size_bytes: u64,
}

impl Checkpoints {
    /// Opens the folder and clears what a crash left half written. `keep` is how many complete ones
    /// stay (etcd's `--max-snapshots`; 0 keeps all).
    pub fn open(folder: &Path, keep: usize) -> io::Result<Self> {
        Self::open_on(Arc::new(Disk::default()), folder, keep)
    }

    pub(crate) fn open_on(fs: Arc<dyn Fs>, folder: &Path, keep: usize) -> io::Result<Self> {
        fs.create_folder(folder)?;
        for name in fs.list(folder)? {
            if name.ends_with(".tmp") {
                fs.remove(&folder.join(name))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), fs, keep })
    }

    /// The newest checkpoint; it is checked whole before it is trusted. One that fails is an error,
    /// never skipped: the log behind it may be gone.
    pub fn latest(&self) -> io::Result<Option<CheckpointFile>> {
        match self.positions()?.last() {
            Some(position) => self.inspect(&self.path(*position), *position).map(Some),
            None => Ok(None),
        }
    }

    /// Begins a checkpoint; nothing is there until [`CheckpointWriter::finish`].
    pub fn create(&self, position: Position, meta: &[u8]) -> io::Result<CheckpointWriter> {
        let mut writer = self.begin(position, "tmp")?;
        writer.sum_at_end = true;
        writer.write_all(MAGIC)?;
        let length = u32::try_from(meta.len()).map_err(io::Error::other)?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(meta)?;
        Ok(writer)
    }

    /// Begins to take in a checkpoint as it lies on another member's disk, byte for byte.
    /// It is checked whole at [`CheckpointWriter::finish`].
    pub fn receive(&self, position: Position) -> io::Result<CheckpointWriter> {
        self.begin(position, "received.tmp")
    }

    /// The body of a checkpoint. Reading to the end checks the sum; a mismatch is `InvalidData`.
    pub fn read(&self, file: &CheckpointFile) -> io::Result<impl Read + use<>> {
        let body_start = MAGIC.len() as u64 + 4 + file.meta.len() as u64;
        let mut all = Summed::open(&*self.fs, &file.path)?;
        all.skip(body_start)?;
        Ok(io::BufReader::with_capacity(BUFFER_BYTES, all))
    }

    /// The file as it is, for sending it to another member.
    pub fn read_raw(&self, file: &CheckpointFile) -> io::Result<impl Read + use<>> {
        let raw = Whole { file: self.fs.open(&file.path)?, offset: 0 };
        Ok(io::BufReader::with_capacity(BUFFER_BYTES, raw))
    }

    fn begin(&self, position: Position, suffix: &str) -> io::Result<CheckpointWriter> {
        let temporary = self.folder.join(format!("{}.{suffix}", name(position)));
        let file = self.fs.create(&temporary)?;
        let home = self.clone();
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(CheckpointWriter { home, position, temporary, file, buffer, offset: 0, sum: 0, sum_at_end: false })
    }

    fn path(&self, position: Position) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", name(position)))
    }

    fn positions(&self) -> io::Result<Vec<Position>> {
        let mut positions: Vec<Position> =
            self.fs.list(&self.folder)?.iter().filter_map(|n| parse(n)).collect();
        positions.sort_by_key(|position| (position.index, position.term));
        Ok(positions)
    }

    fn inspect(&self, path: &Path, position: Position) -> io::Result<CheckpointFile> {
        let size_bytes = self.fs.open(path)?.size_bytes()?;
        let mut all = Summed::open(&*self.fs, path)?;
        let mut head = [0; 12];
        all.read_exact(&mut head)?;
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if &head[..8] != MAGIC || length > META_BYTES_MAX {
            return Err(broken(path, "it does not begin like a checkpoint"));
        }
        let mut meta = vec![0; length as usize];
        all.read_exact(&mut meta)?;
        io::copy(&mut all, &mut io::sink())?;
        Ok(CheckpointFile { position, meta: meta.into(), path: path.to_owned(), size_bytes })
    }

    fn prune(&self) -> io::Result<()> {
        let positions = self.positions()?;
        if self.keep == 0 || positions.len() <= self.keep {
            return Ok(());
        }
        for position in &positions[..positions.len() - self.keep] {
            self.fs.remove(&self.path(*position))?;
        }
        self.fs.sync_folder(&self.folder)
    }
}

/// A checkpoint being written; dropped unfinished, it never was.
pub struct CheckpointWriter {
    home: Checkpoints,
    position: Position,
    temporary: PathBuf,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    offset: u64,
    sum: u32,
    sum_at_end: bool,
}

impl Write for CheckpointWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.sum = crc32c::crc32c_append(self.sum, data);
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= BUFFER_BYTES {
            self.spill()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.spill()
    }
}

impl CheckpointWriter {
    /// Makes it durable under its final name and drops the oldest ones beyond `keep`.
    pub fn finish(mut self) -> io::Result<CheckpointFile> {
        if self.sum_at_end {
            let sum = self.sum.to_le_bytes();
            self.write_all(&sum)?;
        }
        self.spill()?;
        self.file.sync_data()?;
        let checked = self.home.inspect(&self.temporary, self.position)?;
        let path = self.home.path(self.position);
        self.home.fs.rename(&self.temporary, &path)?;
        self.home.fs.sync_folder(&self.home.folder)?;
        self.home.prune()?;
        Ok(CheckpointFile { path, ..checked })
    }

    fn spill(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads everything but the trailing sum, and compares it at the end.
struct Summed {
    path: PathBuf,
    whole: io::BufReader<Whole>,
    left: u64,
    sum: u32,
}

struct Whole {
    file: Arc<dyn File>,
    offset: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl Summed {
    fn open(fs: &dyn Fs, path: &Path) -> io::Result<Self> {
        let file = fs.open(path)?;
        let size = file.size_bytes()?;
        let left = size.checked_sub(4).ok_or_else(|| broken(path, "it is shorter than a sum"))?;
        let whole = io::BufReader::with_capacity(BUFFER_BYTES, Whole { file, offset: 0 });
        Ok(Self { path: path.to_owned(), whole, left, sum: 0 })
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut self.take(count), &mut io::sink())?;
        Ok(())
    }

    fn compare(&mut self) -> io::Result<()> {
        let mut stored = [0; 4];
        self.whole.read_exact(&mut stored)?;
        if u32::from_le_bytes(stored) == self.sum {
            Ok(())
        } else {
            Err(broken(&self.path, "its sum is wrong"))
        }
    }
}

impl Read for Summed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.whole.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(broken(&self.path, "it ends too early"));
        }
        self.sum = crc32c::crc32c_append(self.sum, &buffer[..count]);
        self.left -= count as u64;
        if self.left == 0 {
            self.compare()?;
        }
        Ok(count)
    }
}

fn name(position: Position) -> String {
    format!("{:016x}-{:016x}", position.term, position.index)
}

fn parse(name: &str) -> Option<Position> {
    let (term, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Position { term: number(term)?, index: number(index)? })
}

fn broken(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("checkpoint {}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(checkpoints: &Checkpoints, index: u64, body: &[u8]) -> CheckpointFile {
        let mut writer = checkpoints.create(Position { term: 2, index }, b"meta").unwrap();
        writer.write_all(body).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn the_newest_comes_back_whole_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path(), 2).unwrap();
        assert_eq!(checkpoints.latest().unwrap(), None);
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        for index in [7, 8, 300] {
            write(&checkpoints, index, &body);
        }
        let latest = checkpoints.latest().unwrap().unwrap();
        assert_eq!((latest.position.index, latest.meta.as_ref()), (300, b"meta".as_ref()));
        let mut read = Vec::new();
        checkpoints.read(&latest).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == body);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn one_that_was_never_finished_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path(), 2).unwrap();
        let mut writer = checkpoints.create(Position { term: 1, index: 1 }, b"meta").unwrap();
        writer.write_all(b"half").unwrap();
        writer.flush().unwrap();
        drop(writer);
        let again = Checkpoints::open(folder.path(), 2).unwrap();
        assert_eq!(again.latest().unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_flipped_bit_is_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path(), 2).unwrap();
        let file = write(&checkpoints, 9, b"body body body");
        let mut bytes = std::fs::read(&file.path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file.path, bytes).unwrap();
        let error = checkpoints.latest().unwrap_err();
        assert!(error.to_string().contains("its sum is wrong"), "{error}");
    }

    #[test]
    fn another_members_file_is_taken_in_only_when_whole() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = Checkpoints::open(there.path(), 2).unwrap();
        let file = write(&source, 5, b"state of the source");
        let mut raw = Vec::new();
        source.read_raw(&file).unwrap().read_to_end(&mut raw).unwrap();

        let target = Checkpoints::open(here.path(), 2).unwrap();
        let mut cut = target.receive(file.position).unwrap();
        cut.write_all(&raw[..raw.len() - 3]).unwrap();
        assert!(cut.finish().is_err());
        assert_eq!(target.latest().unwrap(), None);

        let mut whole = target.receive(file.position).unwrap();
        whole.write_all(&raw).unwrap();
        assert_eq!(whole.finish().unwrap().meta, file.meta);
        let mut body = Vec::new();
        target.read(&target.latest().unwrap().unwrap()).unwrap().read_to_end(&mut body).unwrap();
        assert_eq!(body, b"state of the source");
    }
}

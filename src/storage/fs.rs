//! The seam to the file system: what the log and the checkpoints need of it, and no more.
//! The real one is [`Disk`]; tests put a file system in its place that forgets what was not synced.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// A file system. All paths are absolute or relative to the process; names are UTF-8.
pub trait Fs: Send + Sync {
    /// Makes the folder and its parents, readable by the owner only (etcd: 0700).
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The names in a folder, unordered; a folder that does not exist has none.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// A new empty file; one that is there already is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// An existing file, for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. Positions are bytes from its start.
pub trait File: Send + Sync {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Fills the buffer as far as the file reaches; returns how much was read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn size_bytes(&self) -> io::Result<u64>;
    /// Returns when all data written before is durable. After an error nothing is known of any of it.
    fn sync_data(&self) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// Skip every sync (`--unsafe-no-fsync`): a crash of the machine may lose acknowledged writes.
    pub unsafe_no_fsync: bool,
}

struct DiskFile {
    file: fs::File,
    unsafe_no_fsync: bool,
}

impl Fs for Disk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        self.wrap(options.open(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.wrap(OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.unsafe_no_fsync {
            return Ok(());
        }
        fs::File::open(folder)?.sync_all()
    }
}

impl Disk {
    fn wrap(&self, file: fs::File) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile { file, unsafe_no_fsync: self.unsafe_no_fsync }))
    }
}

impl File for DiskFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.unsafe_no_fsync { Ok(()) } else { self.file.sync_data() }
    }
}

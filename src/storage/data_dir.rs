//! The folder that a member owns, and the lock that keeps a second process out of it.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::fs::{Disk, Fs};

/// A data folder held by this process; the lock goes with the value.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    wal: PathBuf,
    _lock: fs::File,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "data-dir {folder}: another process holds it; stop that one first or give this member a folder of its own"
    )]
    Held { folder: PathBuf },
    #[error(
        "data-dir {folder}: it holds files of etcd ({found}); kvorum does not read them yet, give it an empty folder"
    )]
    Foreign { folder: PathBuf, found: String },
    #[error("data-dir {folder}: {source}")]
    Io { folder: PathBuf, source: io::Error },
}

impl DataDir {
    /// Opens or makes the folder. `wal_dir` puts the log on another device (etcd's `--wal-dir`).
    pub fn open(root: &Path, wal_dir: Option<&Path>) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { folder: root.to_owned(), source };
        let member = root.join("member");
        let wal = wal_dir.map_or_else(|| member.join("wal"), Path::to_owned);
        let disk = Disk::default();
        for folder in [&member.join("snap"), &wal] {
            disk.create_folder(folder).map_err(io_error)?;
        }
        refuse_foreign(root, &member, &wal)?;
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("lock"))
            .map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), wal, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Held { folder: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io_error(source)),
        }
    }

    /// Folder of the log's segments.
    pub fn wal(&self) -> &Path {
        &self.wal
    }

    /// Folder of the checkpoints.
    pub fn snap(&self) -> PathBuf {
        self.root.join("member/snap")
    }

    /// Where `bootstrap` keeps who this member is.
    pub fn identity(&self) -> PathBuf {
        self.root.join("member/identity.json")
    }

    /// Folder for small documents of other rooms.
    pub fn member(&self) -> PathBuf {
        self.root.join("member")
    }
}

/// A folder with etcd's own files in it must not be mistaken for an empty one: the member would
/// come up without its data.
fn refuse_foreign(root: &Path, member: &Path, wal: &Path) -> Result<(), OpenError> {
    let foreign = |found: &str| OpenError::Foreign { folder: root.to_owned(), found: found.to_owned() };
    if member.join("snap/db").exists() {
        return Err(foreign("member/snap/db"));
    }
    // etcd names its segments SEQUENCE-INDEX.wal, ours end in .log.
    let names =
        Disk::default().list(wal).map_err(|source| OpenError::Io { folder: wal.to_owned(), source })?;
    match names.iter().find(|name| name.ends_with(".wal")) {
        Some(name) => Err(foreign(name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path(), None).unwrap();
        assert!(matches!(DataDir::open(folder.path(), None), Err(OpenError::Held { .. })));
        drop(first);
        DataDir::open(folder.path(), None).unwrap();
    }

    #[test]
    fn etcds_own_files_are_not_taken_for_an_empty_disk() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("member/snap")).unwrap();
        std::fs::write(folder.path().join("member/snap/db"), "x").unwrap();
        assert!(matches!(DataDir::open(folder.path(), None), Err(OpenError::Foreign { .. })));
    }
}

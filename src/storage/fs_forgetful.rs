//! A file system for tests that forgets what was not synced, page by page, in any order.
//! Folder entries survive a crash only when the folder was synced after they changed. Power may be lost
//! between any two operations: nothing after that has any effect.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;

use super::fs::{File, Fs};

const PAGE_BYTES: usize = 512;

#[derive(Clone, Default)]
pub(crate) struct Forgetful(Arc<Mutex<Names>>);

/// Which names point at which files: as the process sees it, and as it would be after a crash.
#[derive(Default)]
struct Names {
    now: BTreeMap<PathBuf, Arc<Memory>>,
    durable: BTreeMap<PathBuf, Arc<Memory>>,
    /// Syncs left until one fails; `None` never fails.
    syncs_left: Option<usize>,
    /// Changes and syncs left until power is lost; `None` never is.
    operations_left: Option<usize>,
}

#[derive(Default)]
struct Memory {
    bytes: Mutex<Bytes>,
    home: Mutex<Option<Forgetful>>,
}

#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
}

impl Forgetful {
    /// The disk as it may look after power is lost: each page written since its file's last sync is
    /// there or not, by the toss of a coin.
    pub(crate) fn crash(&self, coin: &mut impl Rng) -> Forgetful {
        let after = Forgetful::default();
        let names = self.0.lock();
        let mut survivors = BTreeMap::new();
        for (path, file) in &names.durable {
            let bytes = file.bytes.lock().survivors(coin);
            let file = Memory::default();
            *file.bytes.lock() = Bytes { now: bytes.clone(), durable: bytes };
            *file.home.lock() = Some(after.clone());
            survivors.insert(path.clone(), Arc::new(file));
        }
        *after.0.lock() = Names { now: survivors.clone(), durable: survivors, ..Names::default() };
        after
    }

    /// After so many syncs one fails; those behind it seem to work again, as a real disk's do.
    pub(crate) fn fail_a_sync_after(&self, count: usize) {
        self.0.lock().syncs_left = Some(count);
    }

    /// After so many changes and syncs every one fails without effect.
    pub(crate) fn lose_power_after(&self, count: usize) {
        self.0.lock().operations_left = Some(count);
    }

    pub(crate) fn has_lost_power(&self) -> bool {
        self.0.lock().operations_left == Some(0)
    }

    /// Changes one byte of a file behind everybody's back.
    pub(crate) fn flip(&self, path: &Path, offset: usize) {
        let names = self.0.lock();
        let mut bytes = names.now[path].bytes.lock();
        bytes.now[offset] ^= 0x40;
        bytes.durable = bytes.now.clone();
    }

    fn count_sync(&self) -> io::Result<()> {
        self.count_operation()?;
        let left = &mut self.0.lock().syncs_left;
        if *left == Some(0) {
            *left = None;
            return Err(io::Error::other("disk failed"));
        }
        *left = left.map(|left| left - 1);
        Ok(())
    }

    fn count_operation(&self) -> io::Result<()> {
        let left = &mut self.0.lock().operations_left;
        if *left == Some(0) {
            return Err(io::Error::other("power is lost"));
        }
        *left = left.map(|left| left - 1);
        Ok(())
    }
}

impl Bytes {
    fn survivors(&self, coin: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        bytes.resize(if coin.random() { self.now.len() } else { self.durable.len() }, 0);
        for (page, now) in bytes.chunks_mut(PAGE_BYTES).zip(self.now.chunks(PAGE_BYTES)) {
            if coin.random() {
                let count = page.len().min(now.len());
                page[..count].copy_from_slice(&now[..count]);
            }
        }
        bytes
    }
}

impl Fs for Forgetful {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = self.0.lock();
        let inside = names.now.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.count_operation()?;
        let file = Arc::new(Memory::default());
        *file.home.lock() = Some(self.clone());
        self.0.lock().now.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        match self.0.lock().now.get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn File>),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count_operation()?;
        let mut names = self.0.lock();
        let file = names.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        names.now.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count_operation()?;
        self.0.lock().now.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.count_sync()?;
        let mut names = self.0.lock();
        names.durable.retain(|path, _| path.parent() != Some(folder));
        let inside = names.now.iter().filter(|(path, _)| path.parent() == Some(folder));
        let inside: Vec<_> = inside.map(|(path, file)| (path.clone(), Arc::clone(file))).collect();
        names.durable.extend(inside);
        Ok(())
    }
}

impl File for Memory {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if let Some(home) = &*self.home.lock() {
            home.count_operation()?;
        }
        let mut bytes = self.bytes.lock();
        let end = offset as usize + data.len();
        if bytes.now.len() < end {
            bytes.now.resize(end, 0);
        }
        bytes.now[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes.lock();
        let rest = bytes.now.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().now.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(home) = &*self.home.lock() {
            home.count_sync()?;
        }
        let mut bytes = self.bytes.lock();
        bytes.durable = bytes.now.clone();
        Ok(())
    }
}

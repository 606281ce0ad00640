//! The registry on disk: every change is there before anybody hears of it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::registry::{Done, KeysError, Registry};
use crate::ctl::fail::{Exit, Failure};
use crate::storage::{read_json, write_json_durably};

pub(super) struct Store {
    path: PathBuf,
    registry: Mutex<Registry>,
    /// The index of the newest change, for those who wait.
    index: watch::Sender<u64>,
    /// Held as long as the service runs.
    _lock: File,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotChanged {
    #[error("{0:?}")]
    Keys(KeysError),
    #[error("{0}")]
    Disk(std::io::Error),
}

impl Store {
    /// Opens the folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Store, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("data-dir {}: {error}", folder.display()))
        };
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(failed(&"another registry holds it")),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let path = folder.join("registry.json");
        let registry: Registry = read_json(&path).map_err(|error| failed(&error))?.unwrap_or_default();
        let index = watch::Sender::new(registry.index());
        Ok(Store { path, registry: Mutex::new(registry), index, _lock: lock })
    }

    /// Looks at the registry as it is now.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Registry) -> T) -> T {
        look(&self.registry.lock())
    }

    /// Changes the registry, on disk first. Blocks for a sync. Brings the index after it, too.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<Done, KeysError>,
    ) -> Result<(Done, u64), NotChanged> {
        let mut registry = self.registry.lock();
        let mut changed = registry.clone();
        let done = change(&mut changed).map_err(NotChanged::Keys)?;
        write_json_durably(&self.path, &changed).map_err(NotChanged::Disk)?;
        *registry = changed;
        let index = registry.index();
        self.index.send_replace(index);
        Ok((done, index))
    }

    /// Tells every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::discovery::registry::PrevExist;

    #[test]
    fn what_was_answered_is_there_after_a_restart_and_two_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (_, index) = store.change(|registry| registry.put("/a", "1", PrevExist::MustNot)).unwrap();
        assert!(Store::open(folder.path()).is_err_and(|failure| failure.text.contains("another registry")));
        let refused = store.change(|registry| registry.put("/a", "2", PrevExist::MustNot));
        assert!(matches!(refused, Err(NotChanged::Keys(_))));
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.read(Registry::index), index);
        assert_eq!(store.read(|registry| registry.get("/a", false)).unwrap()["node"]["value"], "1");
    }
}

//! A disk that fails a sync: the member must stop, and must not acknowledge what it may have lost.

use std::path::Path;

use super::*;
use crate::storage::fs::{Disk, File, Fs};

/// The real disk until `broken` is set; then no sync succeeds.
struct Breaking {
    disk: Disk,
    broken: Arc<AtomicBool>,
}

struct BreakingFile {
    file: Arc<dyn File>,
    broken: Arc<AtomicBool>,
}

impl Breaking {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(BreakingFile { file, broken: Arc::clone(&self.broken) })
    }
}

impl Fs for Breaking {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }
}

impl File for BreakingFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(data, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.file.size_bytes()
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.file.sync_data()
    }
}

#[tokio::test]
async fn a_failed_sync_is_a_fault_and_acknowledges_nothing() {
    let mut cluster = TestCluster { members: HashMap::new(), snapshot_count: 1000, timing: TIMING };
    let mut member = TestMember::new(1).await;
    let broken: Arc<AtomicBool> = Arc::default();
    let disk = Breaking { disk: Disk::default(), broken: Arc::clone(&broken) };
    member.start_on(Arc::new(disk), 1000, TIMING);
    let list = vec![member.as_member(false)];
    cluster.members.insert(1, member);
    cluster.handle(1).found(list).await.unwrap();
    cluster.leader().await;
    cluster.put(1, "before").await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let handle = cluster.handle(1).clone();
    tokio::select! {
        answer = handle.propose(put("after")) => panic!("{answer:?}"),
        fault = timeout(PATIENCE, handle.fault()) => assert!(fault.unwrap().0.contains("the disk is gone")),
    }
    handle.shutdown(Duration::ZERO).await;
}

//! The frame of every story: its turn, its folder, its limit in time, and what is shown when it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::process::read_log;
use super::tools::{self, Server};

/// Members cost processor time: with more than this many clusters at once, timings say nothing.
const AT_ONCE: u32 = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE as usize);

/// How much longer a story may take on a machine that others keep busy, too, than on one of its own.
const BUSY: u32 = 5;

/// Lines of each log that a failure shows.
const LINES_SHOWN: usize = 25;

/// Beside what else a story may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Beside one other.
    Shared,
    /// Alone: it measures time.
    Alone,
}

/// Where one story takes place.
pub(crate) struct Bench {
    /// The server under test.
    pub(crate) server: Server,
    name: String,
    folder: TempDir,
    logs: Logs,
    _turn: SemaphorePermit<'static>,
}

/// A folder for the members of one cluster.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) folder: PathBuf,
    logs: Logs,
}

/// The log files that are shown when the story fails.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<PathBuf>>>);

impl Logs {
    /// A file of its own in `folder`.
    fn file(&self, folder: &Path, name: &str) -> PathBuf {
        let mut logs = self.0.lock().expect("no story panics here");
        let path = folder.join(format!("{name}.{}.log", logs.len()));
        logs.push(path.clone());
        path
    }
}

/// Tells one story, in `limit` at most on a machine of its own, counted from its turn.
pub(crate) fn story(turn: Turn, limit: Duration, tell: impl AsyncFnOnce(&Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let permits = if turn == Turn::Alone { AT_ONCE } else { 1 };
        let turn = TURNS.acquire_many(permits).await.expect("turns never end");
        let bench = Bench::new(turn);
        let begun = Instant::now();
        let limit = BUSY * limit;
        if tokio::time::timeout(limit, tell(&bench)).await.is_err() {
            panic!("the story did not end within {limit:?}");
        }
        bench.note(&format!("{:.1} s", begun.elapsed().as_secs_f64()));
    });
}

/// A story about what only our server does; told to another it would prove nothing.
pub(crate) fn our_story(turn: Turn, limit: Duration, tell: impl AsyncFnOnce(&Bench)) {
    if tools::server().is_ours {
        story(turn, limit, tell);
    }
}

impl Bench {
    fn new(turn: SemaphorePermit<'static>) -> Bench {
        let folder = tempfile::Builder::new().prefix("kvorum-test-").tempdir().expect("a folder");
        let name = std::thread::current().name().unwrap_or("story").to_owned();
        Bench { server: tools::server(), name, folder, logs: Logs::default(), _turn: turn }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A log file that is shown when the story fails.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.logs.file(self.folder(), name)
    }

    /// New ground: no other cluster's data lie there.
    pub(crate) fn ground(&self) -> Ground {
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir_in(self.folder());
        // It goes with the story's folder.
        Ground { folder: folder.expect("a folder").keep(), logs: self.logs.clone() }
    }

    /// A measured figure for whoever reads the run.
    pub(crate) fn note(&self, text: &str) {
        // Written past the harness, which would hide it; nobody to write to is no failure.
        let _ = writeln!(std::io::stderr(), "{}: {text}", self.name);
    }
}

impl Ground {
    /// A log file that is shown when the story fails.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.logs.file(&self.folder, name)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Ok(logs) = self.logs.0.lock() else { return };
        for path in logs.iter() {
            let text = read_log(path);
            let lines: Vec<&str> = text.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            self.note(&format!("the end of {}\n{}", path.display(), shown.join("\n")));
        }
    }
}

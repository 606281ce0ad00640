//! One child process whose output goes to a file; it never outlives its handle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::wait::until;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Beside what the test inherited, less every `ETCD_*`.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    /// Output and errors are added at its end.
    pub(crate) log: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(launch: &Launch) -> Process {
        let log = File::options().create(true).append(true).open(&launch.log).expect("the log file opens");
        let mut command = Command::new(&launch.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(&launch.arguments)
            .envs(launch.environment.iter().cloned())
            .current_dir(&launch.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file is shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", launch.program.display()));
        Process { child }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("send {signal:?} to {pid:?}: {error}"));
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    pub(crate) async fn end(&mut self, within: Duration) -> ExitStatus {
        until("the process to end", within, async || self.ended().ok_or_else(|| "it runs".to_owned())).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that ends by itself: its exit code, and all it wrote.
pub(crate) async fn run(launch: &Launch, within: Duration) -> (Option<i32>, String) {
    let status = Process::start(launch).end(within).await;
    (status.code(), read_log(&launch.log))
}

pub(crate) fn read_log(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

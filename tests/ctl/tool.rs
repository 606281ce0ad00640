//! The two tools, run once for one line, with what they wrote.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::story::Step;

const PATIENCE: Duration = Duration::from_secs(30);

/// Real etcdctl or ours under its name.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    path: PathBuf,
}

/// What one run wrote and how it ended; no code when it was ended by the test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) out: Vec<u8>,
    pub(super) err: String,
    pub(super) code: Option<i32>,
}

impl Tool {
    pub(super) fn etcdctl() -> Tool {
        Tool { name: "etcdctl", path: tool("etcdctl") }
    }

    /// Our program, linked as `etcdctl` into `folder`.
    pub(super) fn ours(folder: &Path) -> Tool {
        let path = folder.join("etcdctl");
        if !path.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kvorumctl"), &path).unwrap();
        }
        Tool { name: "ours", path }
    }

    pub(super) fn run(&self, step: &Step, endpoints: Option<&str>) -> Run {
        let mut command = Command::new(&self.path);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCDCTL_"))
        {
            command.env_remove(name);
        }
        if let Some(endpoints) = endpoints.filter(|_| !step.names_endpoints()) {
            command.env("ETCDCTL_ENDPOINTS", endpoints);
        }
        command.args(&step.args).envs(step.env.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _watchdog = Watchdog::over(&child);
        let mut stdin = child.stdin.take();
        // A program that has no use for its input may have ended already.
        let _ = stdin.as_mut().unwrap().write_all(&step.stdin);
        if !step.stdin_stays_open {
            stdin = None;
        }
        if let Some(needle) = &step.until {
            let out = read_until(child.stdout.as_mut().unwrap(), needle);
            child.kill().unwrap();
            child.wait().unwrap();
            return Run { out, err: String::new(), code: None };
        }
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        Run { out: output.stdout, err: String::from_utf8(output.stderr).unwrap(), code: output.status.code() }
    }
}

/// Ends a program that would keep the test for ever; what it has said by then is judged.
struct Watchdog {
    _ends_it: mpsc::Sender<()>,
}

impl Watchdog {
    fn over(child: &Child) -> Watchdog {
        let (sender, receiver) = mpsc::channel::<()>();
        let pid = Pid::from_child(child);
        std::thread::spawn(move || {
            if receiver.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Watchdog { _ends_it: sender }
    }
}

/// Whole lines up to the first that holds `needle`.
fn read_until(out: &mut impl Read, needle: &str) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut byte = [0];
    loop {
        assert_eq!(
            out.read(&mut byte).unwrap(),
            1,
            "{needle:?} never came, only {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.push(byte[0]);
        if byte[0] == b'\n' && String::from_utf8_lossy(&seen).contains(needle) {
            return seen;
        }
    }
}

/// A program that `tests/tools/install.sh` has installed.
pub(super) fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("KVORUM_TOOLS_BIN").map(PathBuf::from).unwrap_or_else(|| {
        Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/kvorum-tools/bin")
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: tests/tools/install.sh installs it", path.display());
    path
}

//! The tools, run once for one line, with what they wrote.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::story::Step;
use crate::common::tools::tool;

/// No line takes longer; the tools themselves give up after five seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real etcdctl, or ours under its name.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    path: PathBuf,
    /// Where it takes the endpoints from when a line names none.
    endpoints: Endpoints,
}

#[derive(Clone, Copy, Debug)]
enum Endpoints {
    Variable,
    /// etcdctl 3.5 moves no leader when they come from the variable: it would shadow its own choice.
    Flag,
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
        Tool { name: "etcdctl", path: tool("etcdctl"), endpoints: Endpoints::Variable }
    }

    pub(super) fn etcdctl_3_5() -> Tool {
        Tool { name: "etcdctl 3.5", path: tool("etcdctl-3.5"), endpoints: Endpoints::Flag }
    }

    /// Our program, linked as `etcdctl` into `folder`.
    pub(super) fn ours(folder: &Path) -> Tool {
        let path = folder.join("etcdctl");
        if !path.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kvorumctl"), &path).expect("the folder is ours");
        }
        Tool { name: "kvorumctl", path, endpoints: Endpoints::Variable }
    }

    pub(super) async fn run(&self, step: &Step, endpoints: Option<&str>) -> Run {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCDCTL_") {
                command.env_remove(name);
            }
        }
        if let Some(endpoints) = endpoints.filter(|_| !step.names_endpoints()) {
            match self.endpoints {
                Endpoints::Variable => command.env("ETCDCTL_ENDPOINTS", endpoints),
                Endpoints::Flag => command.arg(format!("--endpoints={endpoints}")),
            };
        }
        command.args(&step.args).envs(step.env.iter().cloned()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = tokio::time::timeout(PATIENCE, heard(command, step)).await;
        run.unwrap_or_else(|_| panic!("{}: {} does not end", self.name, step.shown()))
    }
}

async fn heard(mut command: Command, step: &Step) -> Run {
    let mut child = command.spawn().expect("the tool starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that has no use for its input may have ended already.
    let _ = stdin.write_all(&step.stdin).await;
    let held_open = step.stdin_stays_open.then_some(stdin);
    if let Some(needle) = &step.until {
        let out = read_until(child.stdout.take().expect("it is piped"), needle).await;
        child.kill().await.expect("it can be ended");
        return Run { out, err: String::new(), code: None };
    }
    let output = child.wait_with_output().await.expect("it can be waited for");
    drop(held_open);
    let err = String::from_utf8(output.stderr).expect("errors are text");
    Run { out: output.stdout, err, code: output.status.code() }
}

/// Whole lines up to the first that holds `needle`.
async fn read_until(out: impl AsyncRead + Unpin, needle: &str) -> Vec<u8> {
    let mut out = BufReader::new(out);
    let mut seen = Vec::new();
    loop {
        let count = out.read_until(b'\n', &mut seen).await.expect("output can be read");
        assert!(count > 0, "{needle:?} never came, only {:?}", String::from_utf8_lossy(&seen));
        if String::from_utf8_lossy(&seen).contains(needle) {
            return seen;
        }
    }
}

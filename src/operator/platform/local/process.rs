//! Child processes: started, watched, told to stop, found again after this program was killed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use super::folder::{self, Folder};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::observed::{Process, ProcessState};
use crate::operator::settings::Settings;

/// A member that has not gone this long after it was told to is killed. Handing over and closing
/// take well under a second.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A process that ran this long did come up; what ended it is not what it was started with.
const CAME_UP_AFTER: Duration = Duration::from_secs(10);

/// The wait before a process that never comes up is tried again doubles from here to the limit.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The members' processes.
#[derive(Clone, Default)]
pub(super) struct Processes {
    entries: Arc<Mutex<BTreeMap<MemberName, Entry>>>,
    /// Something ended.
    pub(super) changed: Arc<Notify>,
}

struct Entry {
    state: State,
    settings: Settings,
    /// Times in a row that it ended without having come up.
    failures: u32,
}

enum State {
    Running { pid: Pid, since: Instant },
    Stopping { pid: Pid },
    Ended { detail: String, again_at: Instant },
}

/// What is written beside a process, to know it by when this program comes back.
#[derive(Serialize, Deserialize)]
struct Note {
    pid: i32,
    settings: Settings,
}

impl Processes {
    /// Takes up processes that an earlier run of this program left behind.
    pub(super) fn find(
        &self,
        folder: &Folder,
        members: impl IntoIterator<Item = MemberName>,
    ) -> io::Result<()> {
        for member in members {
            let Some(note) = folder::read::<Note>(&folder.member(&member).join("process.json"))? else {
                continue;
            };
            let Some((pid, process)) = left_behind(note.pid, folder, &member)? else { continue };
            let state = State::Running { pid, since: Instant::now() };
            self.entries.lock().insert(member.clone(), Entry { state, settings: note.settings, failures: 0 });
            let processes = self.clone();
            // A thread, for it is nobody's child that the runtime could wait for.
            std::thread::spawn(move || {
                let detail = over(&process).err().map(|error| format!("it cannot be waited for: {error}"));
                processes.ended(&member, detail.unwrap_or_else(|| "it ended".to_owned()));
            });
        }
        Ok(())
    }

    pub(super) fn look(&self, addressing: &Addressing) -> BTreeMap<MemberName, Process> {
        let entries = self.entries.lock();
        let processes = entries.iter().map(|(name, entry)| {
            let process = Process {
                state: entry.told(),
                settings: entry.settings.clone(),
                ask_at: matches!(entry.state, State::Running { .. }).then(|| addressing.client_url(name)),
                ready: matches!(entry.state, State::Running { .. }),
                // Clients have the members' addresses; nobody leads them.
                led_away_since: Some(jiff::Timestamp::MIN),
                node: None,
            };
            (name.clone(), process)
        });
        processes.collect()
    }

    /// Starts the member, unless it runs. Its output goes to its log.
    pub(super) fn start(
        &self,
        folder: &Folder,
        member: &MemberName,
        mut command: Command,
        settings: &Settings,
    ) -> io::Result<()> {
        let mut entries = self.entries.lock();
        let failures = match entries.get(member) {
            Some(Entry { state: State::Running { .. } | State::Stopping { .. }, .. }) => return Ok(()),
            Some(ended) => ended.failures,
            None => 0,
        };
        let log = File::options().create(true).append(true).open(folder.member(member).join("log"))?;
        // A group of its own: Ctrl-C on the terminal is for us, and members are told in order.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().map_err(|error| {
            let program = command.as_std().get_program().display().to_string();
            io::Error::new(error.kind(), format!("{program}: {error}"))
        })?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("it ended at once"))?;
        let note = Note { pid: pid.as_raw_nonzero().get(), settings: settings.clone() };
        folder::write(&folder.member(member).join("process.json"), &note)?;
        let state = State::Running { pid, since: Instant::now() };
        entries.insert(member.clone(), Entry { state, settings: settings.clone(), failures });
        tokio::spawn(self.clone().watch(member.clone(), child));
        Ok(())
    }

    async fn watch(self, member: MemberName, mut child: Child) {
        let detail = match child.wait().await {
            Ok(status) => format!("it ended with {status}"),
            Err(error) => format!("it cannot be waited for: {error}"),
        };
        self.ended(&member, detail);
    }

    fn ended(&self, member: &MemberName, detail: String) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get_mut(member) {
            match entry.state {
                State::Running { since, .. } => entry.fail(since.elapsed(), detail),
                State::Stopping { .. } => {
                    entries.remove(member);
                }
                State::Ended { .. } => {}
            }
        }
        drop(entries);
        self.changed.notify_one();
    }

    /// Tells the member to stop; kills it if it does not. One that has ended is forgotten.
    pub(super) fn stop(&self, member: &MemberName) {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(member) else { return };
        let State::Running { pid, .. } = entry.state else {
            if matches!(entry.state, State::Ended { .. }) {
                entries.remove(member);
            }
            return;
        };
        entry.state = State::Stopping { pid };
        signal(pid, Signal::TERM);
        let (processes, member) = (self.clone(), member.clone());
        tokio::spawn(async move {
            tokio::time::sleep(STOP_WITHIN).await;
            let entries = processes.entries.lock();
            let stays = entries
                .get(&member)
                .is_some_and(|entry| matches!(entry.state, State::Stopping { pid: held } if held == pid));
            if stays {
                signal(pid, Signal::KILL);
            }
        });
    }

    /// Stops all members and waits until they are gone. `last`, the leader, is told when the others
    /// are gone: it then has nobody to hand over to, and nobody elects one who is about to go.
    pub(super) async fn stop_all(&self, last: Option<&MemberName>) {
        let members: Vec<_> = self.entries.lock().keys().cloned().collect();
        let (last, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| Some(member) == last);
        others.iter().for_each(|member| self.stop(member));
        self.gone(|held| last.contains(held)).await;
        last.iter().for_each(|member| self.stop(member));
        self.gone(|_| false).await;
    }

    /// Kills all members and waits until they are gone.
    pub(super) async fn kill_all(&self) {
        for entry in self.entries.lock().values() {
            if let State::Running { pid, .. } | State::Stopping { pid } = entry.state {
                signal(pid, Signal::KILL);
            }
        }
        // Now those are told that were not before: nobody makes them again.
        self.stop_all(None).await;
    }

    /// Returns when only members are left that `stay`.
    async fn gone(&self, stay: impl Fn(&MemberName) -> bool) {
        while !self.entries.lock().keys().all(&stay) {
            self.changed.notified().await;
        }
    }
}

impl Entry {
    fn told(&self) -> ProcessState {
        match &self.state {
            State::Running { .. } => ProcessState::Running,
            State::Stopping { .. } => ProcessState::Stopping,
            State::Ended { detail, again_at } if Instant::now() < *again_at => {
                ProcessState::Failing { detail: detail.clone() }
            }
            State::Ended { detail, .. } => ProcessState::Ended { detail: detail.clone() },
        }
    }

    /// It ended by itself. The first time it is made again at once, then after longer and longer.
    fn fail(&mut self, ran: Duration, detail: String) {
        self.failures = if ran >= CAME_UP_AFTER { 0 } else { self.failures + 1 };
        let wait = match self.failures {
            0 | 1 => Duration::ZERO,
            times => (RETRY_FIRST * 2u32.saturating_pow(times - 2)).min(RETRY_MAX),
        };
        self.state = State::Ended { detail, again_at: Instant::now() + wait };
    }
}

/// The member's process of an earlier run, if it is still there and no later one with its number.
fn left_behind(pid: i32, folder: &Folder, member: &MemberName) -> io::Result<Option<(Pid, OwnedFd)>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    // Held first, looked at then: from here on the number means this process.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let data = format!("--data-dir={}", folder.data(member).display());
    let ours = String::from_utf8_lossy(&line).split('\0').any(|argument| argument == data);
    Ok(ours.then_some((pid, process)))
}

/// Returns when all of the process is over, and its files and ports are free.
fn over(process: &OwnedFd) -> Result<(), Errno> {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            ended => return ended.map(drop),
        }
    }
}

/// A process that is gone already needs no signal.
fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, pid = pid.as_raw_nonzero().get(), "signal not delivered");
    }
}

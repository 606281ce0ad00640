//! Members as child processes on loopback, state in a folder, the spec in a file that people edit.
//! The same observe, plan, perform and report as in Kubernetes, with nothing but this program and
//! the server beside it.
//!
//! ```text
//! DIR/cluster.json           what the cluster is, and the spec that was last accepted
//! DIR/status.json            the status, as `kubectl get -o json` would show it
//! DIR/members/NAME/mark.json what is known of the disk from outside
//! DIR/members/NAME/data      the member's own
//! DIR/members/NAME/log       what it printed
//! ```

mod document;
mod folder;
mod process;
mod run;
mod screen;

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::folder::Folder;
use self::process::Processes;
use super::{Event, Platform, PlatformError, Report};
use crate::api::{KvorumClusterStatus, RetentionPolicy};
use crate::operator::arguments::{Place, arguments};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::observed::{DiskMark, Identity, Observed};
use crate::operator::step::{Launch, Step, Surroundings};
use crate::operator::validate::Validated;

pub use run::{Error, Options, run};

/// One cluster on this machine.
struct Local {
    folder: Folder,
    server: PathBuf,
    processes: Processes,
    /// What is to be shown to whoever watches, oldest first.
    news: Mutex<Vec<Event>>,
    /// There is a new status, or news.
    published: Notify,
    status: Mutex<KvorumClusterStatus>,
}

impl Local {
    fn addressing(&self) -> Addressing {
        Addressing::Loopback { base_port: self.folder.cluster().base_port }
    }

    fn start(&self, validated: &Validated, launch: &Launch) -> Result<(), PlatformError> {
        let member = &launch.member;
        self.folder
            .make_disk(member, &launch.mark)
            .map_err(|error| failed("make the disk of", member, error))?;
        let place = Place {
            data: self.folder.data(member).display().to_string(),
            listen_on: None,
            metrics_url: None,
        };
        let arguments = arguments(&self.addressing(), &place, &validated.spec, launch);
        let env = validated.spec.pod.env.iter();
        let env = env.filter_map(|env| Some((env.name.clone(), env.value.clone()?)));
        let mut command = tokio::process::Command::new(&self.server);
        command.args(arguments).envs(env);
        let started = self.processes.start(&self.folder, member, command, &launch.settings);
        started.map_err(|error| failed("start", member, error))
    }

    fn mark(&self, marks: &Surroundings) -> Result<(), PlatformError> {
        for (member, mark) in &marks.marks {
            self.folder
                .write_mark(member, mark)
                .map_err(|error| failed("mark the disk of", member, error))?;
        }
        Ok(())
    }

    fn release(&self, member: &MemberName, policy: RetentionPolicy) -> Result<(), PlatformError> {
        let released = match policy {
            RetentionPolicy::Delete => self.folder.delete_disk(member),
            RetentionPolicy::Retain => self.folder.retire_disk(member),
        };
        released.map_err(|error| failed("release the disk of", member, error))
    }
}

fn failed(doing: &str, member: &MemberName, error: std::io::Error) -> PlatformError {
    PlatformError::new(format!("{doing} {member}"), error)
}

impl Platform for Local {
    /// The marks of the disks.
    type Found = Vec<(MemberName, DiskMark)>;

    async fn observe(&self) -> Result<(Observed, Self::Found), PlatformError> {
        let cluster = self.folder.cluster();
        // Processes first: whatever runs then has its disk.
        let processes = self.processes.look(&self.addressing());
        let disks =
            self.folder.disks().map_err(|error| PlatformError::new("read the members' folders", error))?;
        let marks =
            disks.iter().filter_map(|(name, disk)| Some((name.clone(), disk.mark.clone()?))).collect();
        let name = cluster.name;
        let observed = Observed {
            cluster: Identity { name: name.clone(), namespace: "local".to_owned(), uid: cluster.uid },
            generation: cluster.generation,
            spec: cluster.spec,
            deleting: false,
            status: self.status.lock().clone(),
            now: jiff::Timestamp::now(),
            addressing: self.addressing(),
            processes,
            disks,
            objects_age: Duration::ZERO,
            asked_to_move: cluster.replace.and_then(|member| MemberName::parse(&name, &member)),
            answers: Default::default(),
            linked: None,
        };
        Ok((observed, marks))
    }

    fn drifted(&self, found: &Self::Found, _: &Validated, wanted: &Surroundings) -> Vec<String> {
        let held =
            |name: &MemberName, mark: &DiskMark| found.iter().any(|(at, held)| at == name && held == mark);
        let drifted = wanted.marks.iter().filter(|(name, mark)| !held(name, mark));
        drifted.map(|(name, _)| format!("the mark of the disk of {name}")).collect()
    }

    async fn perform(
        &self,
        step: &Step,
        validated: &Validated,
        observed: &Observed,
        _: &Self::Found,
    ) -> Result<(), PlatformError> {
        match step {
            Step::Apply { surroundings, .. } => self.mark(surroundings),
            Step::Form { launches, .. } => {
                launches.iter().try_for_each(|launch| self.start(validated, launch))
            }
            Step::Start(launch) => self.start(validated, launch),
            Step::Stop { member } => {
                self.processes.stop(member);
                Ok(())
            }
            Step::ReleaseDisk { member, policy } => self.release(member, *policy),
            Step::Dismantle { policy } => {
                observed.processes.keys().for_each(|member| self.processes.stop(member));
                match observed.processes.is_empty() && *policy == RetentionPolicy::Delete {
                    true => observed.disks.keys().try_for_each(|member| self.release(member, *policy)),
                    false => Ok(()),
                }
            }
            // These change the membership, not the platform.
            Step::Nothing
            | Step::AddLearner { .. }
            | Step::Promote { .. }
            | Step::MoveLeader { .. }
            | Step::Remove { .. } => Ok(()),
        }
    }

    async fn publish(&self, report: &Report, _: &Observed) -> Result<(), PlatformError> {
        if *self.status.lock() != report.status {
            let written = self.folder.write_status(&report.status);
            written.map_err(|error| PlatformError::new("write the status", error))?;
            *self.status.lock() = report.status.clone();
        }
        self.news.lock().extend(report.event.clone());
        self.published.notify_one();
        Ok(())
    }
}

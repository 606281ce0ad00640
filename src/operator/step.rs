//! What a pass may do: exactly one [`Step`].
//!
//! Idempotent objects around the members go together in one [`Step::Apply`]. Whatever touches the
//! membership or a running member goes alone. Every step may be performed twice without harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::names::MemberName;
use super::observed::DiskMark;
use super::reason::{Reason, WaitingOn};
use super::settings::Settings;
use crate::api::{OperationKind, RetentionPolicy};
use crate::types::MemberId;

/// What to do now, why, and what it waits for.
#[must_use = "a plan that nobody performs and reports helps nobody"]
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub step: Step,
    pub reason: Reason,
    /// What must come to pass before the next step; `None` when nothing is waited for.
    pub waiting_on: Option<WaitingOn>,
    /// The operation that the step is part of; `None` when there is nothing to do.
    pub operation: Option<OperationKind>,
    /// The member that it is about.
    pub member: Option<MemberName>,
    /// When to look again even if nothing is heard.
    pub check_again_after: Duration,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// There is nothing to do, or what there is to do has to wait.
    Nothing,
    /// Bring the objects around the members to what they should be: Services, the disruption
    /// budget, labels of Pods, marks of disks. `drifted` names those that are not.
    Apply { surroundings: Surroundings, drifted: Vec<String> },
    /// Make all first members at once: the surroundings, then disk and process of each.
    Form { surroundings: Surroundings, launches: Vec<Launch> },
    /// Make the member's process, and its disk if it has none. An ended process of that name is
    /// cleared away first.
    Start(Launch),
    /// Tell the member's process to stop, and let it hand over and close. The disk stays.
    Stop { member: MemberName },
    /// Add the member to the list, as a learner.
    AddLearner { member: MemberName, peer_url: String },
    /// Make the learner a voter.
    Promote { member: MemberName, id: MemberId },
    /// Have the leader hand over.
    MoveLeader { from: MemberName, to: MemberName, to_id: MemberId },
    /// Take the member off the list.
    Remove { member: MemberName, id: MemberId },
    /// The disk of a member that has left: mark it retired, or delete it.
    ReleaseDisk { member: MemberName, policy: RetentionPolicy },
    /// Stop all processes; then delete the disks too, or leave them.
    Dismantle { policy: RetentionPolicy },
}

/// How to start a member.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub member: MemberName,
    pub birth: Birth,
    /// The members and their peer URLs, as `--initial-cluster`; a disk that holds data makes the
    /// server ignore it.
    pub initial_cluster: Vec<(String, String)>,
    /// As `--initial-cluster-token`.
    pub token: String,
    pub settings: Settings,
    /// What is to be written on the disk when it is made.
    pub mark: DiskMark,
}

/// What a member does with an empty disk, as `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// Forms the cluster with the others: `new`.
    Found,
    /// Joins the cluster that it is already listed in: `existing`.
    Join,
}

impl Launch {
    /// The value of `--initial-cluster`.
    pub fn initial_cluster_flag(&self) -> String {
        self.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect::<Vec<_>>().join(",")
    }

    /// The value of `--initial-cluster-state`.
    pub fn initial_cluster_state_flag(&self) -> &'static str {
        match self.birth {
            Birth::Found => "new",
            Birth::Join => "existing",
        }
    }
}

/// What should stand around the members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Deletion of the resource has to wait for the operator, because disks go with it.
    pub finalizer: bool,
    /// The members that vote, as Pods are to be labelled.
    pub voters: BTreeSet<MemberName>,
    /// Of the voters, those that are about to leave: clients are led to the others.
    pub leaving: BTreeSet<MemberName>,
    /// Of the voters' Pods, how many must stay in a voluntary disruption.
    pub min_available: u32,
    /// What each disk should carry.
    pub marks: BTreeMap<MemberName, DiskMark>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Apply { drifted, .. } => write!(f, "bring up to date: {}", drifted.join(", ")),
            Self::Form { launches, .. } => {
                let names: Vec<_> = launches.iter().map(|launch| launch.member.to_string()).collect();
                write!(f, "start {} together", names.join(", "))
            }
            Self::Start(launch) => write!(f, "start {}", launch.member),
            Self::Stop { member } => write!(f, "stop {member}"),
            Self::AddLearner { member, .. } => write!(f, "add {member} as learner"),
            Self::Promote { member, .. } => write!(f, "promote {member}"),
            Self::MoveLeader { from, to, .. } => write!(f, "move leadership from {from} to {to}"),
            Self::Remove { member, .. } => write!(f, "remove {member} from the members"),
            Self::ReleaseDisk { member, policy: RetentionPolicy::Retain } => {
                write!(f, "retire the disk of {member}")
            }
            Self::ReleaseDisk { member, policy: RetentionPolicy::Delete } => {
                write!(f, "delete the disk of {member}")
            }
            Self::Dismantle { policy: RetentionPolicy::Retain } => {
                f.write_str("stop all members, keep their disks")
            }
            Self::Dismantle { policy: RetentionPolicy::Delete } => {
                f.write_str("stop all members, delete their disks")
            }
        }
    }
}

impl Step {
    /// The step's kind in one word, for events and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "Nothing",
            Self::Apply { .. } => "Apply",
            Self::Form { .. } => "Form",
            Self::Start(_) => "Start",
            Self::Stop { .. } => "Stop",
            Self::AddLearner { .. } => "AddLearner",
            Self::Promote { .. } => "Promote",
            Self::MoveLeader { .. } => "MoveLeader",
            Self::Remove { .. } => "Remove",
            Self::ReleaseDisk { .. } => "ReleaseDisk",
            Self::Dismantle { .. } => "Dismantle",
        }
    }
}

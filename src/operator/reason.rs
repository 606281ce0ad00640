//! Why a step is taken and what the next one waits for. Closed enums whose text users see.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::names::{MemberName, REPLACE};

/// How times are told to people.
const TO_THE_SECOND: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Why the plan is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All is as the spec says.
    AsSpecified,
    /// The resource is being deleted.
    Deleting,
    /// `spec.paused` is true.
    Paused,
    /// The cluster has not formed: its first members start together.
    Form { members: usize },
    /// Disks of an earlier cluster of this name are there and make up the whole of it.
    Adopt { members: usize },
    /// Disks of an earlier cluster are there and do not make up the whole of it.
    ForeignDisks { detail: String },
    /// Objects around the members are not what they should be.
    Drift,
    /// Fewer voters serve than it takes to decide anything.
    QuorumLost { healthy: usize, voters: usize },
    /// Members answer for more than one cluster.
    SplitIdentity { detail: String },
    /// A member of the list has no process.
    MemberWithoutProcess { member: MemberName },
    /// A member's process is over and has to be made again.
    ProcessEnded { member: MemberName, detail: String },
    /// A member's process does not come to run with what it was started with, and the spec has
    /// changed since.
    ProcessOutdated { member: MemberName, detail: String },
    /// A process runs whose member is not on the list.
    ProcessWithoutMember { member: MemberName },
    /// The disk of a member is not there.
    DiskMissing { member: MemberName },
    /// A disk is left of a member that has gone.
    DiskWithoutMember { member: MemberName },
    /// A learner has caught up.
    LearnerInStep { member: MemberName },
    /// A learner was added and has not caught up.
    LearnerCatchesUp { member: MemberName },
    /// Fewer members than `spec.replicas`.
    TooFew { have: usize, want: usize },
    /// More members than `spec.replicas`.
    TooMany { have: usize, want: usize },
    /// A member runs with other settings than the spec's.
    SettingsDiffer { member: MemberName, fields: Vec<String> },
    /// The member to be changed next leads, and hands over first.
    LeaderGoesLast { member: MemberName },
    /// The list has members that the operator did not make.
    ForeignMembers { names: Vec<String> },
    /// What was looked at is too old to act on.
    StaleView { age: Duration },
    /// A member has failed and gives way to a new one.
    MemberFailed { member: MemberName, why: String },
    /// A person asks for a member to be moved to a new name and a new disk.
    AskedToMove { member: MemberName },
    /// A member does not serve; nothing else is to be done.
    MemberUnhealthy { members: Vec<MemberName> },
}

/// What has to come to pass first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// These members have to start.
    Starting { members: Vec<MemberName> },
    /// These members' processes have to be gone.
    Stopping { members: Vec<MemberName> },
    /// Clients have to be led to others than these members.
    LedAway { members: Vec<MemberName> },
    /// The learner has to catch up.
    CatchUp { member: MemberName },
    /// These members have to be healthy, so that the step leaves enough of them.
    Health { members: Vec<MemberName>, healthy: usize, needed: usize },
    /// The member has to come back, or it is replaced then.
    Return { member: MemberName, replaced_at: Timestamp },
    /// As many members as may be were replaced within the last hour.
    Budget { per_hour: i32, again_at: Timestamp },
    /// A majority has to come back.
    Quorum,
    /// A member has to answer.
    Answers,
    /// A leader has to be elected.
    Leader,
    /// A member has to be fit to lead in the leader's place.
    Successor { leader: MemberName },
    /// The process has to come to run; it says why it does not.
    Process { member: MemberName, detail: String },
    /// The disk has to be gone.
    DiskLeaving { member: MemberName },
    /// A person has to do something.
    Person { what: String },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsSpecified => f.write_str("the cluster is as the spec says"),
            Self::Deleting => f.write_str("the resource is being deleted"),
            Self::Paused => f.write_str("spec.paused is true: nothing is changed until it is false"),
            Self::Form { members: 1 } => f.write_str("the cluster has not formed: its first member starts"),
            Self::Form { members } => {
                write!(f, "the cluster has not formed: its {members} first members start together")
            }
            Self::Adopt { members } => {
                write!(
                    f,
                    "the disks of all {members} members of an earlier cluster of this name are taken over"
                )
            }
            Self::ForeignDisks { detail } => f.write_str(detail),
            Self::Drift => f.write_str("objects around the members are not what they should be"),
            Self::QuorumLost { healthy, voters } => {
                write!(f, "{healthy} of {voters} voters serve, {} are needed", voters / 2 + 1)
            }
            Self::SplitIdentity { detail } => f.write_str(detail),
            Self::MemberWithoutProcess { member } => write!(f, "{member} is a member and has no process"),
            Self::ProcessEnded { member, detail } => write!(f, "the process of {member} is over: {detail}"),
            Self::ProcessOutdated { member, detail } => {
                write!(f, "{member} does not run ({detail}) and the spec has changed since it was made")
            }
            Self::ProcessWithoutMember { member } => write!(f, "{member} runs and is not a member"),
            Self::DiskMissing { member } => write!(f, "the disk of {member} is not there"),
            Self::DiskWithoutMember { member } => write!(f, "{member} has left and its disk is still there"),
            Self::LearnerInStep { member } => write!(f, "learner {member} is in step"),
            Self::LearnerCatchesUp { member } => write!(f, "learner {member} catches up"),
            Self::TooFew { have, want } => {
                write!(f, "the cluster has {have} members, spec.replicas is {want}")
            }
            Self::TooMany { have, want } => {
                write!(f, "the cluster has {have} members, spec.replicas is {want}")
            }
            Self::SettingsDiffer { member, fields } => {
                write!(f, "{member} runs with another {}", fields.join(", "))
            }
            Self::LeaderGoesLast { member } => write!(f, "{member} is next and leads: it hands over first"),
            Self::ForeignMembers { names } => {
                write!(
                    f,
                    "members that the operator did not make are counted and left alone: {}",
                    names.join(", ")
                )
            }
            Self::StaleView { age } => {
                write!(f, "the operator last saw the objects of the cluster {} s ago", age.as_secs())
            }
            Self::MemberFailed { member, why } => write!(f, "{member} has failed: {why}"),
            Self::AskedToMove { member } => write!(f, "{REPLACE} asks for {member} to be moved"),
            Self::MemberUnhealthy { members } => write!(f, "not healthy: {}", listing(members)),
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { members } => write!(f, "{} to start", listing(members)),
            Self::Stopping { members } => write!(f, "{} to stop", listing(members)),
            Self::LedAway { members } => write!(f, "clients to be led away from {}", listing(members)),
            Self::CatchUp { member } => write!(f, "{member} to catch up"),
            Self::Health { members, healthy, needed } => {
                write!(f, "{} to be healthy: {healthy} voters are, {needed} are needed", listing(members))
            }
            Self::Return { member, replaced_at } => {
                write!(f, "{member} to come back; it is replaced at {}", replaced_at.strftime(TO_THE_SECOND))
            }
            Self::Budget { per_hour, again_at } => {
                let again_at = again_at.strftime(TO_THE_SECOND);
                write!(f, "{again_at}: no more than {per_hour} members are replaced within an hour")
            }
            Self::Quorum => f.write_str("a majority of the voters to serve again"),
            Self::Answers => f.write_str("a member to answer with the list of members"),
            Self::Successor { leader } => {
                write!(f, "a healthy voter in step that can lead in place of {leader}")
            }
            Self::Leader => f.write_str("a leader to be elected"),
            Self::Process { member, detail } => write!(f, "{member} to run: {detail}"),
            Self::DiskLeaving { member } => write!(f, "the disk of {member} to be gone"),
            Self::Person { what } => write!(f, "a person: {what}"),
        }
    }
}

fn listing(members: &[MemberName]) -> String {
    members.iter().map(MemberName::to_string).collect::<Vec<_>>().join(", ")
}

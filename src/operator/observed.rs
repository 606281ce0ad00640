//! Everything the planner may know, as one value, gathered anew in every pass.
//!
//! An error while looking is never written down as absence: when the platform cannot list its
//! processes or disks there is no `Observed` at all, and a member that does not answer is
//! [`Answer::Silent`], which is not the same as gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::{Addressing, MemberName};
use super::settings::Settings;
use crate::api::{KvorumClusterSpec, KvorumClusterStatus};
use crate::types::{ClusterId, LogIndex, MemberId};

/// What one pass found.
#[derive(Clone, Debug)]
pub struct Observed {
    pub cluster: Identity,
    /// The generation of the spec.
    pub generation: i64,
    pub spec: KvorumClusterSpec,
    /// The resource is being deleted.
    pub deleting: bool,
    /// The status that was last published; the default if there is none.
    pub status: KvorumClusterStatus,
    /// When this was gathered.
    pub now: jiff::Timestamp,
    pub addressing: Addressing,
    /// Pods or child processes, by member.
    pub processes: BTreeMap<MemberName, Process>,
    /// Claims or folders, by member.
    pub disks: BTreeMap<MemberName, Disk>,
    /// How old `processes` and `disks` are.
    pub objects_age: Duration,
    /// The member that a person asks to be moved to a new name and a new disk.
    pub asked_to_move: Option<MemberName>,
    /// What each member said that has a process; filled in after the platform has looked.
    pub answers: BTreeMap<MemberName, Answer>,
    /// The members that the leader has contact with; `None` when it was not asked, all being well,
    /// or did not tell.
    pub linked: Option<BTreeSet<MemberId>>,
}

/// Which resource this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub namespace: String,
    /// Tells a resource from a later one of the same name.
    pub uid: String,
}

/// A Pod or a child process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub state: ProcessState,
    /// What it was started with.
    pub settings: Settings,
    /// Where this operator reaches its client port, once that is known.
    pub ask_at: Option<String>,
    /// Clients are led to it. Later than [`ProcessState::Running`] and than its first answer by as
    /// long as the platform takes to notice.
    pub ready: bool,
    /// Since when the platform leads no client to it, whether it is ready or not; `None` while it
    /// does. A platform where clients find members by themselves says: since ever.
    pub led_away_since: Option<jiff::Timestamp>,
    /// The node it runs on.
    pub node: Option<String>,
}

/// How far a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// Made, and on its way to run: being scheduled, its disk attached, its image pulled.
    Starting {
        detail: String,
    },
    Running,
    /// Does not run, and is tried again by whatever runs it: its image cannot be had, it exits
    /// again and again.
    Failing {
        detail: String,
    },
    /// Does not run and will not: it has to be made again.
    Ended {
        detail: String,
    },
    /// Was told to stop and is not gone yet.
    Stopping,
}

impl ProcessState {
    /// It has been told to stop.
    pub fn is_stopping(&self) -> bool {
        *self == Self::Stopping
    }
}

impl Process {
    /// Why it does not run and will not without help; `None` for one that may yet run.
    pub fn down(&self) -> Option<&str> {
        match &self.state {
            ProcessState::Failing { detail } | ProcessState::Ended { detail } => Some(detail),
            ProcessState::Starting { .. } | ProcessState::Running | ProcessState::Stopping => None,
        }
    }
}

/// A claim or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub state: DiskState,
    /// What is written on it; `None` on one that nobody marked.
    pub mark: Option<DiskMark>,
}

/// Whether a disk can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    Usable,
    /// Is being deleted.
    Leaving,
}

impl Disk {
    /// It is being deleted.
    pub fn is_leaving(&self) -> bool {
        self.state == DiskState::Leaving
    }
}

/// What is written on a disk from outside (an annotation, a file beside it), so that it can be
/// understood when nothing else is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskMark {
    /// [`Identity::uid`] of the resource that it was made for, or that took it over.
    pub owner: String,
    /// The cluster it belongs to, once that is formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
    /// The member it belongs to, once that has an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_id: Option<MemberId>,
    /// The ordinals of the whole set of voters when this was last written; of the first members
    /// until the cluster is formed.
    pub voters: BTreeSet<u32>,
    /// The ordinal that the next new member gets, as far as was known; 0 where nobody wrote it.
    #[serde(default)]
    pub next_ordinal: u32,
    /// Its member has failed. When it has left, the disk is kept, whatever becomes of others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Its member has left the cluster; nobody uses it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
}

/// What came back when a member was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Told(Told),
    /// It runs and takes no part, since it does not trust its disk.
    Unfit {
        fault: DiskFault,
        detail: String,
    },
    /// No answer; it may be down, or out of reach from here.
    Silent {
        detail: String,
    },
}

/// What is wrong with a disk that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It is not the one that the member had, or is empty: the others know this member's disk.
    Lost,
    /// It cannot be read as it was written.
    Corrupt,
}

/// What a member says.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// How long ago it was asked.
    pub age: Duration,
    pub cluster: ClusterId,
    pub member: MemberId,
    pub learner: bool,
    /// The leader it follows, or itself.
    pub leader: Option<MemberId>,
    /// It answered a linearizable request: it has heard from a majority just now. A learner
    /// cannot be asked that way and is healthy when it follows a leader.
    pub healthy: bool,
    pub version: String,
    /// The last entry it has in its log, and the last it has applied.
    pub last: LogIndex,
    pub applied: LogIndex,
    /// The list of members, when it could vouch for it (linearizable).
    pub list: Option<MemberList>,
}

/// The members as the cluster itself lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberList {
    pub members: Vec<Listed>,
    /// Where in the log it last changed; a change that was decided on it is refused when it has
    /// moved since. Only members of ours tell.
    pub seen: Option<LogIndex>,
}

/// One entry of the list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: MemberId,
    /// Empty until the member has started for the first time.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub learner: bool,
}

impl Listed {
    /// Whether the member has ever started.
    pub fn started(&self) -> bool {
        !self.name.is_empty()
    }
}

impl Observed {
    /// The member of that ordinal.
    pub fn member(&self, ordinal: u32) -> MemberName {
        MemberName::new(&self.cluster.name, ordinal)
    }

    /// The cluster's identity by everything that remembers it, the members first: what they say
    /// is, the rest was. A cluster for which this is known is formed, for ever.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        let told = self.told().map(|(_, told)| told.cluster).next();
        let status = || self.status.cluster_id.as_deref().and_then(|id| id.parse().ok());
        let marks = || self.disks.values().filter_map(|disk| disk.mark.as_ref()).filter(|mark| !mark.retired);
        let marked = || marks().find_map(|mark| mark.cluster_id);
        told.or_else(status).or_else(marked)
    }

    /// The disk is in use by this cluster, or was made for it and nobody came to write so down
    /// since the cluster formed.
    pub fn is_in_use(&self, mark: &DiskMark) -> bool {
        let cluster = self.cluster_id();
        let belongs = match mark.cluster_id {
            Some(id) => cluster == Some(id),
            None => mark.owner == self.cluster.uid,
        };
        belongs && !mark.retired
    }

    /// The members that answered, with what they said.
    pub fn told(&self) -> impl Iterator<Item = (&MemberName, &Told)> {
        self.answers.iter().filter_map(|(name, answer)| match answer {
            Answer::Told(told) => Some((name, told)),
            Answer::Unfit { .. } | Answer::Silent { .. } => None,
        })
    }

    /// What this member said.
    pub fn told_by(&self, name: &MemberName) -> Option<&Told> {
        match self.answers.get(name)? {
            Answer::Told(told) => Some(told),
            Answer::Unfit { .. } | Answer::Silent { .. } => None,
        }
    }

    /// The list of members that some member vouches for; the leader's if it can be had.
    pub fn list(&self) -> Option<&MemberList> {
        let leads = |told: &Told| told.leader == Some(told.member);
        let vouched = || self.told().filter(|(_, told)| told.healthy && told.list.is_some());
        vouched().find(|(_, told)| leads(told)).or_else(|| vouched().next())?.1.list.as_ref()
    }

    /// One above every member, process and disk that is or was there.
    pub fn next_ordinal(&self) -> u32 {
        let objects = self.processes.keys().chain(self.disks.keys()).map(MemberName::ordinal);
        let listed = self.list().into_iter().flat_map(|list| &list.members);
        let listed = listed.filter_map(|member| self.name_of(member)).map(|name| name.ordinal());
        let marked = self.disks.values().filter_map(|disk| disk.mark.as_ref());
        let latched = marked.clone().map(|mark| mark.next_ordinal).max().unwrap_or(0);
        let marked = marked.flat_map(|mark| mark.voters.iter().copied());
        let above = objects.chain(listed).chain(marked).max().map_or(0, |ordinal| ordinal + 1);
        above.max(latched).max(u32::try_from(self.status.next_ordinal).unwrap_or(0))
    }

    /// The name of a listed member that the operator made; `None` for one with a peer URL that is
    /// not ours.
    pub fn name_of(&self, listed: &Listed) -> Option<MemberName> {
        match listed.peer_urls.as_slice() {
            [url] => self.addressing.member_at(&self.cluster.name, url),
            _ => None,
        }
    }
}

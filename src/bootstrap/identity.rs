//! Who this member is, as its disk says it, and whom it has met. Written before anybody is told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids;
use super::initial_cluster::InitialCluster;
use crate::flags::HostUrl;
use crate::membership::Member;
use crate::types::{ClusterId, MemberId};

/// What the server starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub me: MemberId,
    pub cluster: ClusterId,
    /// The members to found the cluster with, the same list on each of them; None for one who joins.
    pub founders: Option<Vec<Member>>,
}

/// One life of a member's disk. A disk that was wiped comes back with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Nonce(pub u64);

/// `member/identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(with = "hex")]
    pub me: MemberId,
    #[serde(with = "hex")]
    pub cluster: ClusterId,
    pub name: String,
    #[serde(with = "hex")]
    pub nonce: Nonce,
    #[serde(flatten)]
    pub stage: Stage,
    /// Every member that was ever met under this cluster's name. Never forgotten.
    pub seen: Vec<Seen>,
}

/// A cluster's beginning, the same on all its founders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Formation {
    pub founders: Vec<Member>,
    /// The disks on which it was formed. Whoever comes under a founder's ID with another one is not it.
    pub disks: Vec<Seen>,
}

/// How far this member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub(super) enum Stage {
    /// Registers at a discovery service under this token; the cluster is not known yet.
    Discovering { token: String },
    /// Waits until all members of the plan have met.
    Founding { plan: Plan },
    /// Listed by a running cluster, not yet noted by enough of its members.
    Joining,
    /// Belongs to the cluster.
    Member { founders: Option<Vec<Member>> },
}

/// A member that was met, in one life of its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    #[serde(with = "hex")]
    pub member: MemberId,
    #[serde(with = "hex")]
    pub nonce: Nonce,
    pub name: String,
    /// Disks of this member that were met before this one, and are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Nonce>,
    /// Whether this disk took another one's place after everybody had been met.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_late: bool,
}

impl Seen {
    /// Met for the first time.
    pub(super) fn first(member: MemberId, nonce: Nonce, name: &str) -> Seen {
        Seen { member, nonce, name: name.to_owned(), replaced: Vec::new(), is_late: false }
    }
}

/// Lies in the log's folder and says whose log it is: it shows when one of the two was wiped or swapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    #[serde(with = "hex")]
    pub member: MemberId,
    #[serde(with = "hex")]
    pub nonce: Nonce,
}

/// The members that a new cluster is to begin with. Two plans are the same when token and peer URLs are:
/// names are what each member calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    pub token: String,
    /// Sorted by ID.
    pub members: Vec<Planned>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    #[serde(with = "hex")]
    pub id: MemberId,
    pub peer_urls: Vec<HostUrl>,
}

impl Plan {
    pub(super) fn new(cluster: &InitialCluster, token: &str) -> Plan {
        let mut members: Vec<Planned> = cluster
            .iter()
            .map(|(_, urls)| Planned { id: ids::member_id(urls, token), peer_urls: urls.to_vec() })
            .collect();
        members.sort_by_key(|member| member.id);
        Plan { token: token.to_owned(), members }
    }

    pub(super) fn cluster(&self) -> ClusterId {
        ids::cluster_id(self.members.iter().map(|member| member.id))
    }

    /// Everybody in it but this member.
    pub(super) fn others(&self, me: MemberId) -> impl Iterator<Item = &Planned> {
        self.members.iter().filter(move |member| member.id != me)
    }
}

impl fmt::Display for Plan {
    /// For people who compare two of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> =
            self.members.iter().flat_map(|member| &member.peer_urls).map(HostUrl::as_str).collect();
        write!(f, "token {:?} and {} members at {}", self.token, self.members.len(), urls.join(","))
    }
}

impl Document {
    /// A member that begins to register at a discovery service, on an empty disk.
    pub(super) fn discovering(token: String, me: MemberId, name: String, nonce: Nonce) -> Document {
        let stage = Stage::Discovering { token };
        Document { me, cluster: ClusterId(0), name, nonce, stage, seen: Vec::new() }
    }

    /// A member that begins to found a cluster on an empty disk.
    pub(super) fn founding(plan: Plan, me: MemberId, name: String, nonce: Nonce) -> Document {
        Document {
            me,
            cluster: plan.cluster(),
            name,
            nonce,
            stage: Stage::Founding { plan },
            seen: Vec::new(),
        }
    }

    /// A member that a running cluster lists and that has never started.
    pub(super) fn joining(cluster: ClusterId, me: MemberId, name: String, nonce: Nonce) -> Document {
        Document { me, cluster, name, nonce, stage: Stage::Joining, seen: Vec::new() }
    }

    /// The same member, belonging to its cluster from now on.
    pub(super) fn settled(&self, founders: Option<Vec<Member>>) -> Document {
        Document { stage: Stage::Member { founders }, ..self.clone() }
    }

    /// The same member as a founder, and from now on with the same notes of the founders' disks as every
    /// other founder.
    pub(super) fn formed(&self, formation: &Formation) -> Document {
        let seen = formation.disks.iter().filter(|disk| disk.member != self.me).cloned().collect();
        Document { seen, ..self.settled(Some(formation.founders.clone())) }
    }

    /// Every disk that this member knows of, its own among them.
    pub(super) fn disks(&self) -> Vec<Seen> {
        let own = Seen::first(self.me, self.nonce, &self.name);
        self.seen.iter().cloned().chain([own]).collect()
    }

    /// None until the member belongs to a cluster.
    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.stage {
            Stage::Member { founders } => {
                Some(Identity { me: self.me, cluster: self.cluster, founders: founders.clone() })
            }
            Stage::Discovering { .. } | Stage::Founding { .. } | Stage::Joining => None,
        }
    }

    pub(super) fn owner(&self) -> Owner {
        Owner { member: self.me, nonce: self.nonce }
    }

    pub(super) fn seen(&self, member: MemberId) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.member == member)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> String {
        nonce.to_string()
    }
}

impl TryFrom<String> for Nonce {
    type Error = std::num::ParseIntError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Nonce {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Nonce)
    }
}

/// IDs as people and etcd write them, in hex.
pub(super) mod hex {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::bootstrap) fn serialize<T: Display, S: Serializer>(
        id: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(in crate::bootstrap) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

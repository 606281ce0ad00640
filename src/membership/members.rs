//! The member list as the log has made it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Change, Member, Refusal};
use crate::types::{LogIndex, MemberId};

/// Who belongs to the cluster, and who did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Members {
    members: BTreeMap<MemberId, Member>,
    /// Remembered for ever: a removed identity never comes back.
    removed: BTreeSet<MemberId>,
    changed_at: LogIndex,
}

/// How a checkpoint holds it.
#[derive(Serialize, Deserialize)]
struct Stored {
    members: Vec<Member>,
    removed: BTreeSet<MemberId>,
    changed_at: LogIndex,
}

impl From<Stored> for Members {
    fn from(stored: Stored) -> Self {
        let members = stored.members.into_iter().map(|member| (member.id, member)).collect();
        Members { members, removed: stored.removed, changed_at: stored.changed_at }
    }
}

impl From<Members> for Stored {
    fn from(members: Members) -> Self {
        let Members { members, removed, changed_at } = members;
        Stored { members: members.into_values().collect(), removed, changed_at }
    }
}

impl Members {
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Every member, in order of identity.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Every member, in order of identity.
    pub fn to_vec(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| !member.is_learner)
    }

    pub fn learners(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.is_learner)
    }

    /// Whether this identity once belonged to the cluster and does no more.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    pub fn removed(&self) -> impl Iterator<Item = MemberId> {
        self.removed.iter().copied()
    }

    /// The log index of the last change of who belongs or of a member's peer URLs; 0 before the first.
    pub fn changed_at(&self) -> LogIndex {
        self.changed_at
    }

    /// Whether a change fits the list as it is (etcd: `ValidateConfigurationChange`).
    /// Strict reconfiguration comes on top of it, see [`super::rules`].
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn validate(&self, change: &Change, learners_max: usize) -> Result<(), Refusal> {
        match change {
            Change::Add(member) => self.validate_add(member, learners_max),
            Change::Promote(id) => match self.known(*id)?.is_learner {
                true => Ok(()),
                false => Err(Refusal::NotLearner),
            },
            Change::Remove(id) => self.known(*id).map(drop),
        }
    }

    fn validate_add(&self, member: &Member, learners_max: usize) -> Result<(), Refusal> {
        if self.is_removed(member.id) {
            return Err(Refusal::NotFound);
        }
        if self.members.contains_key(&member.id) {
            return Err(Refusal::IdExists);
        }
        self.validate_peer_urls(member.id, &member.peer_urls)?;
        if member.is_learner && self.learners().count() >= learners_max {
            return Err(Refusal::TooManyLearners);
        }
        Ok(())
    }

    fn validate_peer_urls(&self, of: MemberId, peer_urls: &[String]) -> Result<(), Refusal> {
        let mut others = self.iter().filter(|member| member.id != of).flat_map(|member| &member.peer_urls);
        if others.any(|url| peer_urls.contains(url)) { Err(Refusal::PeerUrlsExist) } else { Ok(()) }
    }

    /// The member, unless it was removed or never was.
    fn known(&self, id: MemberId) -> Result<&Member, Refusal> {
        self.members.get(&id).ok_or(Refusal::NotFound)
    }

    /// Takes over the membership that an entry of the log made. Of members that are known already only the
    /// role comes from it: their names and URLs may have changed since the entry was written.
    pub(crate) fn replace(&mut self, at: LogIndex, list: Vec<Member>) {
        let mut before = std::mem::take(&mut self.members);
        let roles = |of: &BTreeMap<MemberId, Member>| -> Vec<(MemberId, bool)> {
            of.values().map(|member| (member.id, member.is_learner)).collect()
        };
        let roles_before = roles(&before);
        for member in list {
            let known = before.remove(&member.id);
            let member = match known {
                Some(known) => Member { is_learner: member.is_learner, ..known },
                None => member,
            };
            self.members.insert(member.id, member);
        }
        self.removed.extend(before.into_keys());
        // A member that only began to vote, as it was to, changes nothing that a caller could have decided on.
        if roles(&self.members) != roles_before {
            self.changed_at = at;
        }
    }

    /// A member said its name and client URLs.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a member that was removed or never was.
    pub(crate) fn publish(
        &mut self,
        id: MemberId,
        name: String,
        client_urls: Vec<String>,
    ) -> Result<(), Refusal> {
        let member = self.members.get_mut(&id).ok_or(Refusal::NotFound)?;
        member.name = name;
        member.client_urls = client_urls;
        Ok(())
    }

    /// Changes a member's peer URLs, and nothing else of it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::PeerUrlsExist`] when another member has one of them.
    pub(crate) fn update(
        &mut self,
        at: LogIndex,
        id: MemberId,
        peer_urls: Vec<String>,
    ) -> Result<(), Refusal> {
        self.known(id)?;
        self.validate_peer_urls(id, &peer_urls)?;
        if let Some(member) = self.members.get_mut(&id) {
            member.peer_urls = peer_urls;
        }
        self.changed_at = at;
        Ok(())
    }
}

//! The founding handshake, pure: what a member answers to another, and what it makes of the answers.
//!
//! What always holds:
//! 1. A member notes durably whom it met, with the nonce of that member's disk, before it answers.
//! 2. When a member forms the cluster, all members have noted each other, every pair both ways and with the
//!    same nonces: each answer tells whom its sender has met. A round of answers counts only if the member's own
//!    notes are the same when it forms as when the round began.
//! 3. A member that hears from a formed one that it was noted there (same nonce) forms as well: by 2 it is one
//!    of those who met. It takes over that one's notes, so that all who have formed hold the same.
//! 4. A member whose disk was wiped has another nonce. Whoever has formed says so, and it stays out.
//! 5. Whoever has not formed takes the new disk in place of the old one, which never comes back: a disk may die
//!    before the formation. Since forming takes the word of everybody, that helps only while all others are
//!    unformed. It is refused once a majority of the disks is new since all had met: they may have formed
//!    a cluster, written to it, and been lost, and nobody would be left to tell.
//!
//! So no two clusters are formed while a disk of the first is left; and where only disks that have formed are
//! lost, they were too few to have taken a write.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{Document, Formation, Nonce, Plan, Seen, Stage, hex};
use crate::membership::Member;
use crate::types::{ClusterId, MemberId};

/// What a member tells another of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hello {
    #[serde(with = "hex")]
    pub cluster: ClusterId,
    #[serde(with = "hex")]
    pub from: MemberId,
    #[serde(with = "hex")]
    pub nonce: Nonce,
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Whom the sender believes to be here.
    #[serde(with = "hex")]
    pub to: MemberId,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Purpose {
    Found,
    /// The cluster's list holds me as never started.
    Join,
}

/// What the other one answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub(super) enum Answer {
    /// You are durably noted; nothing is formed here yet.
    Noted {
        #[serde(with = "hex")]
        nonce: Nonce,
        name: String,
        /// Everybody whom the sender has noted.
        seen: Vec<Seen>,
    },
    /// The cluster is formed, on these disks, and you are one of its founders with this very disk.
    Formed { founders: Vec<Member>, disks: Vec<Seen> },
    /// The cluster is formed; its list holds a member with your URLs that has never started.
    Invited {
        #[serde(with = "hex")]
        cluster: ClusterId,
        #[serde(with = "hex")]
        member: MemberId,
    },
    /// You are durably noted as joining.
    Welcome,
    /// You were met before, with another disk.
    SeenBefore { formed: bool },
    /// The cluster is formed without you.
    NotListed {
        #[serde(with = "hex")]
        cluster: ClusterId,
    },
    /// Another cluster is to be founded here.
    OtherPlan { plan: String },
    /// The member here is not the one you look for.
    OtherMember {
        #[serde(with = "hex")]
        member: MemberId,
    },
    /// Cannot say yet.
    NotReady { because: String },
}

/// What came back from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Said(Answer),
    /// No answer, and why.
    Silence(String),
}

/// What a founding member does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everybody has met: begin, if the notes are still the same.
    Form(Formation),
    /// The cluster exists and knows this disk: begin as it did.
    Follow(Formation),
    /// A cluster is running and waits for a member at these URLs.
    Join {
        cluster: ClusterId,
        me: MemberId,
    },
    /// Nothing may be founded; who says so, and why.
    StayOut(Vec<Missing>),
    Wait(Vec<Missing>),
}

/// A peer that stands between this member and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub member: MemberId,
    pub because: String,
}

/// What a member answers to `hello`, and what it writes down before it does.
/// `live` is the member list where the cluster runs.
pub(super) fn answer(mine: &Document, live: Option<&[Member]>, hello: &Hello) -> (Answer, Option<Document>) {
    if hello.to != mine.me && hello.cluster == mine.cluster {
        return (Answer::OtherMember { member: mine.me }, None);
    }
    match (&mine.stage, hello.purpose) {
        (Stage::Discovering { .. }, _) => {
            (not_ready("it waits until the discovery service lists all members"), None)
        }
        (Stage::Joining, _) => (not_ready("it waits to join a running cluster itself"), None),
        (Stage::Founding { .. }, Purpose::Join) => (not_ready("its cluster is not formed yet"), None),
        (Stage::Founding { plan }, Purpose::Found) if hello.cluster != mine.cluster => {
            (Answer::OtherPlan { plan: plan.to_string() }, None)
        }
        (Stage::Founding { plan }, Purpose::Found) => answer_founder(mine, plan, hello),
        (Stage::Member { founders }, Purpose::Found) => {
            let founders = founders.as_deref().unwrap_or_default();
            (answer_from_cluster(mine, founders, live, hello), None)
        }
        (Stage::Member { .. }, Purpose::Join) => answer_joining(mine, live, hello),
    }
}

fn not_ready(because: &str) -> Answer {
    Answer::NotReady { because: because.to_owned() }
}

/// Nothing is formed here. The one place that decides whether a disk that was wiped before the cluster was
/// formed may come back.
fn answer_founder(mine: &Document, plan: &Plan, hello: &Hello) -> (Answer, Option<Document>) {
    let noted = |document: &Document| Answer::Noted {
        nonce: document.nonce,
        name: document.name.clone(),
        seen: document.seen.clone(),
    };
    match mine.seen(hello.from) {
        Some(seen) if seen.nonce == hello.nonce => (noted(mine), None),
        // A word of a disk that is gone, come late.
        Some(seen) if seen.replaced.contains(&hello.nonce) => (Answer::SeenBefore { formed: false }, None),
        Some(_) if !may_replace(mine, plan, hello.from) => (Answer::SeenBefore { formed: false }, None),
        Some(_) => {
            let document = replace(mine, hello, has_met_all(mine, plan));
            (noted(&document), Some(document))
        }
        None => {
            let document = note(mine, hello);
            (noted(&document), Some(document))
        }
    }
}

fn has_met_all(mine: &Document, plan: &Plan) -> bool {
    plan.others(mine.me).all(|planned| mine.seen(planned.id).is_some())
}

/// Whether a new disk may take the place of the one that was noted, as far as this unformed member can tell.
fn may_replace(mine: &Document, plan: &Plan, from: MemberId) -> bool {
    let is_late = |seen: &&Seen| seen.member == from || seen.is_late;
    let late = plan.others(mine.me).filter_map(|planned| mine.seen(planned.id)).filter(is_late).count();
    // Forming takes this member's note of everybody: nobody can have formed before it was complete.
    !has_met_all(mine, plan) || late < plan.members.len() / 2 + 1
}

fn note(mine: &Document, hello: &Hello) -> Document {
    let mut document = mine.clone();
    document.seen.push(Seen::first(hello.from, hello.nonce, &hello.name));
    document
}

/// Notes a new disk of a member that was met with another one.
fn replace(mine: &Document, hello: &Hello, is_late: bool) -> Document {
    let mut document = mine.clone();
    for seen in document.seen.iter_mut().filter(|seen| seen.member == hello.from) {
        seen.replaced.push(seen.nonce);
        seen.nonce = hello.nonce;
        seen.name.clone_from(&hello.name);
        seen.is_late |= is_late;
    }
    document
}

/// The cluster exists: founders that were here at its founding belong to it, others only when they are listed
/// as never started.
fn answer_from_cluster(
    mine: &Document,
    founders: &[Member],
    live: Option<&[Member]>,
    hello: &Hello,
) -> Answer {
    let same_disk = mine.seen(hello.from).is_some_and(|seen| seen.nonce == hello.nonce);
    if hello.cluster == mine.cluster && same_disk && !founders.is_empty() {
        return Answer::Formed { founders: founders.to_vec(), disks: mine.disks() };
    }
    let Some(live) = live else { return not_ready("it belongs to a cluster and is starting") };
    let same_urls = |member: &&Member| {
        let mut urls = member.peer_urls.clone();
        urls.sort();
        urls == hello.peer_urls
    };
    match live.iter().find(same_urls) {
        Some(member) if !member.has_started() && mine.seen(member.id).is_none() => {
            Answer::Invited { cluster: mine.cluster, member: member.id }
        }
        Some(_) => Answer::SeenBefore { formed: true },
        None => Answer::NotListed { cluster: mine.cluster },
    }
}

fn answer_joining(mine: &Document, live: Option<&[Member]>, hello: &Hello) -> (Answer, Option<Document>) {
    if hello.cluster != mine.cluster {
        return (Answer::NotListed { cluster: mine.cluster }, None);
    }
    let Some(live) = live else { return (not_ready("it is starting"), None) };
    let Some(member) = live.iter().find(|member| member.id == hello.from) else {
        return (Answer::NotListed { cluster: mine.cluster }, None);
    };
    match mine.seen(hello.from) {
        Some(seen) if seen.nonce == hello.nonce => (Answer::Welcome, None),
        Some(_) => (Answer::SeenBefore { formed: true }, None),
        None if member.has_started() => (Answer::SeenBefore { formed: true }, None),
        None => (Answer::Welcome, Some(note(mine, hello))),
    }
}

/// What this member writes down of an answer, before it draws conclusions from it.
pub(super) fn learn(mine: &Document, from: MemberId, answer: &Answer) -> Option<Document> {
    match answer {
        Answer::Noted { nonce, name, .. } if mine.seen(from).is_none() => {
            let mut document = mine.clone();
            document.seen.push(Seen::first(from, *nonce, name));
            Some(document)
        }
        _ => None,
    }
}

/// What a founding member makes of all it heard, the newest word of each.
pub(super) fn judge(mine: &Document, plan: &Plan, heard: &BTreeMap<MemberId, Heard>) -> Verdict {
    for said in heard.values() {
        match said {
            Heard::Said(Answer::Formed { founders, disks }) => {
                return Verdict::Follow(Formation { founders: founders.clone(), disks: disks.clone() });
            }
            Heard::Said(Answer::Invited { cluster, member }) => {
                return Verdict::Join { cluster: *cluster, me: *member };
            }
            _ => {}
        }
    }
    let everybody: Vec<MemberId> = plan.members.iter().map(|member| member.id).collect();
    let missing: Vec<(Missing, bool)> = plan
        .others(mine.me)
        .filter_map(|peer| {
            let (because, forbids) = objection(mine, peer.id, heard.get(&peer.id), &everybody)?;
            Some((Missing { member: peer.id, because }, forbids))
        })
        .collect();
    let forbidden = missing.iter().any(|(_, forbids)| *forbids);
    let missing: Vec<Missing> = missing.into_iter().map(|(missing, _)| missing).collect();
    match missing.is_empty() {
        true => Verdict::Form(Formation { founders: founders(mine, plan), disks: mine.disks() }),
        false if forbidden => Verdict::StayOut(missing),
        false => Verdict::Wait(missing),
    }
}

/// What a peer's word holds against going on, and whether it forbids it; None: the peer is ready.
/// `everybody` must have met everybody; empty for one who joins.
fn objection(
    mine: &Document,
    peer: MemberId,
    heard: Option<&Heard>,
    everybody: &[MemberId],
) -> Option<(String, bool)> {
    let said = match heard {
        None => return Some(("it was not asked yet".to_owned(), false)),
        Some(Heard::Silence(why)) => return Some((format!("no answer: {why}"), false)),
        Some(Heard::Said(said)) => said,
    };
    Some(match said {
        Answer::Noted { nonce, seen, .. } => match mine.seen(peer) {
            Some(met) if met.nonce == *nonce => return not_met(mine, peer, seen, everybody),
            _ => ("it lost its disk since it was met".to_owned(), false),
        },
        Answer::SeenBefore { formed: true } => {
            let text = "it belongs to the cluster and knows this member with another disk: this disk was lost or \
                        wiped. Remove this member from the cluster and add it again";
            (text.to_owned(), true)
        }
        Answer::SeenBefore { formed: false } => {
            let text = "it has met this member before, with another disk: this disk was lost or wiped, and so many \
                        others are new that a cluster may have been formed and lost. Start all members anew with \
                        empty folders and another --initial-cluster-token";
            (text.to_owned(), true)
        }
        Answer::NotListed { cluster } => {
            (format!("it belongs to cluster {cluster}, which does not list this member"), true)
        }
        Answer::OtherPlan { plan } => (format!("it founds another cluster, with {plan}"), false),
        Answer::OtherMember { member } => (format!("member {member} answers at its URL"), false),
        Answer::NotReady { because } => (because.clone(), false),
        Answer::Welcome | Answer::Formed { .. } | Answer::Invited { .. } => {
            ("it answered something else than was asked".to_owned(), false)
        }
    })
}

/// Whom a peer has not met, or met with another disk than this member did.
fn not_met(mine: &Document, peer: MemberId, seen: &[Seen], everybody: &[MemberId]) -> Option<(String, bool)> {
    for other in everybody.iter().filter(|other| **other != peer) {
        let (name, expected) = match mine.seen(*other) {
            Some(met) => (met.name.as_str(), met.nonce),
            None if *other == mine.me => ("this member", mine.nonce),
            // Whom this member has not met itself stands in its way by itself.
            None => continue,
        };
        match seen.iter().find(|met| met.member == *other) {
            Some(met) if met.nonce == expected => {}
            Some(_) => return Some((format!("it has met {name} with another disk"), false)),
            None => return Some((format!("it has not met {name} yet"), false)),
        }
    }
    None
}

/// The list that every founder begins with: the same on each, since each one's name is what it told everybody.
fn founders(mine: &Document, plan: &Plan) -> Vec<Member> {
    let name = |id: MemberId| match mine.seen(id) {
        Some(seen) => seen.name.clone(),
        None => mine.name.clone(),
    };
    plan.members
        .iter()
        .map(|planned| Member {
            id: planned.id,
            name: name(planned.id),
            peer_urls: planned.peer_urls.iter().map(ToString::to_string).collect(),
            client_urls: Vec::new(),
            is_learner: false,
        })
        .collect()
}

/// What a joining member makes of the answers of the cluster's other members: enough of their voters must
/// have noted it that a second disk under the same ID would be noticed.
pub(super) fn judge_joining(mine: &Document, list: &[Member], heard: &BTreeMap<MemberId, Heard>) -> Verdict {
    let voters: Vec<&Member> =
        list.iter().filter(|member| member.id != mine.me && !member.is_learner).collect();
    let welcomed = voters
        .iter()
        .filter(|voter| matches!(heard.get(&voter.id), Some(Heard::Said(Answer::Welcome))))
        .count();
    let objections: Vec<(Missing, bool)> = voters
        .iter()
        .filter(|voter| !matches!(heard.get(&voter.id), Some(Heard::Said(Answer::Welcome))))
        .filter_map(|voter| {
            let (because, forbids) = objection(mine, voter.id, heard.get(&voter.id), &[])?;
            Some((Missing { member: voter.id, because }, forbids))
        })
        .collect();
    let forbidden = objections.iter().any(|(_, forbids)| *forbids);
    let missing: Vec<Missing> = objections.into_iter().map(|(missing, _)| missing).collect();
    match forbidden {
        true => Verdict::StayOut(missing),
        false if welcomed > voters.len() / 2 => Verdict::Join { cluster: mine.cluster, me: mine.me },
        false => Verdict::Wait(missing),
    }
}

#[cfg(test)]
mod tests;

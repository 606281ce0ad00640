//! What a registry holds under a token, and what that means for one who registers; pure.

use std::fmt;
use std::time::Duration;

use crate::bootstrap::initial_cluster::InitialCluster;
use crate::flags::{Scheme, TLS_LATER};
use crate::types::MemberId;

/// All that is registered under one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bootstrap) struct Roster {
    /// How many members the cluster begins with.
    pub size: usize,
    /// In the order in which they were registered.
    pub entries: Vec<Entry>,
    /// The registry's own count of changes at the time of the reading.
    pub index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bootstrap) struct Entry {
    /// As the registry spells it: a member ID in hex.
    pub id: String,
    /// `name=url,name=url`.
    pub value: String,
}

/// This member's own entry.
#[derive(Clone, Debug)]
pub(in crate::bootstrap) struct Own {
    pub id: MemberId,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Register,
    Wait { found: usize },
    Complete(InitialCluster),
}

/// Why this token gives this member no cluster. Final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bootstrap) enum Refusal {
    SizeNotFound,
    BadSize(String),
    Full { size: usize },
    DuplicateId { id: MemberId },
    DuplicateName { cluster: String },
    DuplicateUrl { cluster: InitialCluster },
    BadUrl { entry: String, problem: String },
    BadEndpoint(String),
    Away { within: Duration, why: String },
}

/// What to do next. `registered`: this very disk has registered before, so the entry under its ID is its own.
pub(super) fn next(roster: &Roster, own: &Own, registered: bool) -> Result<Next, Refusal> {
    let me = own.id.to_string();
    match roster.entries.iter().position(|entry| entry.id == me) {
        None if roster.entries.len() < roster.size => Ok(Next::Register),
        None => Err(Refusal::Full { size: roster.size }),
        Some(at) if at >= roster.size => Err(Refusal::Full { size: roster.size }),
        Some(at) if !registered || roster.entries[at].value != own.value => {
            Err(Refusal::DuplicateId { id: own.id })
        }
        Some(_) if roster.entries.len() < roster.size => Ok(Next::Wait { found: roster.entries.len() }),
        // Who comes later than the size is turned away by itself.
        Some(_) => complete(&roster.entries[..roster.size]).map(Next::Complete),
    }
}

fn complete(entries: &[Entry]) -> Result<InitialCluster, Refusal> {
    for entry in entries {
        InitialCluster::parse(&entry.value)
            .and_then(|cluster| match cluster.urls().find(|url| url.scheme() != Scheme::Http) {
                Some(url) => Err(format!("{url} is refused: {TLS_LATER}")),
                None => Ok(()),
            })
            .map_err(|problem| Refusal::BadUrl { entry: entry.value.clone(), problem })?;
    }
    let text = entries.iter().map(|entry| entry.value.as_str()).collect::<Vec<_>>().join(",");
    let cluster =
        InitialCluster::parse(&text).map_err(|problem| Refusal::BadUrl { entry: text.clone(), problem })?;
    if cluster.len() != entries.len() {
        return Err(Refusal::DuplicateName { cluster: text });
    }
    if cluster.has_duplicate_url() {
        return Err(Refusal::DuplicateUrl { cluster });
    }
    Ok(cluster)
}

/// Reads the size as the registry holds it.
pub(super) fn size(text: &str) -> Result<usize, Refusal> {
    text.trim()
        .parse::<usize>()
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| Refusal::BadSize(text.to_owned()))
}

impl fmt::Display for Refusal {
    /// etcd's texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::SizeNotFound => f.write_str("discovery: size key not found"),
            Refusal::BadSize(_) => f.write_str("discovery: size key is bad"),
            Refusal::Full { .. } => f.write_str("discovery: cluster is full"),
            Refusal::DuplicateId { .. } => f.write_str("discovery: found duplicate id"),
            Refusal::DuplicateName { .. } => f.write_str("discovery: found duplicate name"),
            Refusal::DuplicateUrl { cluster } => write!(f, "discovery cluster {cluster} has duplicate url"),
            Refusal::BadUrl { .. } => f.write_str("discovery: invalid URL"),
            Refusal::BadEndpoint(_) => f.write_str("discovery: bad discovery endpoint"),
            Refusal::Away { .. } => f.write_str("discovery: too many retries"),
        }
    }
}

impl Refusal {
    /// What it means, and the way out.
    pub(super) fn advice(&self) -> String {
        const NEW_TOKEN: &str = "get a new token and start all members with it";
        match self {
            Refusal::SizeNotFound => {
                "no size is set for this token: the token is unknown there; set its size first or get a new one"
                    .to_owned()
            }
            Refusal::BadSize(text) => format!("the size is {text:?}; a number above 0 would be right"),
            Refusal::Full { size } => {
                format!("{size} other members have used this token up; do not reuse a token, {NEW_TOKEN}")
            }
            Refusal::DuplicateId { id } => format!(
                "member {id} is registered there, but not by this disk: the disk was lost, or another member has the \
                 same peer URLs; {NEW_TOKEN}"
            ),
            Refusal::DuplicateName { cluster } => {
                format!("two members of {cluster} have one name; give each its own --name, {NEW_TOKEN}")
            }
            Refusal::DuplicateUrl { .. } => {
                format!("give each member its own --initial-advertise-peer-urls, {NEW_TOKEN}")
            }
            Refusal::BadUrl { entry, problem } => format!("{entry:?} is registered there: {problem}; {NEW_TOKEN}"),
            Refusal::BadEndpoint(what) => format!("it answers no registry's JSON ({what}); check the URL"),
            Refusal::Away { within, why } => format!("nothing within {within:?}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: u64, name: &str) -> Own {
        Own { id: MemberId(id), value: format!("{name}=http://h{id}:2380") }
    }

    fn roster(size: usize, members: &[&Own]) -> Roster {
        let entry = |own: &&Own| Entry { id: own.id.to_string(), value: own.value.clone() };
        Roster { size, entries: members.iter().map(entry).collect(), index: 7 }
    }

    #[test]
    fn one_registers_waits_and_has_the_first_so_many() {
        let (a, b, c, d) = (own(1, "a"), own(2, "b"), own(3, "c"), own(4, "d"));
        assert_eq!(next(&roster(3, &[&a]), &b, false), Ok(Next::Register));
        assert_eq!(next(&roster(3, &[&a, &b]), &b, true), Ok(Next::Wait { found: 2 }));
        let wanted =
            InitialCluster::parse("a=http://h1:2380,b=http://h2:2380,c=http://h3:2380").expect("right");
        assert_eq!(next(&roster(3, &[&a, &b, &c]), &b, true), Ok(Next::Complete(wanted.clone())));
        // Who registered between our reading and our writing comes after the size and changes nothing for us.
        assert_eq!(next(&roster(3, &[&a, &b, &c, &d]), &a, true), Ok(Next::Complete(wanted)));
        assert_eq!(next(&roster(3, &[&a, &b, &c, &d]), &d, true), Err(Refusal::Full { size: 3 }));
        assert_eq!(next(&roster(3, &[&a, &b, &c]), &d, false), Err(Refusal::Full { size: 3 }));
    }

    #[test]
    fn a_disk_that_has_registered_registers_again_and_an_empty_one_does_not() {
        let (a, b) = (own(1, "a"), own(2, "b"));
        assert_eq!(next(&roster(3, &[&a, &b]), &a, true), Ok(Next::Wait { found: 2 }));
        // The note was written and the registration was not.
        assert_eq!(next(&roster(3, &[&b]), &a, true), Ok(Next::Register));
        let duplicate = Err(Refusal::DuplicateId { id: a.id });
        assert_eq!(next(&roster(3, &[&a, &b]), &a, false), duplicate);
        // Complete or not.
        assert_eq!(next(&roster(2, &[&a, &b]), &a, false), duplicate);
        let renamed = own(1, "z");
        assert_eq!(next(&roster(3, &[&a, &b]), &renamed, true), duplicate);
    }

    #[test]
    fn what_gives_no_cluster_is_final_and_says_why() {
        let (a, same_name) = (own(1, "a"), own(2, "a"));
        let refusal = next(&roster(2, &[&a, &same_name]), &a, true).expect_err("one name for two");
        assert_eq!(refusal.to_string(), "discovery: found duplicate name");
        let same_url = Own { id: MemberId(3), value: "c=http://h1:2380".to_owned() };
        let refusal = next(&roster(2, &[&a, &same_url]), &a, true).expect_err("one URL for two");
        assert!(refusal.to_string().ends_with("has duplicate url"), "{refusal}");
        let no_url = Own { id: MemberId(4), value: "nonsense".to_owned() };
        let refusal = next(&roster(2, &[&a, &no_url]), &a, true).expect_err("no URL");
        assert!(refusal.advice().contains("nonsense"), "{}", refusal.advice());
        let tls = Own { id: MemberId(5), value: "t=https://h5:2380".to_owned() };
        let refusal = next(&roster(2, &[&a, &tls]), &a, true).expect_err("TLS is not served");
        assert!(refusal.advice().contains("TLS"), "{}", refusal.advice());
        for text in ["", "0", "-3", "three", "3.0"] {
            assert_eq!(size(text), Err(Refusal::BadSize(text.to_owned())));
        }
        assert_eq!(size("3\n"), Ok(3));
    }
}

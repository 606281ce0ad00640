//! `--initial-cluster`: `name=url,name=url,...`, a name may stand several times.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::flags::HostUrl;

/// Names and peer URLs of the members that a cluster begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<HostUrl>>,
}

impl InitialCluster {
    /// Reads the flag; the error is etcd's text. URLs are sorted within a member.
    pub fn parse(text: &str) -> Result<InitialCluster, String> {
        let mut members: BTreeMap<String, Vec<HostUrl>> = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
            members.entry(name.to_owned()).or_default().push(HostUrl::parse(url)?);
        }
        members.values_mut().for_each(|urls| urls.sort());
        Ok(InitialCluster { members })
    }

    /// One member with these URLs, and so on.
    pub fn from_members(members: impl IntoIterator<Item = (String, Vec<HostUrl>)>) -> InitialCluster {
        InitialCluster { members: members.into_iter().collect() }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[HostUrl])> {
        self.members.iter().map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }

    pub fn urls_of(&self, name: &str) -> Option<&[HostUrl]> {
        self.members.get(name).map(Vec::as_slice)
    }

    pub fn urls(&self) -> impl Iterator<Item = &HostUrl> {
        self.members.values().flatten()
    }

    /// Whether one URL stands twice.
    pub fn has_duplicate_url(&self) -> bool {
        let mut seen = BTreeSet::new();
        !self.urls().all(|url| seen.insert(url))
    }
}

impl fmt::Display for InitialCluster {
    /// As the flag writes it, in etcd's order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.iter().flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
        f.write_str(&pairs.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_stand_several_times() {
        let cluster =
            InitialCluster::parse("a=http://1.1.1.1:1,b=http://2.2.2.2:2,a=http://1.1.1.1:0").expect("right");
        assert_eq!(cluster.len(), 2);
        assert_eq!(cluster.to_string(), "a=http://1.1.1.1:0,a=http://1.1.1.1:1,b=http://2.2.2.2:2");
        assert!(!cluster.has_duplicate_url());
    }

    #[test]
    fn what_is_no_url_is_refused_in_etcds_words() {
        let refused = |text| InitialCluster::parse(text).expect_err("it is wrong");
        assert_eq!(refused("a"), "URL scheme must be http, https, unix, or unixs: ");
        assert_eq!(refused("a=http://h"), r#"URL address does not have the form "host:port": http://h"#);
        assert_eq!(refused("a=http://h:1/p"), "URL must not contain a path: http://h:1/p");
    }

    #[test]
    fn one_url_for_two_members_is_seen() {
        let cluster = InitialCluster::parse("a=http://h:1,b=http://h:1").expect("right");
        assert!(cluster.has_duplicate_url());
    }
}

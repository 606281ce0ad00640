//! How members are called and where they are found. Pure: the same name gives the same address
//! on every pass, so a member of the list can be told by its peer URL before it ever started.

use std::fmt;

/// The name of a member, of its process and of its disk: the cluster's name and an ordinal.
/// Names are never used again: see [`super::Observed::next_ordinal`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName {
    cluster: String,
    ordinal: u32,
}

impl MemberName {
    /// The member of `cluster` with that ordinal.
    pub fn new(cluster: &str, ordinal: u32) -> Self {
        Self { cluster: cluster.to_owned(), ordinal }
    }

    /// Reads `CLUSTER-ORDINAL`; `None` if it is not one of `cluster`'s, in the one spelling that
    /// we write.
    pub fn parse(cluster: &str, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(cluster)?.strip_prefix('-')?;
        let ordinal: u32 = digits.parse().ok()?;
        (ordinal.to_string() == digits).then(|| Self::new(cluster, ordinal))
    }

    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.cluster, self.ordinal)
    }
}

/// The annotation of the resource that names a member to be moved to a new name and a new disk.
pub const REPLACE: &str = "kvorum.dev/replace";

/// How a platform gives addresses to members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// Names below a headless Service, resolved with the search path of a Pod:
    /// `MEMBER.SERVICE.NAMESPACE.svc`, peers on 2380, clients on 2379.
    Service { service: String, namespace: String },
    /// Ports on 127.0.0.1, two for each ordinal from `base_port` on: clients, then peers.
    Loopback { base_port: u16 },
}

/// The port of a member that clients use, under a Service.
pub const CLIENT_PORT: u16 = 2379;

/// The port of a member that its peers use, under a Service.
pub const PEER_PORT: u16 = 2380;

impl Addressing {
    /// Where peers find the member.
    pub fn peer_url(&self, member: &MemberName) -> String {
        match self {
            Self::Service { .. } => format!("http://{}:{PEER_PORT}", self.host(member)),
            Self::Loopback { base_port } => {
                format!("http://{}:{}", self.host(member), port(*base_port, member, 1))
            }
        }
    }

    /// Where clients find the member.
    pub fn client_url(&self, member: &MemberName) -> String {
        match self {
            Self::Service { .. } => format!("http://{}:{CLIENT_PORT}", self.host(member)),
            Self::Loopback { base_port } => {
                format!("http://{}:{}", self.host(member), port(*base_port, member, 0))
            }
        }
    }

    /// The name or address without port.
    pub fn host(&self, member: &MemberName) -> String {
        match self {
            Self::Service { service, namespace } => format!("{member}.{service}.{namespace}.svc"),
            Self::Loopback { .. } => "127.0.0.1".to_owned(),
        }
    }

    /// The member of `cluster` that this peer URL was given to; `None` for an address that is not
    /// one of ours.
    pub fn member_at(&self, cluster: &str, peer_url: &str) -> Option<MemberName> {
        let name = match self {
            Self::Service { .. } => {
                let host = peer_url.strip_prefix("http://")?;
                MemberName::parse(cluster, host.split(['.', ':']).next()?)?
            }
            Self::Loopback { base_port } => {
                let port: u16 = peer_url.strip_prefix("http://127.0.0.1:")?.parse().ok()?;
                let offset = port.checked_sub(*base_port)?;
                MemberName::new(cluster, u32::from(offset / 2))
            }
        };
        (self.peer_url(&name) == peer_url).then_some(name)
    }
}

// Ports wrap within one thousand ordinals, so that an endless series of members stays below 65536.
fn port(base: u16, member: &MemberName, offset: u16) -> u16 {
    base + 2 * (member.ordinal() % 1000) as u16 + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let cases = [
            ("db", "db-0", Some(0)),
            ("db", "db-12", Some(12)),
            ("db", "db-012", None),
            ("db", "db-", None),
            ("db", "db--1", None),
            ("db", "db-x", None),
            ("db", "dbx-1", None),
            ("db-1", "db-1-4", Some(4)),
            ("db", "db-1-4", None),
        ];
        for (cluster, text, ordinal) in cases {
            let parsed = MemberName::parse(cluster, text);
            assert_eq!(parsed.as_ref().map(MemberName::ordinal), ordinal, "{text}");
            if let Some(name) = parsed {
                assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn a_peer_url_leads_back_to_its_member() {
        let addressings = [
            Addressing::Service { service: "db-members".into(), namespace: "prod".into() },
            Addressing::Loopback { base_port: 23_790 },
        ];
        for addressing in addressings {
            for ordinal in [0, 1, 7, 999] {
                let name = MemberName::new("db", ordinal);
                let url = addressing.peer_url(&name);
                assert_eq!(addressing.member_at("db", &url), Some(name), "{url}");
            }
            for foreign in
                ["http://10.0.0.7:2380", "https://db-0.db-members.prod.svc:2380", "http://127.0.0.1:80"]
            {
                assert_eq!(addressing.member_at("db", foreign), None, "{foreign}");
            }
        }
    }

    #[test]
    fn order_is_by_number() {
        let mut names: Vec<_> = [10, 9, 2].map(|n| MemberName::new("db", n)).into();
        names.sort();
        assert_eq!(names.iter().map(MemberName::ordinal).collect::<Vec<_>>(), [2, 9, 10]);
    }
}

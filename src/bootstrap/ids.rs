//! Member and cluster IDs as etcd computes them, so that the same flags give the same IDs.

use sha1::{Digest, Sha1};

use super::initial_cluster::InitialCluster;
use crate::flags::HostUrl;
use crate::types::{ClusterId, MemberId};

/// The ID of a founding member: of its peer URLs and the cluster's token.
pub fn member_id(peer_urls: &[HostUrl], token: &str) -> MemberId {
    MemberId(hash_of_urls(peer_urls, token))
}

/// The ID of a member that is added to a running cluster: of its peer URLs and the second of the addition.
pub fn added_member_id(peer_urls: &[HostUrl], unix_seconds: i64) -> MemberId {
    MemberId(hash_of_urls(peer_urls, &unix_seconds.to_string()))
}

/// The ID of a cluster: of the IDs of its founding members.
pub fn cluster_id(members: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let mut ids: Vec<u64> = members.into_iter().map(|member| member.0).collect();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    ids.iter().for_each(|id| hash.update(id.to_be_bytes()));
    ClusterId(first_eight_bytes(hash))
}

/// Every founding member's ID with its name and URLs, by name.
pub fn founding_ids(cluster: &InitialCluster, token: &str) -> Vec<(MemberId, String, Vec<HostUrl>)> {
    cluster.iter().map(|(name, urls)| (member_id(urls, token), name.to_owned(), urls.to_vec())).collect()
}

fn hash_of_urls(urls: &[HostUrl], ending: &str) -> u64 {
    let mut texts: Vec<&str> = urls.iter().map(HostUrl::as_str).collect();
    texts.sort_unstable();
    let mut hash = Sha1::new();
    texts.iter().for_each(|text| hash.update(text));
    hash.update(ending);
    first_eight_bytes(hash)
}

fn first_eight_bytes(hash: Sha1) -> u64 {
    let digest: [u8; 20] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(text: &str) -> InitialCluster {
        InitialCluster::parse(text).expect("the cluster's text is right")
    }

    /// Values that etcd 3.7.3 logged for these flags.
    #[test]
    fn ids_are_etcds() {
        let one = cluster("default=http://127.0.0.1:42380");
        let ids = founding_ids(&one, "etcd-cluster");
        assert_eq!(ids[0].0, MemberId(7383792418829112008));
        assert_eq!(cluster_id(ids.iter().map(|member| member.0)).to_string(), "dc50b8daae93b3e0");
    }

    /// Values that three members of etcd 3.7.3 showed for these flags.
    #[test]
    fn ids_of_three_are_etcds() {
        let three = cluster(
            "infra0=http://127.0.41.1:2380,infra1=http://127.0.41.2:2380,infra2=http://127.0.41.3:2380",
        );
        let ids = founding_ids(&three, "etcd-cluster-1");
        let expected = [15901362139027060379, 16619311207846468647, 3584187651816709004].map(MemberId);
        assert_eq!(ids.iter().map(|member| member.0).collect::<Vec<_>>(), expected);
        assert_eq!(cluster_id(expected), ClusterId(12519881386593251247));
    }

    #[test]
    fn the_order_in_the_flag_does_not_matter() {
        let ids = |text| {
            let ids = founding_ids(&cluster(text), "t");
            cluster_id(ids.iter().map(|member| member.0))
        };
        assert_eq!(ids("a=http://1:1,b=http://2:2"), ids("b=http://2:2,a=http://1:1"));
        assert_eq!(ids("a=http://1:1,a=http://2:2"), ids("a=http://2:2,a=http://1:1"));
    }
}

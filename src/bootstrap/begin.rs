//! What this disk and these flags mean at the start of the program; pure.

use super::first_start::ClusterState;
use super::identity::{Document, Identity, Owner, Stage};

/// What to do first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// This member belongs to a cluster; the flags are ignored.
    Start(Identity),
    /// Found. Whether what an earlier start has left on the disk still counts shows when the plan is known.
    Found,
    /// Join, going on where an earlier start left off, or from an empty disk (None).
    Join(Option<Document>),
    /// Parts of the disk are missing or do not belong together: nothing may start on it.
    StayOut(String),
}

/// A member that has started does not need the flags; they are not looked at then.
pub(super) fn begin(document: Option<&Document>, owner: Option<&Owner>, state: ClusterState) -> Begin {
    match (document, owner) {
        (None, Some(owner)) => Begin::StayOut(format!(
            "the log belongs to member {}, but the data folder does not say who this member is: the data folder \
             was lost. Remove the member from the cluster and add it again with empty folders",
            owner.member
        )),
        (Some(document), owner) => match document.identity() {
            Some(identity) => match owner {
                Some(owner) if *owner == document.owner() => Begin::Start(identity),
                Some(owner) => Begin::StayOut(format!(
                    "the data folder belongs to member {} and the log to member {}",
                    document.me, owner.member
                )),
                None => Begin::StayOut(format!(
                    "member {} has started before, but its log is gone, and with it its votes. Remove the member \
                     from the cluster and add it again with empty folders",
                    document.me
                )),
            },
            None => resume(document, state),
        },
        (None, None) => match state {
            ClusterState::New => Begin::Found,
            ClusterState::Existing => Begin::Join(None),
        },
    }
}

/// Nothing has started on this disk.
fn resume(document: &Document, state: ClusterState) -> Begin {
    match (&document.stage, state) {
        (Stage::Discovering { .. } | Stage::Founding { .. }, ClusterState::New) => Begin::Found,
        (Stage::Discovering { .. } | Stage::Founding { .. }, ClusterState::Existing) => Begin::Join(None),
        // The cluster listed this member; that does not depend on the flags.
        (Stage::Joining | Stage::Member { .. }, _) => Begin::Join(Some(document.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::{Nonce, Plan};
    use super::super::initial_cluster::InitialCluster;
    use super::*;
    use crate::types::{ClusterId, MemberId};

    fn plan(token: &str) -> Plan {
        Plan::new(&InitialCluster::parse("a=http://h:1,b=http://h:2").expect("right"), token)
    }

    fn founding(token: &str) -> Document {
        let plan = plan(token);
        let me = plan.members[0].id;
        Document::founding(plan, me, "a".to_owned(), Nonce(1))
    }

    #[test]
    fn an_empty_disk_does_what_the_flags_say() {
        assert_eq!(begin(None, None, ClusterState::New), Begin::Found);
        assert_eq!(begin(None, None, ClusterState::Existing), Begin::Join(None));
    }

    #[test]
    fn a_member_starts_whatever_the_flags_say() {
        let member = founding("t").settled(None);
        for state in [ClusterState::New, ClusterState::Existing] {
            let begun = begin(Some(&member), Some(&member.owner()), state);
            assert!(matches!(begun, Begin::Start(_)), "{begun:?}");
        }
    }

    #[test]
    fn founding_goes_on() {
        let same = founding("t");
        let discovering = Document::discovering("u".to_owned(), MemberId(2), "a".to_owned(), Nonce(3));
        for begun in [&same, &discovering] {
            assert_eq!(begin(Some(begun), None, ClusterState::New), Begin::Found);
            assert_eq!(begin(Some(begun), None, ClusterState::Existing), Begin::Join(None));
        }
        // It crashed after it made the log its own and before it belonged to the cluster.
        let begun = begin(Some(&same), Some(&same.owner()), ClusterState::New);
        assert_eq!(begun, Begin::Found);
    }

    #[test]
    fn joining_goes_on() {
        let joining = Document::joining(ClusterId(1), MemberId(2), "a".to_owned(), Nonce(3));
        for state in [ClusterState::New, ClusterState::Existing] {
            assert_eq!(begin(Some(&joining), None, state), Begin::Join(Some(joining.clone())));
        }
    }

    #[test]
    fn parts_of_a_disk_are_no_disk() {
        let member = founding("t").settled(None);
        let other = Owner { member: MemberId(9), nonce: Nonce(9) };
        for (document, owner, part) in [
            (None, Some(&other), "the data folder was lost"),
            (Some(&member), None, "its log is gone"),
            (Some(&member), Some(&other), "and the log to member 9"),
        ] {
            match begin(document, owner, ClusterState::New) {
                Begin::StayOut(reason) => assert!(reason.contains(part), "{reason}"),
                begun => panic!("{part}: {begun:?}"),
            }
        }
    }
}

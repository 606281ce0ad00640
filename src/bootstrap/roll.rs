//! Whom a cluster is to begin with, whichever way that was learnt: flags -> [`Roll`] -> plan.

use std::sync::Arc;

use super::first_start::{ClusterState, FirstStart, Source};
use super::identity::{Document, Plan, Stage};
use super::initial_cluster::InitialCluster;
use super::shared::Shared;
use super::{Error, discovery, found, ids, srv};
use crate::types::MemberId;

/// The members that a source lists, with the token that goes into their IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Roll {
    /// What this member calls itself. What `cluster` calls the others is for people only: a founder's name is
    /// what it tells by itself.
    pub name: String,
    pub cluster: InitialCluster,
    pub token: String,
}

impl Roll {
    pub(super) fn plan(&self) -> Plan {
        Plan::new(&self.cluster, &self.token)
    }

    pub(super) fn me(&self) -> MemberId {
        ids::member_id(self.cluster.urls_of(&self.name).unwrap_or_default(), &self.token)
    }

    /// The roll that an earlier start of this disk has completed. Others are called by their places.
    fn kept(name: &str, me: MemberId, plan: &Plan) -> Roll {
        let place = |member: &super::identity::Planned| match member.id == me {
            true => name.to_owned(),
            false => member.peer_urls.iter().map(|url| url.authority()).collect::<Vec<_>>().join("+"),
        };
        let members = plan.members.iter().map(|member| (place(member), member.peer_urls.clone()));
        Roll {
            name: name.to_owned(),
            cluster: InitialCluster::from_members(members),
            token: plan.token.clone(),
        }
    }
}

/// Calls the roll. May wait for ever for members that register; the report says so.
///
/// # Errors
/// [`Error::Refused`] for what no waiting mends.
pub(super) async fn call(shared: &Arc<Shared>, first: &FirstStart) -> Result<Roll, Error> {
    let document = shared.document();
    match &first.source {
        Source::Listed(_) => {
            let cluster = first.members().map_err(Error::Refused)?;
            if first.state == ClusterState::New {
                found::check_own_urls(shared, first, &cluster).await?;
            }
            Ok(Roll { name: first.name.clone(), cluster, token: first.token.clone() })
        }
        Source::Srv(source) => srv::look_up(shared, first, source).await,
        _ if first.state == ClusterState::Existing => Err(Error::Refused(
            "discovery URL should not be set when joining existing initial cluster".to_owned(),
        )),
        Source::DiscoveryV2 { url, proxy } => {
            let token = url.as_str();
            match kept(first, token, document.as_ref()) {
                Some(roll) => Ok(roll),
                None => {
                    let registry = discovery::RegistryV2::new(&shared.http, url, proxy.as_ref());
                    discovery::join(shared, first, token, &registry).await
                }
            }
        }
        Source::DiscoveryV3(service) => match kept(first, &service.token, document.as_ref()) {
            Some(roll) => Ok(roll),
            None => {
                let registry =
                    discovery::RegistryV3::new(service, shared.http.names()).map_err(Error::Refused)?;
                discovery::join(shared, first, &service.token, &registry).await
            }
        },
    }
}

/// Whether the disk holds the whole roll of this token: then the service is not asked again.
fn kept(first: &FirstStart, token: &str, document: Option<&Document>) -> Option<Roll> {
    let document = document?;
    match &document.stage {
        Stage::Founding { plan }
            if plan.token == token && document.me == ids::member_id(&first.advertise_peer, token) =>
        {
            Some(Roll::kept(&first.name, document.me, plan))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_roll_makes_the_same_plan() {
        let cluster = InitialCluster::parse("a=http://h:1,b=http://h:2,b=http://h:3").expect("right");
        let roll = Roll { name: "a".to_owned(), cluster, token: "t".to_owned() };
        let kept = Roll::kept("a", roll.me(), &roll.plan());
        assert_eq!((kept.plan(), kept.me()), (roll.plan(), roll.me()));
    }
}

//! `--initial-cluster-state existing`, and an invited founder: find the own place in a running cluster's
//! member list, and be noted there before starting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use tokio::time::sleep;

use super::Error;
use super::found::{Waits, say_hello, settle};
use super::handshake::{self, Heard, Hello, Missing, Purpose, Verdict};
use super::identity::{Document, Nonce, Planned, Stage};
use super::report::{ServerState, Waiting};
use super::roll::Roll;
use super::routes::{CLUSTER_ID_HEADER, MEMBERS_PATH, from_etcd};
use super::shared::Shared;
use crate::flags::HostUrl;
use crate::membership::Member;
use crate::types::{ClusterId, MemberId};

const PAUSE: Duration = Duration::from_millis(500);
const LIST_WITHIN: Duration = Duration::from_secs(3);

/// A running cluster as one of its members tells it.
struct Running {
    cluster: ClusterId,
    members: Vec<Member>,
}

/// Joins as the member that a cluster of the plan's other members told us to be.
pub(super) async fn join_invited(
    shared: &Arc<Shared>,
    roll: &Roll,
    cluster: ClusterId,
    me: MemberId,
) -> Result<(), Error> {
    begin(shared, roll, cluster, me)?;
    be_noted(shared, roll).await
}

/// Joins by `existing`: from an empty disk, or going on with what an earlier start found out.
pub(super) async fn join(shared: &Arc<Shared>, roll: &Roll, resume: Option<Document>) -> Result<(), Error> {
    if resume.is_none_or(|document| document.stage != Stage::Joining) {
        let (cluster, me) = find_place(shared, roll).await?;
        begin(shared, roll, cluster, me)?;
    }
    be_noted(shared, roll).await
}

fn begin(shared: &Shared, roll: &Roll, cluster: ClusterId, me: MemberId) -> Result<(), Error> {
    let document = Document::joining(cluster, me, roll.name.clone(), Nonce(rand::random()));
    shared.update(|_| ((), Some(document)))?;
    Ok(())
}

/// Waits until a listed peer tells the member list, and finds this member in it by its URLs.
async fn find_place(shared: &Arc<Shared>, roll: &Roll) -> Result<(ClusterId, MemberId), Error> {
    if roll.cluster.len() < 2 {
        let text = "cannot fetch cluster info from peer urls: --initial-cluster lists no other member";
        return Err(Error::Refused(text.to_owned()));
    }
    let mut log = Waits::new("joining waits for the cluster");
    loop {
        match ask_anyone(shared, roll).await {
            Ok(running) => {
                let me = match_members(shared, roll, &running).await?;
                return Ok((running.cluster, me));
            }
            Err(waiting) => {
                let reason = "waits for the member list of the cluster that it joins";
                log.tell(shared, ServerState::Starting, reason, waiting);
            }
        }
        sleep(PAUSE).await;
    }
}

/// The member list of the first listed peer that tells one.
async fn ask_anyone(shared: &Arc<Shared>, roll: &Roll) -> Result<Running, Vec<Waiting>> {
    let mut silent = Vec::new();
    for (name, urls) in roll.cluster.iter().filter(|(name, _)| *name != roll.name) {
        for url in urls {
            match ask_members(shared, url).await {
                Ok(running) => return Ok(running),
                Err(why) => {
                    let waiting = Waiting::new(MemberId(0), name, vec![url.to_string()], why);
                    silent.push(Waiting { member: String::new(), ..waiting });
                }
            }
        }
    }
    Err(silent)
}

async fn ask_members(shared: &Shared, url: &HostUrl) -> Result<Running, String> {
    let response = shared.http.ask(url, Method::GET, MEMBERS_PATH, Bytes::new(), LIST_WITHIN).await?;
    if response.status != 200 {
        return Err(String::from_utf8_lossy(&response.body).trim().to_owned());
    }
    let cluster = response.headers.get(CLUSTER_ID_HEADER).and_then(|id| id.to_str().ok()?.parse().ok());
    let members: Option<Vec<Member>> = serde_json::from_slice::<Vec<serde_json::Value>>(&response.body)
        .ok()
        .and_then(|list| list.iter().map(from_etcd).collect());
    match (cluster, members) {
        (Some(cluster), Some(members)) if !members.is_empty() => Ok(Running { cluster, members }),
        _ => Err(format!("{MEMBERS_PATH} answers no member list")),
    }
}

/// etcd's comparison of `--initial-cluster` with the list: as many members, each found by its URLs.
async fn match_members(shared: &Shared, roll: &Roll, running: &Running) -> Result<MemberId, Error> {
    let listed = &roll.cluster;
    let shown: Vec<String> =
        running.members.iter().map(|member| format!("{} {:?}", member.id, member.peer_urls)).collect();
    let refused = |why: &str| {
        let cluster = running.cluster;
        Error::Refused(format!(
            "error validating peerURLs {{ClusterID:{cluster} Members:[{}]}}: {why}",
            shown.join(", ")
        ))
    };
    if listed.len() != running.members.len() {
        return Err(refused("member count is unequal"));
    }
    let mut me = None;
    for member in &running.members {
        let urls: Vec<HostUrl> = member.peer_urls.iter().filter_map(|url| HostUrl::parse(url).ok()).collect();
        let mut found = None;
        let mut problem = "none".to_owned();
        for (name, candidate) in listed.iter() {
            match shared.http.same_places(&urls, candidate).await {
                Ok(true) => found = Some(name),
                Ok(false) => {}
                Err(error) => problem = error,
            }
        }
        let Some(name) = found else {
            return Err(refused(&format!(
                "PeerURLs: no match found for existing member ({}, {:?}), last resolver error ({problem})",
                member.id, member.peer_urls
            )));
        };
        if name == roll.name {
            me = Some(member.id);
        }
    }
    me.ok_or_else(|| refused("this member is not in the list; add it to the cluster first"))
}

/// Tells the cluster's members that this disk is the one, until enough of them have noted it.
async fn be_noted(shared: &Arc<Shared>, roll: &Roll) -> Result<(), Error> {
    let mut log = Waits::new("joining waits for the cluster's members");
    loop {
        match ask_anyone(shared, roll).await {
            Ok(running) => {
                if let Some(done) = be_noted_once(shared, &running, &mut log).await? {
                    return Ok(done);
                }
            }
            Err(waiting) => {
                let reason = "waits for the member list of the cluster that it joins";
                log.tell(shared, ServerState::Starting, reason, waiting);
            }
        }
        sleep(PAUSE).await;
    }
}

async fn be_noted_once(
    shared: &Arc<Shared>,
    running: &Running,
    log: &mut Waits,
) -> Result<Option<()>, Error> {
    let Some(mine) = shared.document() else { return Ok(None) };
    let others: Vec<&Member> = running.members.iter().filter(|member| member.id != mine.me).collect();
    let ask = |member: &&Member| {
        let hello = Hello {
            cluster: mine.cluster,
            from: mine.me,
            nonce: mine.nonce,
            name: mine.name.clone(),
            peer_urls: Vec::new(),
            to: member.id,
            purpose: Purpose::Join,
        };
        let urls = member.peer_urls.iter().filter_map(|url| HostUrl::parse(url).ok()).collect();
        let peer = Planned { id: member.id, peer_urls: urls };
        let shared = shared.clone();
        async move { (peer.id, say_hello(&shared, &peer, &hello).await) }
    };
    let heard: BTreeMap<MemberId, Heard> = join_all(others.iter().map(ask)).await.into_iter().collect();
    match handshake::judge_joining(&mine, &running.members, &heard) {
        Verdict::Join { .. } | Verdict::Form(_) | Verdict::Follow(_) => {
            settle(shared)?;
            return Ok(Some(()));
        }
        Verdict::StayOut(missing) => {
            let reason = "the cluster does not take this disk";
            log.tell(shared, ServerState::Safe, reason, waiting(&missing, &running.members));
        }
        Verdict::Wait(missing) => {
            let reason = "waits until a majority of the cluster's voters has noted it";
            log.tell(shared, ServerState::Starting, reason, waiting(&missing, &running.members));
        }
    }
    Ok(None)
}

fn waiting(missing: &[Missing], members: &[Member]) -> Vec<Waiting> {
    let describe = |missing: &Missing| {
        let member = members.iter().find(|member| member.id == missing.member);
        let (name, urls) =
            member.map(|member| (member.name.as_str(), member.peer_urls.clone())).unwrap_or_default();
        Waiting::new(missing.member, name, urls, missing.because.clone())
    };
    missing.iter().map(describe).collect()
}

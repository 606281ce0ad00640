//! `--initial-cluster-state new`: meet every member of the plan, then form; or learn why not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::Error;
use super::first_start::FirstStart;
use super::handshake::{self, Heard, Hello, Missing, Purpose, Verdict};
use super::identity::{Document, Formation, Nonce, Plan, Planned, Stage};
use super::initial_cluster::InitialCluster;
use super::report::{ServerState, Waiting};
use super::roll::Roll;
use super::routes::HELLO_PATH;
use super::shared::Shared;
use crate::types::{ClusterId, MemberId};

/// First pause between two rounds; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a peer may take to answer; it may have to sync its disk first.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How long names may take to appear that should make the own URLs equal.
const RESOLVE_WITHIN: Duration = Duration::from_secs(30);

/// How founding ended.
pub(super) enum Founded {
    /// Settled in the document with these founders.
    Formed,
    /// A running cluster waits for this member instead.
    Invited { cluster: ClusterId, me: MemberId },
}

/// Meets the others until the cluster can be formed. May wait for ever; the report says for whom.
pub(super) async fn found(shared: &Arc<Shared>, first: &FirstStart, roll: &Roll) -> Result<Founded, Error> {
    let (plan, me) = (roll.plan(), roll.me());
    take_up(shared, roll, &plan, me)?;
    let mut log = Waits::new("founding waits for other members");
    let mut pause = PAUSE_MIN;
    loop {
        let before = shared.document();
        let heard = round(shared, &plan, me).await?;
        let Some(mine) = shared.document() else {
            return Err(Error::Refused("the member's own document is gone".to_owned()));
        };
        match handshake::judge(&mine, &plan, &heard) {
            Verdict::Form(_) if first.await_grant && !shared.is_granted() => {
                let reason = format!("waits for leave to found a cluster on this disk, {}", mine.nonce);
                log.tell(shared, ServerState::Hold, &reason, Vec::new());
            }
            Verdict::Form(formation) => {
                // Notes that changed while the round ran make it void; the next one follows at once.
                if before.as_ref() == Some(&mine) && form(shared, &mine, &formation)? {
                    return Ok(Founded::Formed);
                }
                continue;
            }
            Verdict::Follow(formation) => {
                if form(shared, &mine, &formation)? {
                    return Ok(Founded::Formed);
                }
                continue;
            }
            Verdict::Join { cluster, me } => return Ok(Founded::Invited { cluster, me }),
            Verdict::StayOut(missing) => {
                let reason = "an empty disk founds no second cluster";
                log.tell(shared, ServerState::Safe, reason, waiting(&missing, &plan, &roll.cluster));
                pause = PAUSE_MAX;
            }
            Verdict::Wait(missing) => {
                let reason = "waits until every member of the plan has been met";
                log.tell(shared, ServerState::Starting, reason, waiting(&missing, &plan, &roll.cluster));
            }
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            () = shared.met.notified() => pause = PAUSE_MIN,
        }
    }
}

/// What an earlier start of this disk has noted counts where it had the same plan; else founding begins anew.
fn take_up(shared: &Shared, roll: &Roll, plan: &Plan, me: MemberId) -> Result<(), Error> {
    let nonce = match shared.document() {
        Some(Document { me: folder, stage: Stage::Founding { plan: then }, .. }) if then == *plan => {
            if folder == me {
                return Ok(());
            }
            let name = &roll.name;
            return Err(Error::Refused(format!(
                "the data folder belongs to member {folder}, but {name:?} is member {me} by its peer URLs"
            )));
        }
        Some(Document { me: before, nonce, stage: Stage::Discovering { .. }, .. }) if before == me => nonce,
        _ => Nonce(rand::random()),
    };
    let document = Document::founding(plan.clone(), me, roll.name.clone(), nonce);
    shared.update(|_| ((), Some(document)))?;
    Ok(())
}

/// The member belongs to the cluster of this formation from here on, whatever happens; unless its document is
/// no longer the one that was judged: then nothing is done (false).
fn form(shared: &Shared, judged: &Document, formation: &Formation) -> Result<bool, Error> {
    shared.own_log(judged.owner())?;
    let formed = shared.update(|document| match document {
        Some(document) if document == judged => (true, Some(document.formed(formation))),
        _ => (false, None),
    })?;
    Ok(formed)
}

/// The member that joins belongs to its cluster from here on, whatever happens.
pub(super) fn settle(shared: &Shared) -> Result<(), Error> {
    if let Some(document) = shared.document() {
        shared.own_log(document.owner())?;
    }
    shared.update(|document| ((), document.map(|document| document.settled(None))))?;
    Ok(())
}

/// Says hello to everybody once, and notes whom it met.
async fn round(shared: &Arc<Shared>, plan: &Plan, me: MemberId) -> Result<BTreeMap<MemberId, Heard>, Error> {
    let Some(mine) = shared.document() else { return Ok(BTreeMap::new()) };
    let own_urls = plan.members.iter().find(|member| member.id == me);
    let own_urls: Vec<String> =
        own_urls.into_iter().flat_map(|member| &member.peer_urls).map(ToString::to_string).collect();
    let ask = |peer: &Planned| {
        let hello = Hello {
            cluster: mine.cluster,
            from: me,
            nonce: mine.nonce,
            name: mine.name.clone(),
            peer_urls: own_urls.clone(),
            to: peer.id,
            purpose: Purpose::Found,
        };
        let (shared, peer) = (shared.clone(), peer.clone());
        async move { (peer.id, say_hello(&shared, &peer, &hello).await) }
    };
    let heard: BTreeMap<MemberId, Heard> = join_all(plan.others(me).map(ask)).await.into_iter().collect();
    for (peer, said) in &heard {
        if let Heard::Said(answer) = said {
            shared.update(|mine| ((), mine.and_then(|mine| handshake::learn(mine, *peer, answer))))?;
        }
    }
    Ok(heard)
}

/// Asks a peer at each of its URLs until one answers.
pub(super) async fn say_hello(shared: &Shared, peer: &Planned, hello: &Hello) -> Heard {
    let mut silence = "it has no peer URL".to_owned();
    for url in &peer.peer_urls {
        match shared.http.json(url, HELLO_PATH, Some(hello), ANSWER_WITHIN).await {
            Ok(answer) => return Heard::Said(answer),
            Err(error) => silence = error,
        }
    }
    Heard::Silence(silence)
}

/// The own URLs in both flags must mean the same places; names may need time to appear.
pub(super) async fn check_own_urls(
    shared: &Arc<Shared>,
    first: &FirstStart,
    cluster: &InitialCluster,
) -> Result<(), Error> {
    let listed = cluster.urls_of(&first.name).unwrap_or_default();
    let until = Instant::now() + RESOLVE_WITHIN;
    loop {
        let resolution = match shared.http.same_places(listed, &first.advertise_peer).await {
            Ok(true) => return Ok(()),
            Ok(false) => "they are different places".to_owned(),
            Err(unresolved) if Instant::now() < until => {
                shared.set_report(ServerState::Starting, &unresolved, Vec::new());
                sleep(PAUSE_MAX).await;
                continue;
            }
            Err(unresolved) => unresolved,
        };
        return match first.own_urls_differ(cluster, &resolution) {
            Some(text) => Err(Error::Refused(text)),
            None => Ok(()),
        };
    }
}

fn waiting(missing: &[Missing], plan: &Plan, cluster: &InitialCluster) -> Vec<Waiting> {
    let describe = |missing: &Missing| {
        let planned = plan.members.iter().find(|member| member.id == missing.member);
        let urls = planned.map(|planned| planned.peer_urls.clone()).unwrap_or_default();
        let name = cluster.iter().find(|(_, listed)| *listed == urls).map_or("", |(name, _)| name);
        let urls = urls.iter().map(ToString::to_string).collect();
        Waiting::new(missing.member, name, urls, missing.because.clone())
    };
    missing.iter().map(describe).collect()
}

/// Reports a wait every time and logs it when it changes.
pub(super) struct Waits {
    what: &'static str,
    said: String,
    since: Instant,
}

/// A wait shorter than this is the ordinary way of things and not worth a line.
const QUIET: Duration = Duration::from_secs(2);

impl Waits {
    pub(super) fn new(what: &'static str) -> Waits {
        Waits { what, said: String::new(), since: Instant::now() }
    }

    pub(super) fn tell(&mut self, shared: &Shared, state: ServerState, reason: &str, waiting: Vec<Waiting>) {
        shared.set_report(state, reason, waiting);
        let summary = shared.own_report().summary();
        let quiet = state == ServerState::Starting && self.since.elapsed() < QUIET;
        if summary != self.said && !quiet {
            let (what, state) = (self.what, state.as_str());
            tracing::warn!(state, reason = summary, "{what}");
            self.said = summary;
        }
    }
}

//! Discovery: members that do not know each other register at a service under one token, and each reads there
//! who the others are.
//!
//! `roster` decides from what the service holds; `v2` and `v3` speak to the services; here is the loop between
//! them. What it brings is a [`Roll`], like every other source of members.

mod roster;
mod service_url;
mod v2;
mod v3;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::first_start::FirstStart;
use super::found::Waits;
use super::identity::{Document, Nonce, Stage};
use super::initial_cluster::InitialCluster;
use super::report::ServerState;
use super::roll::Roll;
use super::shared::Shared;
use super::{Error, ids};
use roster::{Next, Own, Refusal, Roster};
pub use service_url::{ServiceUrl, parse_proxy};
pub(super) use v2::RegistryV2;
pub(super) use v3::RegistryV3;
pub use v3::ServiceV3;

/// Pauses between two attempts to reach the service: doubled from the first to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(16);

/// No two reads of the service come closer than this, however fast its waits end.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// A service where members of one token register.
pub(super) trait Registry {
    /// Where it is, for logs and errors.
    fn place(&self) -> String;
    /// All that is registered now.
    fn read(&self) -> impl Future<Output = Result<Roster, Trouble>> + Send;
    /// Registers this member unless its ID is there already.
    fn register(&self, own: &Own) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Returns when something may have changed since `roster` was read, or after a while.
    fn wait(&self, roster: &Roster) -> impl Future<Output = ()> + Send;
}

/// Why a call did not bring what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The service cannot be reached, or cannot answer now.
    Away(String),
    Final(Refusal),
}

/// Registers and waits until the roster is complete.
pub(super) async fn join(
    shared: &Arc<Shared>,
    first: &FirstStart,
    token: &str,
    registry: &impl Registry,
) -> Result<Roll, Error> {
    let own = Own {
        id: ids::member_id(&first.advertise_peer, token),
        value: InitialCluster::from_members([(first.name.clone(), first.advertise_peer.clone())]).to_string(),
    };
    let joining = Joining { shared, first, token, registry, own };
    let place = registry.place();
    match joining.run().await? {
        Ok(cluster) => {
            tracing::info!(discovery_url = place, cluster = %cluster, "discovery joined cluster successfully");
            Ok(Roll { name: first.name.clone(), cluster, token: token.to_owned() })
        }
        Err(refusal) => {
            let text = format!("failed to join discovery cluster ({refusal}): {place}: {}", refusal.advice());
            Err(Error::Refused(text))
        }
    }
}

/// Attempts in a row that failed.
struct Attempts {
    since: Option<Instant>,
    pause: Duration,
}

impl Attempts {
    fn new() -> Attempts {
        Attempts { since: None, pause: PAUSE_MIN }
    }
}

struct Joining<'a, R> {
    shared: &'a Arc<Shared>,
    first: &'a FirstStart,
    token: &'a str,
    registry: &'a R,
    own: Own,
}

impl<R: Registry> Joining<'_, R> {
    /// The outer error is this member's disk.
    async fn run(&self) -> Result<Result<InitialCluster, Refusal>, Error> {
        let mut waits = Waits::new("discovery waits for other members");
        let mut attempts = Attempts::new();
        loop {
            let roster = match self.registry.read().await {
                Ok(roster) => roster,
                Err(trouble) => match self.again(&mut attempts, trouble).await {
                    Ok(()) => continue,
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            match roster::next(&roster, &self.own, self.has_registered()) {
                Err(refusal) => return Ok(Err(refusal)),
                Ok(Next::Complete(cluster)) => return Ok(Ok(cluster)),
                Ok(Next::Register) => {
                    self.note_registration()?;
                    match self.registry.register(&self.own).await {
                        Ok(()) => {
                            let (id, member) = (self.own.id, &self.own.value);
                            tracing::info!(member_id = %id, member, "registered at the discovery service");
                            sleep(READ_PAUSE).await;
                        }
                        Err(trouble) => {
                            if let Err(refusal) = self.again(&mut attempts, trouble).await {
                                return Ok(Err(refusal));
                            }
                        }
                    }
                }
                Ok(Next::Wait { found }) => {
                    attempts = Attempts::new();
                    let (place, size) = (self.registry.place(), roster.size);
                    let reason = format!(
                        "waits at the discovery service {place} until {size} members are registered; {found} are"
                    );
                    waits.tell(self.shared, ServerState::Starting, &reason, Vec::new());
                    self.registry.wait(&roster).await;
                    sleep(READ_PAUSE).await;
                }
            }
        }
    }

    /// Pauses before another attempt, unless the trouble is final or has lasted as long as the flags allow.
    async fn again(&self, attempts: &mut Attempts, trouble: Trouble) -> Result<(), Refusal> {
        let why = match trouble {
            Trouble::Final(refusal) => return Err(refusal),
            Trouble::Away(why) => why,
        };
        let since = *attempts.since.get_or_insert_with(Instant::now);
        let backoff = attempts.pause;
        if since.elapsed() + backoff > self.first.patience {
            return Err(Refusal::Away { within: self.first.patience, why });
        }
        let url = self.registry.place();
        let reason = format!("the discovery service {url} does not answer: {why}");
        self.shared.set_report(ServerState::Starting, &reason, Vec::new());
        tracing::warn!(url, reason = why, ?backoff, "retry connecting to discovery service");
        sleep(backoff).await;
        attempts.pause = (backoff * 2).min(PAUSE_MAX);
        Ok(())
    }

    /// Whether this very disk has set out to register under this token: then what stands there is its own.
    fn has_registered(&self) -> bool {
        self.shared.document().is_some_and(|document| {
            document.me == self.own.id
                && matches!(&document.stage, Stage::Discovering { token } if token == self.token)
        })
    }

    /// Comes before the registration, so that a disk without this note cannot be the one that is registered.
    fn note_registration(&self) -> Result<(), Error> {
        if !self.has_registered() {
            let (token, name) = (self.token.to_owned(), self.first.name.clone());
            let document = Document::discovering(token, self.own.id, name, Nonce(rand::random()));
            self.shared.update(|_| ((), Some(document)))?;
        }
        Ok(())
    }
}

//! What the routes and the way into the cluster share: this member's document, its report, and the member
//! list once there is one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::handshake::{self, Answer, Hello};
use super::identity::{Document, Owner, Stage};
use super::peer_http::PeerHttp;
use super::report::{self, Position, Report, ServerState, Standing};
use crate::client::Names;
use crate::flags::HostUrl;
use crate::membership::Member;
use crate::storage::{DataDir, read_json, write_json_durably};
use crate::types::MemberId;

/// How long a peer may take to say how it is.
const STATE_WITHIN: Duration = Duration::from_secs(1);

/// Path of a peer's own report, which asks nobody else.
pub(super) const OWN_STATE_PATH: &str = "/kvorum/founding/state";

/// What the running server lends: closures, because `bootstrap` does not know who runs.
pub struct Running {
    pub standing: Box<dyn Fn() -> Standing + Send + Sync>,
    pub members: Box<dyn Fn() -> Vec<Member> + Send + Sync>,
}

pub(super) struct Shared {
    identity_path: PathBuf,
    owner_path: PathBuf,
    document: Mutex<Option<Document>>,
    report: RwLock<Report>,
    running: OnceLock<Running>,
    /// Whether leave was given to found a cluster on this disk.
    granted: AtomicBool,
    /// Rung when a peer was met for the first time: whoever waits may go on at once.
    pub(super) met: Notify,
    pub(super) http: PeerHttp,
}

impl Shared {
    pub(super) fn open(data: &DataDir, names: Names) -> Result<Shared, DiskError> {
        let identity_path = data.identity();
        let document = read_json(&identity_path).map_err(|source| DiskError::new(&identity_path, source))?;
        Ok(Shared {
            identity_path,
            owner_path: data.wal().join("owner.json"),
            document: Mutex::new(document),
            report: RwLock::new(Report::starting("the member starts")),
            running: OnceLock::new(),
            granted: AtomicBool::new(false),
            met: Notify::new(),
            http: PeerHttp::new(names),
        })
    }

    pub(super) fn document(&self) -> Option<Document> {
        self.document.lock().clone()
    }

    pub(super) fn owner(&self) -> Result<Option<Owner>, DiskError> {
        read_json(&self.owner_path).map_err(|source| DiskError::new(&self.owner_path, source))
    }

    /// Makes the log's folder this member's; comes before the document that says the member belongs to a
    /// cluster, so that a crash between the two leaves an unstarted member.
    pub(super) fn own_log(&self, owner: Owner) -> Result<(), DiskError> {
        write_json_durably(&self.owner_path, &owner)
            .map_err(|source| DiskError::new(&self.owner_path, source))
    }

    /// Replaces the document, on disk first. `change` gets the present one and may leave it.
    pub(super) fn update<T>(
        &self,
        change: impl FnOnce(Option<&Document>) -> (T, Option<Document>),
    ) -> Result<T, DiskError> {
        let mut document = self.document.lock();
        let (result, new) = change(document.as_ref());
        if let Some(new) = new {
            write_json_durably(&self.identity_path, &new)
                .map_err(|source| DiskError::new(&self.identity_path, source))?;
            *document = Some(new);
        }
        Ok(result)
    }

    /// Answers a peer; what has to be noted is on disk before this returns.
    pub(super) fn answer(&self, hello: &Hello) -> Result<Answer, DiskError> {
        let safe = {
            let report = self.report.read();
            (report.state == ServerState::Safe).then(|| report.reason.clone())
        };
        if let Some(reason) = safe {
            return Ok(Answer::NotReady { because: format!("it is in safe mode: {reason}") });
        }
        let live = self.running.get().map(|running| (running.members)());
        let (answer, met) = self.update(|document| {
            let (answer, noted) = match document {
                Some(document) => handshake::answer(document, live.as_deref(), hello),
                None => (Answer::NotReady { because: "it has not begun yet".to_owned() }, None),
            };
            ((answer, noted.is_some()), noted)
        })?;
        if met {
            self.met.notify_one();
        }
        Ok(answer)
    }

    /// Gives leave to found a cluster on the disk of this name, and on no other.
    ///
    /// # Errors
    /// Names the disk that is here.
    pub(super) fn grant(&self, disk: &str) -> Result<(), String> {
        let document = self.document();
        match document.as_ref().map(|document| (document.nonce.to_string(), &document.stage)) {
            Some((here, Stage::Founding { .. })) if here == disk => {
                self.granted.store(true, Ordering::Release);
                self.met.notify_one();
                Ok(())
            }
            Some((here, Stage::Founding { .. })) => {
                Err(format!("leave is given to disk {disk}, but the disk here is {here}"))
            }
            Some(_) | None => Err("this member is not about to found a cluster".to_owned()),
        }
    }

    pub(super) fn is_granted(&self) -> bool {
        self.granted.load(Ordering::Acquire)
    }

    pub(super) fn set_report(&self, state: ServerState, reason: &str, waiting_for: Vec<report::Waiting>) {
        let position = self.position();
        let reason = reason.to_owned();
        *self.report.write() = Report { state, reason, waiting_for, position };
    }

    fn position(&self) -> Position {
        match self.document.lock().as_ref() {
            Some(document) => Position {
                cluster_id: match document.stage {
                    Stage::Discovering { .. } => String::new(),
                    _ => document.cluster.to_string(),
                },
                member_id: document.me.to_string(),
                disk: document.nonce.to_string(),
                ..Position::default()
            },
            None => Position::default(),
        }
    }

    pub(super) fn set_running(&self, running: Running) {
        // Set once, when the member has started.
        let _ = self.running.set(running);
    }

    pub(super) fn members(&self) -> Option<Vec<Member>> {
        self.running.get().map(|running| (running.members)())
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        self.running.get().map(|running| (running.standing)())
    }

    /// What this member knows by itself.
    pub(super) fn own_report(&self) -> Report {
        match self.running.get() {
            Some(running) => {
                let members = (running.members)();
                report::running(&(running.standing)(), self.position(), &members, &BTreeMap::new())
            }
            None => self.report.read().clone(),
        }
    }

    /// The same, and without a leader also what the peers say of themselves.
    pub(super) async fn full_report(self: &Arc<Self>) -> Report {
        let Some(running) = self.running.get() else { return self.own_report() };
        let standing = (running.standing)();
        if standing.leader.is_some() || standing.is_removed {
            return self.own_report();
        }
        let members = (running.members)();
        let me = self.document().map(|document| document.me);
        let others = members.iter().filter(|member| Some(member.id) != me);
        let peers = join_all(others.map(|member| self.ask_state(member))).await.into_iter().collect();
        report::running(&standing, self.position(), &members, &peers)
    }

    async fn ask_state(&self, member: &Member) -> (MemberId, Result<Report, String>) {
        let mut said = Err("it has no peer URL".to_owned());
        for url in member.peer_urls.iter().filter_map(|url| HostUrl::parse(url).ok()) {
            said = self.http.json(&url, OWN_STATE_PATH, None::<&()>, STATE_WITHIN).await;
            if said.is_ok() {
                break;
            }
        }
        (member.id, said)
    }
}

/// A document of this room that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct DiskError {
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    fn new(path: &Path, source: io::Error) -> DiskError {
        DiskError { path: path.to_owned(), source }
    }
}

//! The loop of the local platform: a pass, then wait for the document, a process, the clock or a
//! signal.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::document::Document;
use super::folder::{Cluster, Folder, free_base_port};
use super::process::Processes;
use super::screen::{Screen, View};
use super::{Event, Local, Report};
use crate::api::{ConditionStatus, ConditionType, KvorumCluster};
use crate::operator::names::{MemberName, REPLACE};
use crate::operator::reconcile::{Reconciler, chain};
use crate::operator::validate::Invalid;

/// How often the document is looked at.
const DOCUMENT_EVERY: Duration = Duration::from_millis(250);

/// Asking three processes on this machine costs nothing, and people watch.
const CHECK_AGAIN_MAX: Duration = Duration::from_secs(2);

/// Members that have not gone this long after the whole cluster was told to stop are killed. What
/// they acknowledged is safe.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// After a pass that could not look or publish.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The KvorumCluster document.
    pub document: PathBuf,
    /// Where state and data go.
    pub folder: PathBuf,
    /// The program of the members.
    pub server: PathBuf,
}

/// Why a local cluster could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {invalid}")]
    Document { path: String, invalid: Invalid },
    #[error("{path} is in use by another kvorum-operator: stop that one, or give another --dir")]
    InUse { path: String },
    #[error(
        "the {ports} on, which this cluster was given, are in use by another cluster: stop that one first"
    )]
    PortsInUse { ports: String },
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let doing = doing.into();
    move |source| Error::Io { doing, source }
}

/// Runs the cluster of the document until SIGINT, SIGTERM or SIGHUP, then stops its members. Their
/// data stay; a later run goes on with them.
///
/// # Errors
/// When it cannot be begun; a running cluster is never given up.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(io_error("listen for signals"))?;
    let mut screen = Screen::new();
    let (mut document, local) = open(&options)?;
    let members = local.folder.disks().map_err(io_error("read the members' folders"))?;
    let (processes, folder) = (local.processes.clone(), &local.folder);
    processes.find(folder, members.into_keys()).map_err(io_error("find processes"))?;
    let reconciler = Reconciler::new(local);
    tell_problem(&mut screen, &document);
    let mut teller = Teller::default();
    loop {
        // A pass waits for members; whoever ends the program does not wait for them.
        let wait = tokio::select! {
            biased;
            () = signals.next() => break,
            wait = pass(&reconciler, &document, &mut screen, &mut teller) => wait,
        };
        if wait_for_news(&processes, &document, &mut signals, wait).await {
            break;
        }
        if document.changed() {
            reread(&reconciler.platform, &mut document, &mut screen);
        }
    }
    stop(&processes, &reconciler.platform, &mut signals, &mut screen).await;
    Ok(())
}

/// Returns when no member's process is left.
async fn stop(processes: &Processes, local: &Local, signals: &mut Signals, screen: &mut Screen) {
    screen.clear();
    let note = "the members are told to stop; to be told again kills them".to_owned();
    screen.say(&Event { warning: false, reason: "Stopping".to_owned(), note });
    let leader = local.status.lock().leader.clone();
    let leader = leader.and_then(|name| MemberName::parse(&local.folder.cluster().name, &name));
    let killed = tokio::select! {
        () = processes.stop_all(leader.as_ref()) => false,
        () = signals.next() => true,
        () = tokio::time::sleep(STOP_WITHIN) => true,
    };
    if killed {
        processes.kill_all().await;
    }
    let how = if killed { "had to be killed" } else { "have stopped" };
    let note = format!("all members {how}; their data stay, and the same command goes on with them");
    screen.say(&Event { warning: false, reason: "Stopped".to_owned(), note });
}

/// What was said already, so that it is said once.
#[derive(Default)]
struct Teller {
    began: bool,
    failure: Option<String>,
}

impl Teller {
    /// At the start where the cluster stands, if nothing else is said.
    fn at_start(&mut self, report: &Report) -> Option<Event> {
        let first = !std::mem::replace(&mut self.began, true) && report.event.is_none();
        let held = report.status.conditions.iter().find(|held| held.kind == ConditionType::Ready)?;
        first.then(|| Event {
            warning: held.status != ConditionStatus::True,
            reason: format!("{:?}", held.reason),
            note: held.message.clone(),
        })
    }

    /// A failure, unless it is the one of the pass before.
    fn failed(&mut self, failure: Option<String>) -> Option<Event> {
        let news = failure.clone().filter(|text| self.failure.as_ref() != Some(text));
        self.failure = failure;
        news.map(|note| warning("Failed", note))
    }
}

async fn pass(
    reconciler: &Reconciler<Local>,
    document: &Document,
    screen: &mut Screen,
    teller: &mut Teller,
) -> Duration {
    let local = &reconciler.platform;
    let mut passing = std::pin::pin!(reconciler.pass());
    // A step may take long, and is told before it is performed.
    let passed = loop {
        tokio::select! {
            biased;
            passed = &mut passing => break passed,
            () = local.published.notified() => show(local, document, screen),
        }
    };
    show(local, document, screen);
    match passed {
        Ok(pass) => {
            let failure = pass.failure.as_ref().map(|failure| chain(failure));
            let news = [teller.at_start(&pass.report), teller.failed(failure)];
            news.iter().flatten().for_each(|event| screen.say(event));
            pass.check_again_after.min(CHECK_AGAIN_MAX)
        }
        Err(error) => {
            teller.failed(Some(chain(&error))).iter().for_each(|event| screen.say(event));
            AFTER_ERROR
        }
    }
}

fn show(local: &Local, document: &Document, screen: &mut Screen) {
    let news = std::mem::take(&mut *local.news.lock());
    news.iter().for_each(|event| screen.say(event));
    screen.show(&View {
        name: &local.folder.cluster().name,
        status: &local.status.lock(),
        addressing: &local.addressing(),
        problem: document.problem.as_deref(),
    });
}

fn warning(reason: &str, note: String) -> Event {
    Event { warning: true, reason: reason.to_owned(), note }
}

/// Whether it is time to stop.
async fn wait_for_news(
    processes: &Processes,
    document: &Document,
    signals: &mut Signals,
    wait: Duration,
) -> bool {
    tokio::select! {
        biased;
        () = signals.next() => true,
        () = processes.changed.notified() => false,
        () = edited(document) => false,
        () = tokio::time::sleep(wait) => false,
    }
}

async fn edited(document: &Document) {
    while !document.changed() {
        tokio::time::sleep(DOCUMENT_EVERY).await;
    }
}

/// The cluster of the folder goes on with the spec that it last accepted, whatever is wrong with
/// the document now; a new one needs a good document.
fn open(options: &Options) -> Result<(Document, Local), Error> {
    let folder = std::path::absolute(&options.folder).map_err(io_error("find the folder"))?;
    let at = folder.display().to_string();
    let mut document = Document::new(&options.document);
    let held = Folder::read(&folder).map_err(io_error(format!("read {at}")))?;
    let read = document.read(held.as_ref().map(|held| (held.name.as_str(), &held.spec)));
    let (cluster, ports) = match (held, read) {
        (Some(held), Ok(cluster)) if !differs(&cluster, &held) => (held, None),
        (Some(held), Ok(cluster)) => {
            let replace = to_move(&cluster);
            (Cluster { spec: cluster.spec, replace, generation: held.generation + 1, ..held }, None)
        }
        (Some(held), Err(_)) => (held, None),
        (None, Ok(cluster)) => {
            let (base_port, claim) = free_base_port().map_err(io_error("find free ports"))?;
            (found(cluster, base_port), Some(claim))
        }
        (None, Err(invalid)) => {
            let path = options.document.display().to_string();
            return Err(Error::Document { path, invalid });
        }
    };
    let folder = open_folder(&folder, cluster, ports)?;
    let status = folder.status().map_err(io_error(format!("read the status in {at}")))?;
    let local = Local {
        folder,
        server: options.server.clone(),
        processes: Processes::default(),
        news: Default::default(),
        published: Default::default(),
        status: parking_lot::Mutex::new(status),
    };
    Ok((document, local))
}

fn open_folder(path: &Path, cluster: Cluster, ports: Option<File>) -> Result<Folder, Error> {
    let at = path.display().to_string();
    Folder::open(path, cluster, ports).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::InUse { path: at },
        io::ErrorKind::AddrInUse => Error::PortsInUse { ports: error.to_string() },
        _ => Error::Io { doing: format!("open {at}"), source: error },
    })
}

fn found(cluster: KvorumCluster, base_port: u16) -> Cluster {
    let replace = to_move(&cluster);
    Cluster {
        name: cluster.metadata.name.unwrap_or_default(),
        uid: format!("{:032x}", rand::rng().random::<u128>()),
        base_port,
        generation: 1,
        replace,
        spec: cluster.spec,
    }
}

fn reread(local: &Local, document: &mut Document, screen: &mut Screen) {
    let held = local.folder.cluster();
    if let Ok(cluster) = document.read(Some((&held.name, &held.spec)))
        && differs(&cluster, &held)
        && let Err(error) = local.folder.accept(cluster.spec.clone(), to_move(&cluster))
    {
        screen.say(&warning("Failed", format!("write the spec down: {error}")));
    }
    tell_problem(screen, document);
}

fn differs(document: &KvorumCluster, held: &Cluster) -> bool {
    document.spec != held.spec || to_move(document) != held.replace
}

/// The member that the document asks to be moved.
fn to_move(document: &KvorumCluster) -> Option<String> {
    document.metadata.annotations.as_ref()?.get(REPLACE).map(|name| name.trim().to_owned())
}

fn tell_problem(screen: &mut Screen, document: &Document) {
    if let Some(problem) = &document.problem {
        let note = format!("{} is not followed: {problem}", document.path().display());
        screen.say(&warning("Refused", note));
    }
}

struct Signals([Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

//! The server's configuration, typed and checked: flags, environment and file in, [`Config`] out.
//!
//! The checks and their texts are etcd's (`embed/config.go`), so that scripts and people who know etcd read
//! what they know. What only matters at the first start (who is in `--initial-cluster`) is checked by
//! [`FirstStart`], because after it those flags are ignored.
//! Flags that are not served are refused by `flags`; https and unix URLs are refused here.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use crate::bootstrap::discovery::{ServiceUrl, ServiceV3, parse_proxy};
use crate::bootstrap::{ClusterState, FirstStart, Source, SrvSource};
use crate::client::Timeouts;
use crate::flags::{self, Asked, GoDuration, HostUrl, Note, Scheme, Settings};
use crate::telemetry::logs;
use crate::types::{ETCD_VERSION, KVORUM_VERSION};

/// An election timeout above this is refused, in milliseconds.
const ELECTION_MS_MAX: u64 = 50_000;

/// The part of a request's time that is not waiting for elections.
const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

/// Above this many bytes per request a warning is logged.
const REQUEST_BYTES_RECOMMENDED: u64 = 10 * 1024 * 1024;

/// Everything that the server was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub data_dir: PathBuf,
    /// None: below the data directory.
    pub wal_dir: Option<PathBuf>,

    /// Where to listen. `client_http` non-empty: HTTP is served there and not on `client`.
    pub listen: Listen,
    /// How the others know this member; used at the first start for peers, published for clients.
    pub advertise_peer: Vec<HostUrl>,
    pub advertise_client: Vec<HostUrl>,
    pub first_start: FirstStart,
    /// Empty: whom the system's configuration names.
    pub name_servers: Vec<SocketAddr>,

    pub heartbeat: Duration,
    pub election: Duration,
    pub pre_vote: bool,
    pub strict_reconfig_check: bool,
    pub max_learners: usize,
    /// Applied entries between two checkpoints.
    pub snapshot_count: u64,
    /// Log entries kept behind a checkpoint.
    pub snapshot_catchup_entries: u64,
    /// Whether the log may go without syncing; acknowledged writes are then lost in a crash of the machine.
    pub unsafe_no_fsync: bool,
    /// Checkpoint files to keep; None keeps all.
    pub max_snapshots: Option<usize>,

    pub max_txn_ops: usize,
    pub max_request_bytes: usize,
    pub max_concurrent_streams: u32,
    /// As the user gave it: 0 means 2 GiB, negative no limit. See [`Config::quota_bytes`].
    pub quota_backend_bytes: i64,
    /// None: history is never compacted by itself.
    pub auto_compaction: Option<AutoCompaction>,
    pub watch_progress_notify_interval: Duration,
    pub keepalive: Keepalive,
    pub socket: SocketOptions,

    pub logs: logs::Options,
    /// Whether `--metrics=extensive` was given.
    pub extensive_metrics: bool,
    /// A unary call that takes longer is logged.
    pub warning_unary_request: Duration,
    /// Origins that browsers may call from; None: any.
    pub cors: Option<Vec<String>>,
    /// Host names of HTTP requests; None: any.
    pub host_whitelist: Option<Vec<String>>,
    /// Name, stage and state of every feature gate, for the metric.
    pub feature_gates: Vec<(&'static str, &'static str, bool)>,

    /// Stay up in state Removed instead of exiting.
    pub hold_when_removed: bool,
    /// Stay up in state Refused instead of exiting.
    pub hold_when_refused: bool,
    /// What to log at the start; see [`Config::log_notes`].
    notes: Vec<Note>,
    advice: Vec<Advice>,
}

#[derive(Clone, Debug)]
pub struct Listen {
    pub peer: Vec<HostUrl>,
    pub client: Vec<HostUrl>,
    pub client_http: Vec<HostUrl>,
    pub metrics: Vec<HostUrl>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Keep this much time of history.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(i64),
}

/// How connections of clients are watched.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// None: the server never pings.
    pub interval: Option<Duration>,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    pub reuse_port: bool,
    pub reuse_address: bool,
}

/// Why no server starts.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotStarted {
    /// Help or version was asked for: goes to standard output, exit code 0.
    #[error("{0}")]
    Asked(String),
    /// The command line is not understood: goes to standard error with the usage text, exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A setting is wrong: logged, exit code 1.
    #[error("{0}")]
    Invalid(String),
    /// A variable stands beside its flag: logged, exit code 1.
    #[error("{text}: {variable}")]
    Shadowed { text: String, variable: String },
}

/// A setting that is allowed but deserves a word.
#[derive(Clone, Debug)]
enum Advice {
    DefaultDataDir(PathBuf),
    DefaultName(String),
    LargeRequests(u64),
    DefaultHost(String),
    NoDefaultHost(String),
    FromFile(String),
}

impl NotStarted {
    pub fn exit_code(&self) -> u8 {
        match self {
            NotStarted::Asked(_) => 0,
            NotStarted::Usage(_) => 2,
            NotStarted::Invalid(_) | NotStarted::Shadowed { .. } => 1,
        }
    }

    /// Logs what has to be logged; returns what has to be printed (to standard output for exit code 0, else to
    /// standard error).
    pub fn report(&self) -> String {
        match self {
            NotStarted::Asked(text) => text.clone(),
            NotStarted::Usage(problem) => format!("{problem}\n{}\n", flags::usage()),
            NotStarted::Invalid(problem) => {
                tracing::warn!(error = problem, "failed to verify flags");
                String::new()
            }
            NotStarted::Shadowed { variable, .. } => {
                tracing::error!(
                    environment_variable = variable,
                    "conflicting environment variable is shadowed by corresponding command-line flag \
                     (either unset environment variable or disable flag))"
                );
                String::new()
            }
        }
    }
}

impl From<flags::Error> for NotStarted {
    fn from(error: flags::Error) -> Self {
        match &error {
            flags::Error::Usage(problem) => NotStarted::Usage(problem.clone()),
            flags::Error::Invalid(problem) => NotStarted::Invalid(problem.clone()),
            flags::Error::Shadowed { variable } => {
                NotStarted::Shadowed { text: error.to_string(), variable: variable.clone() }
            }
        }
    }
}

impl Config {
    /// Reads a command line (without the program's name), an environment, and the file that they may name.
    pub fn load(
        argv: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, NotStarted> {
        match flags::read(argv, environment)? {
            Asked::Start(settings) => Config::from_settings(&settings),
            Asked::StartFromFile(path) => {
                let unreadable = |error| NotStarted::Invalid(format!("open {path}: {error}"));
                let text = std::fs::read_to_string(&path).map_err(unreadable)?;
                let mut config = Config::from_settings(&flags::from_file(&text)?)?;
                config.advice.insert(0, Advice::FromFile(path));
                Ok(config)
            }
            Asked::Help => Err(NotStarted::Asked(flags::help())),
            Asked::Version => Err(NotStarted::Asked(version())),
        }
    }

    /// Checks settings and gives them their types.
    pub fn from_settings(settings: &Settings) -> Result<Config, NotStarted> {
        build(settings).map_err(NotStarted::Invalid)
    }

    /// Longest time that a request may take: etcd's rule.
    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT_BASE + 2 * self.election
    }

    /// The size of the key space at which writes should be refused; None: no limit.
    pub fn quota_bytes(&self) -> Option<u64> {
        match self.quota_backend_bytes {
            0 => Some(2 * 1024 * 1024 * 1024),
            bytes => u64::try_from(bytes).ok(),
        }
    }

    /// Logs once what the settings have to say; to be called when logging is set up.
    pub fn log_notes(&self) {
        self.notes.iter().for_each(log_note);
        self.advice.iter().for_each(log_advice);
    }
}

/// The four lines that etcd prints, which tools read, and ours below them.
pub fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: kvorum-{KVORUM_VERSION}\nGo Version: none (Rust)\n\
         Go OS/Arch: {}/{}\nKvorum Version: {KVORUM_VERSION}\n",
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    )
}

fn build(settings: &Settings) -> Result<Config, String> {
    let logs = log_options(settings)?;
    let listen = listen(settings)?;
    let (advertise_peer, advertise_client, mut advice) = advertise(settings, &listen)?;
    let (heartbeat, election) = timing(settings)?;
    let name = settings.text("name");
    let data_dir = match settings.text("data-dir") {
        dir if dir.is_empty() => {
            let dir = PathBuf::from(format!("{name}.etcd"));
            advice.push(Advice::DefaultDataDir(dir.clone()));
            dir
        }
        dir => PathBuf::from(dir),
    };
    if name == "default" {
        advice.push(Advice::DefaultName(name.clone()));
    }
    if settings.uint("max-request-bytes") > REQUEST_BYTES_RECOMMENDED {
        advice.push(Advice::LargeRequests(settings.uint("max-request-bytes")));
    }
    check_features(settings)?;
    let keep = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Ok(Config {
        first_start: first_start(settings, &name, &advertise_peer)?,
        name_servers: name_servers(settings)?,
        name,
        data_dir,
        wal_dir: Some(settings.text("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from),
        listen,
        advertise_peer,
        advertise_client,
        heartbeat,
        election,
        pre_vote: settings.bool("pre-vote"),
        strict_reconfig_check: settings.bool("strict-reconfig-check"),
        max_learners: keep(settings.uint("max-learners")),
        snapshot_count: settings.uint("snapshot-count"),
        snapshot_catchup_entries: settings.uint("snapshot-catchup-entries"),
        max_snapshots: Some(keep(settings.uint("max-snapshots"))).filter(|count| *count > 0),
        unsafe_no_fsync: settings.bool("unsafe-no-fsync"),
        max_txn_ops: keep(settings.uint("max-txn-ops")),
        max_request_bytes: keep(settings.uint("max-request-bytes")),
        max_concurrent_streams: u32::try_from(settings.uint("max-concurrent-streams")).unwrap_or(u32::MAX),
        quota_backend_bytes: settings.int("quota-backend-bytes"),
        auto_compaction: auto_compaction(settings)?,
        watch_progress_notify_interval: settings
            .duration("watch-progress-notify-interval")
            .positive()
            .unwrap_or(Duration::from_secs(600)),
        keepalive: Keepalive {
            interval: settings.duration("grpc-keepalive-interval").positive(),
            timeout: settings
                .duration("grpc-keepalive-timeout")
                .positive()
                .unwrap_or(Duration::from_secs(20)),
        },
        socket: SocketOptions {
            reuse_port: settings.bool("socket-reuse-port"),
            reuse_address: settings.bool("socket-reuse-address"),
        },
        logs,
        extensive_metrics: settings.text("metrics") == "extensive",
        warning_unary_request: settings
            .duration("warning-unary-request-duration")
            .positive()
            .unwrap_or(Duration::from_millis(300)),
        cors: unless_any(settings.list("cors")),
        host_whitelist: unless_any(settings.list("host-whitelist")),
        feature_gates: settings
            .all_gates()
            .into_iter()
            .map(|(gate, on)| (gate.name, gate.stage, on))
            .collect(),
        hold_when_removed: settings.bool("kvorum-hold-when-removed"),
        hold_when_refused: settings.bool("kvorum-hold-when-refused"),
        notes: settings.notes().to_vec(),
        advice,
    })
}

fn unless_any(words: Vec<String>) -> Option<Vec<String>> {
    let any = words.is_empty() || words.iter().any(|word| word == "*" || word.is_empty());
    (!any).then_some(words)
}

fn log_options(settings: &Settings) -> Result<logs::Options, String> {
    match settings.text("logger").as_str() {
        "zap" => {}
        "capnslog" => return Err("--logger=capnslog is removed in v3.5".to_owned()),
        other => return Err(format!("unknown logger option {other:?}")),
    }
    let outputs = settings.list("log-outputs");
    if outputs.len() > 1 && outputs.iter().any(|output| output == "default") {
        return Err(r#"multi logoutput for "default" is not supported yet"#.to_owned());
    }
    if outputs.iter().any(|output| output == "systemd/journal") {
        return Err(
            "--log-outputs=systemd/journal is refused: log to stderr, which the journal records".to_owned()
        );
    }
    Ok(logs::Options {
        level: logs::parse_level(&settings.text("log-level"))?,
        format: logs::Format::parse(&settings.text("log-format"))?,
        outputs: outputs.iter().map(|output| logs::Output::parse(output)).collect(),
    })
}

fn listen(settings: &Settings) -> Result<Listen, String> {
    let bind = |name: &str| -> Result<Vec<HostUrl>, String> {
        let urls = settings.urls(name);
        for url in &urls {
            if url.scheme() != Scheme::Http {
                return Err(refused_scheme(name, url));
            }
            if url.ip().is_none() && url.host() != "localhost" {
                return Err(format!("expected IP in URL for binding ({url})"));
            }
        }
        Ok(urls)
    };
    Ok(Listen {
        peer: bind("listen-peer-urls")?,
        client: bind("listen-client-urls")?,
        client_http: bind("listen-client-http-urls")?,
        metrics: bind("listen-metrics-urls")?,
    })
}

fn refused_scheme(flag: &str, url: &HostUrl) -> String {
    match url.scheme() {
        Scheme::Https | Scheme::Unixs => format!("--{flag} {url} is refused: {}", flags::TLS_LATER),
        Scheme::Unix | Scheme::Http => {
            format!("--{flag} {url} is refused: unix sockets are not served, only http://HOST:PORT")
        }
    }
}

/// URLs for peers and for clients, and what to say about them.
type Advertised = (Vec<HostUrl>, Vec<HostUrl>, Vec<Advice>);

/// The advertised URLs; where they are the defaults and the server listens everywhere, the machine's own
/// address takes the place of localhost, as in etcd.
fn advertise(settings: &Settings, listen: &Listen) -> Result<Advertised, String> {
    let mut peer = settings.urls("initial-advertise-peer-urls");
    let mut client = settings.urls("advertise-client-urls");
    check_hosts(&peer).map_err(|(urls, cause)| {
        format!(r#"--initial-advertise-peer-urls {urls:?} must be "host:port" ({cause})"#)
    })?;
    check_hosts(&client).map_err(|(urls, cause)| {
        format!(
            r#"--advertise-client-urls {urls:?} must be in the format "host:port", "unix:/path/to/socket" or "unixs:/path/to/socket" ({cause})"#
        )
    })?;
    for (flag, urls) in [("initial-advertise-peer-urls", &peer), ("advertise-client-urls", &client)] {
        if let Some(url) = urls.iter().find(|url| url.scheme() != Scheme::Http) {
            return Err(refused_scheme(flag, url));
        }
    }
    let listens_explicitly = settings.is_set("listen-client-urls") && !settings.from_file();
    if listens_explicitly && !settings.is_set("advertise-client-urls") {
        return Err(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly".to_owned()
        );
    }
    let mut advice = Vec::new();
    for (urls, bound, default) in [
        (&mut peer, &listen.peer, "http://localhost:2380"),
        (&mut client, &listen.client, "http://localhost:2379"),
    ] {
        let everywhere = bound.first().filter(|url| url.host() == "0.0.0.0");
        let [only] = urls.as_mut_slice() else { continue };
        if let Some(bound) = everywhere.filter(|_| only.as_str() == default) {
            match default_host() {
                Ok(host) => {
                    *only = bound.with_host(&host);
                    advice.push(Advice::DefaultHost(host));
                }
                Err(error) => advice.push(Advice::NoDefaultHost(error.to_string())),
            }
        }
    }
    Ok((peer, client, advice))
}

fn check_hosts(urls: &[HostUrl]) -> Result<(), (String, String)> {
    match urls.iter().find(|url| url.host().is_empty()) {
        Some(url) => {
            let all: Vec<&str> = urls.iter().map(HostUrl::as_str).collect();
            Err((all.join(","), format!("unexpected empty host ({url})")))
        }
        None => Ok(()),
    }
}

/// The address from which this machine would speak to the world; nothing is sent.
fn default_host() -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip().to_string())
}

fn timing(settings: &Settings) -> Result<(Duration, Duration), String> {
    let heartbeat = settings.uint("heartbeat-interval");
    let election = settings.uint("election-timeout");
    // Milliseconds in a file too: etcd's help text says otherwise, its code does not.
    if heartbeat == 0 {
        return Err(format!("--heartbeat-interval must be >0 (set to {heartbeat}ms)"));
    }
    if election == 0 {
        return Err(format!("--election-timeout must be >0 (set to {election}ms)"));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_MS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_MS_MAX}ms"
        ));
    }
    Ok((Duration::from_millis(heartbeat), Duration::from_millis(election)))
}

fn first_start(settings: &Settings, name: &str, advertise_peer: &[HostUrl]) -> Result<FirstStart, String> {
    let state = match settings.text("initial-cluster-state").as_str() {
        "new" => ClusterState::New,
        "existing" => ClusterState::Existing,
        other => return Err(format!("unexpected clusterState {other:?}")),
    };
    Ok(FirstStart {
        name: name.to_owned(),
        state,
        token: settings.text("initial-cluster-token"),
        source: source(settings, name, advertise_peer)?,
        advertise_peer: advertise_peer.to_vec(),
        await_grant: settings.bool("kvorum-await-founding-grant"),
        patience: settings
            .duration("kvorum-discovery-timeout")
            .positive()
            .ok_or("--kvorum-discovery-timeout must be above 0; 5m would be right")?,
    })
}

/// The one flag that lists the members, or leads to the list.
fn source(settings: &Settings, name: &str, advertise_peer: &[HostUrl]) -> Result<Source, String> {
    let given = |flag: &str| Some(settings.text(flag)).filter(|text| !text.is_empty());
    let ways = ["initial-cluster", "discovery", "discovery-endpoints", "discovery-srv"];
    if ways.iter().filter(|flag| given(flag).is_some()).count() > 1 {
        return Err(r#"multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv""#.to_owned());
    }
    if let Some(url) = given("discovery") {
        let proxy = given("discovery-proxy").map(|proxy| parse_proxy(&proxy)).transpose()?;
        return Ok(Source::DiscoveryV2 { url: ServiceUrl::parse(&url)?, proxy });
    }
    if let Some(service) = service_v3(settings)? {
        return Ok(Source::DiscoveryV3(service));
    }
    if let Some(domain) = given("discovery-srv") {
        let size = usize::try_from(settings.uint("kvorum-discovery-srv-size")).unwrap_or(usize::MAX);
        return Ok(Source::Srv(SrvSource {
            domain: domain.trim_end_matches('.').to_owned(),
            suffix: settings.text("discovery-srv-name"),
            size: Some(size).filter(|size| *size > 0),
        }));
    }
    let alone = || advertise_peer.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",");
    Ok(Source::Listed(given("initial-cluster").unwrap_or_else(alone)))
}

fn service_v3(settings: &Settings) -> Result<Option<ServiceV3>, String> {
    let (token, endpoints) = (settings.text("discovery-token"), settings.list("discovery-endpoints"));
    if token.is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_owned());
    }
    if endpoints.is_empty() {
        return Ok(None);
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".to_owned());
    }
    let positive = |flag: &str| {
        let wrong = || format!("--{flag} must be above 0 (set to {})", settings.duration(flag));
        settings.duration(flag).positive().ok_or_else(wrong)
    };
    let timeouts =
        Timeouts { dial: positive("discovery-dial-timeout")?, call: positive("discovery-request-timeout")? };
    Ok(Some(ServiceV3 { token, endpoints, timeouts }))
}

/// The name servers to ask instead of the system's; a port may be left out.
fn name_servers(settings: &Settings) -> Result<Vec<SocketAddr>, String> {
    let parse = |text: &String| {
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
        address.map_err(|_| format!("--kvorum-name-servers={text}: IP or IP:PORT would be right"))
    };
    settings.list("kvorum-name-servers").iter().map(parse).collect()
}

fn auto_compaction(settings: &Settings) -> Result<Option<AutoCompaction>, String> {
    let mode = settings.text("auto-compaction-mode");
    let retention = match settings.text("auto-compaction-retention") {
        text if text.is_empty() => "0".to_owned(),
        text => text,
    };
    let nanos = match (mode.as_str(), retention.parse::<i64>()) {
        ("periodic", Ok(hours)) if hours >= 0 => hours.saturating_mul(3_600_000_000_000),
        ("revision", Ok(revisions)) if revisions >= 0 => revisions,
        ("periodic" | "revision", _) => {
            GoDuration::parse(&retention).map(|duration| duration.nanos).ok_or_else(|| {
                format!("error parsing CompactionRetention: time: invalid duration {retention:?}")
            })?
        }
        ("", _) => return Err("undefined auto-compaction-mode".to_owned()),
        _ => return Err(format!("unknown auto-compaction-mode {mode:?}")),
    };
    Ok(match (mode.as_str(), u64::try_from(nanos)) {
        (_, Ok(0) | Err(_)) => None,
        ("revision", Ok(_)) => Some(AutoCompaction::Revision(nanos)),
        (_, Ok(nanos)) => Some(AutoCompaction::Periodic(Duration::from_nanos(nanos))),
    })
}

/// What etcd checks of features that have no effect here.
fn check_features(settings: &Settings) -> Result<(), String> {
    let hash_check = settings.duration("compact-hash-check-time");
    if hash_check.positive().is_none() {
        return Err(format!("--compact-hash-check-time must be >0 (set to {hash_check})"));
    }
    let gates = settings.all_gates();
    let on = |name: &str| gates.iter().any(|(gate, on)| gate.name == name && *on);
    if on("LeaseCheckpointPersist") && !on("LeaseCheckpoint") {
        let text =
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint";
        return Err(text.to_owned());
    }
    match settings.text("metrics").as_str() {
        "basic" | "extensive" => Ok(()),
        other => Err(format!("--metrics must be basic or extensive (set to {other:?})")),
    }
}

fn log_note(note: &Note) {
    match note {
        Note::WithoutEffect { flag, value, would } => {
            tracing::warn!(flag, value, would, "flag is accepted without effect");
        }
        Note::OlderSpelling { flag, instead } => {
            tracing::warn!(flag, instead, "flag is deprecated; use the newer spelling");
        }
        Note::Ignored { flag } => {
            tracing::warn!(flag_name = flag, "flag is no longer supported - ignoring");
        }
        Note::VariableUsed { variable, value } => {
            tracing::info!(
                variable_name = variable,
                variable_value = value,
                "recognized and used environment variable"
            );
        }
        Note::VariableUnknown { variable } => {
            tracing::warn!(environment_variable = variable, "unrecognized environment variable");
        }
        Note::VariableSpecial { variable, value } => {
            tracing::warn!(key = variable, value, "cannot set special environment variable");
        }
        Note::KeyUnknown { key } => {
            tracing::warn!(key, "unrecognized key in the configuration file");
        }
    }
}

fn log_advice(advice: &Advice) {
    match advice {
        Advice::DefaultDataDir(dir) => {
            tracing::warn!(data_dir = %dir.display(), "'data-dir' was empty; using default");
        }
        Advice::DefaultName(name) => {
            tracing::warn!(
                name,
                "it isn't recommended to use default name, please set a value for --name; members of one \
                 cluster need different names"
            );
        }
        Advice::LargeRequests(bytes) => {
            tracing::warn!(
                max_request_bytes = bytes,
                recommended_request_bytes = REQUEST_BYTES_RECOMMENDED,
                "exceeded recommended request limit"
            );
        }
        Advice::DefaultHost(host) => tracing::info!(host, "detected default host for advertise"),
        Advice::NoDefaultHost(error) => tracing::info!(error, "failed to detect default host"),
        Advice::FromFile(path) => {
            tracing::info!(
                path,
                "loaded server configuration, other configuration command line flags and environment variables \
                 will be ignored if provided"
            );
        }
    }
}

#[cfg(test)]
mod tests;

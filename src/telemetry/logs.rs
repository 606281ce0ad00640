//! Log lines in the shape of etcd's (zap): `level`, `ts`, `caller`, `msg`, then the event's own fields.
//!
//! Fields are written by `tracing`; an underscore in a field's name is shown as a dash, as etcd spells its
//! fields (`member_id = ..` becomes `"member-id":..`).

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Zoned;
use parking_lot::Mutex;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What `--log-level`, `--log-format` and `--log-outputs` say.
#[derive(Clone, Debug)]
pub struct Options {
    pub level: LevelFilter,
    pub format: Format,
    pub outputs: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Console,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    File(PathBuf),
}

#[derive(Debug, thiserror::Error)]
#[error("log output {} cannot be opened: {source}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

impl Default for Options {
    /// Info, JSON, standard error: what etcd does before it has read its flags.
    fn default() -> Self {
        Options { level: LevelFilter::INFO, format: Format::Json, outputs: vec![Output::Stderr] }
    }
}

impl Format {
    /// The error is etcd's text.
    pub fn parse(text: &str) -> Result<Format, String> {
        match text {
            "json" | "" => Ok(Format::Json),
            "console" => Ok(Format::Console),
            other => Err(format!("unknown log format: {other}, supported values json, console")),
        }
    }
}

impl Output {
    pub fn parse(text: &str) -> Output {
        match text {
            "default" | "stderr" => Output::Stderr,
            "stdout" => Output::Stdout,
            path => Output::File(PathBuf::from(path)),
        }
    }
}

/// Reads zap's names of levels.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" | "" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" | "dpanic" | "panic" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err(format!("unrecognized level: {text:?}")),
    }
}

/// Makes these options the process's. A process has one log: where one is set up already, it stays.
pub fn init(options: &Options) -> Result<(), Error> {
    let subscriber = subscriber(options)?;
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging is set up already");
    }
    Ok(())
}

/// The subscriber that [`init`] installs; also for one thread or one test.
pub fn subscriber(options: &Options) -> Result<impl Subscriber + Send + Sync + use<>, Error> {
    let sinks = options.outputs.iter().map(Sink::open).collect::<Result<Vec<_>, _>>()?;
    // Libraries speak only when something is wrong: their debug lines are another project's.
    let libraries = options.level.min(LevelFilter::WARN);
    // openraft warns of every message that a peer does not get; `raft` says once what it comes to.
    let consensus = options.level.min(LevelFilter::ERROR);
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("openraft", consensus)
        .with_target("kvorum", options.level);
    let lines = Lines { format: options.format, sinks: Arc::new(sinks) };
    Ok(tracing_subscriber::registry().with(lines.with_filter(filter)))
}

enum Sink {
    Stderr,
    Stdout,
    File(Mutex<File>),
}

impl Sink {
    fn open(output: &Output) -> Result<Sink, Error> {
        match output {
            Output::Stderr => Ok(Sink::Stderr),
            Output::Stdout => Ok(Sink::Stdout),
            Output::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let file = opened.map_err(|source| Error { path: path.clone(), source })?;
                Ok(Sink::File(Mutex::new(file)))
            }
        }
    }

    /// A line that cannot be written is lost: there is nobody to tell.
    fn write(&self, line: &[u8]) {
        let _ = match self {
            Sink::Stderr => io::stderr().lock().write_all(line),
            Sink::Stdout => io::stdout().lock().write_all(line),
            Sink::File(file) => file.lock().write_all(line),
        };
    }
}

struct Lines {
    format: Format,
    sinks: Arc<Vec<Sink>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = line(self.format, &Zoned::now(), event.metadata(), fields);
        for sink in self.sinks.iter() {
            sink.write(line.as_bytes());
        }
    }
}

fn line(format: Format, now: &Zoned, metadata: &Metadata<'_>, fields: Fields) -> String {
    let level = match *metadata.level() {
        Level::TRACE | Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    };
    let ts = timestamp(now);
    let caller = caller(metadata);
    match format {
        Format::Json => {
            let head = [("level", level), ("ts", &ts), ("caller", &caller), ("msg", &fields.message)];
            let head = head.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
            let mut line = in_order(head.chain(fields.others));
            line.push('\n');
            line
        }
        Format::Console => {
            let others = if fields.others.is_empty() {
                String::new()
            } else {
                format!("\t{}", in_order(fields.others.into_iter()))
            };
            format!("{ts}\t{level}\t{caller}\t{}{others}\n", fields.message)
        }
    }
}

/// A JSON object with its keys in this order.
fn in_order(pairs: impl Iterator<Item = (String, Value)>) -> String {
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{}:{value}", Value::from(key))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// `2026-11-22T18:17:13.284972Z`; another zone than UTC as `+0100`.
fn timestamp(now: &Zoned) -> String {
    let zone = if now.offset().is_zero() { "Z".to_owned() } else { now.strftime("%z").to_string() };
    format!("{}{zone}", now.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
}

/// The last folder, the file and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or("unknown");
    let from = file.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &file[from..], metadata.line().unwrap_or(0))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.others.push((name.replace('_', "-"), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, level: LevelFilter, log: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let path = folder.path().join("server.log");
        let options = Options { level, format, outputs: vec![Output::File(path.clone())] };
        let subscriber = subscriber(&options).expect("the log opens");
        tracing::subscriber::with_default(subscriber, log);
        std::fs::read_to_string(path).expect("the log is there")
    }

    #[test]
    fn a_json_line_has_zaps_keys_in_zaps_order() {
        let text = written(Format::Json, LevelFilter::INFO, || {
            tracing::warn!(
                member_id = "8e9e05c52164694d",
                took = 7,
                slow = true,
                "apply request took too long"
            );
        });
        let value: Value = serde_json::from_str(&text).expect("one JSON object");
        assert_eq!(value["level"], "warn");
        assert_eq!(value["msg"], "apply request took too long");
        assert_eq!(value["member-id"], "8e9e05c52164694d");
        assert_eq!(value["took"], 7);
        assert_eq!(value["slow"], true);
        assert!(value["caller"].as_str().is_some_and(|caller| caller.starts_with("telemetry/logs.rs:")));
        let order: Vec<usize> = ["\"level\"", "\"ts\"", "\"caller\"", "\"msg\"", "\"member-id\""]
            .map(|key| text.find(key).unwrap_or(0))
            .into();
        assert!(order.is_sorted(), "{text}");
    }

    #[test]
    fn a_console_line_is_tab_separated_and_ends_in_its_fields() {
        let text = written(Format::Console, LevelFilter::INFO, || tracing::info!(peers = 2, "ready"));
        let cells: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!(&cells[1..2], ["info"]);
        assert_eq!(&cells[3..], ["ready", r#"{"peers":2}"#]);
    }

    #[test]
    fn lines_below_the_level_are_not_written_and_libraries_only_warn() {
        let text = written(Format::Json, LevelFilter::DEBUG, || {
            tracing::debug!("ours");
            tracing::info!(target: "h2::codec", "theirs");
            tracing::warn!(target: "h2::codec", "their warning");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        let text = written(Format::Json, LevelFilter::ERROR, || tracing::warn!("not serious"));
        assert_eq!(text, "");
    }

    #[test]
    fn times_carry_microseconds_and_their_zone() {
        let utc: Zoned = "2026-11-22T18:17:13.284972+00:00[UTC]".parse().expect("a time");
        assert_eq!(timestamp(&utc), "2026-11-22T18:17:13.284972Z");
        let east: Zoned = "2026-11-22T19:17:13.28+01:00[Europe/Berlin]".parse().expect("a time");
        assert_eq!(timestamp(&east), "2026-11-22T19:17:13.280000+0100");
    }

    #[test]
    fn levels_and_formats_are_zaps() {
        assert_eq!(parse_level("fatal"), Ok(LevelFilter::ERROR));
        assert_eq!(parse_level("loud"), Err("unrecognized level: \"loud\"".to_owned()));
        let refusal = "unknown log format: xml, supported values json, console";
        assert_eq!(Format::parse("xml"), Err(refusal.to_owned()));
    }
}

//! `watch`: open watchers, show what they bring, run a command for each event; go on after a lost connection.

use std::collections::VecDeque;
use std::io::BufRead;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::command::WATCH_FLAGS;
use super::fail::{Exit, Failure, describe};
use super::flags::{Parsed, lossy};
use super::print::Printer;
use super::{Session, kv, print, say, text, txn};
use crate::client::{Client, Code, Error, WatchStream};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::event::EventType;

/// Variables that stand for the arguments.
pub(super) const KEY: &str = "ETCDCTL_WATCH_KEY";
pub(super) const RANGE_END: &str = "ETCDCTL_WATCH_RANGE_END";

/// Between attempts to open the stream again.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

const BAD_NUMBER: &str = "bad number of arguments";

pub(super) async fn run(mut session: Session) -> Result<(), Failure> {
    let environment = (session.variable(KEY).to_owned(), session.variable(RANGE_END).to_owned());
    if environment.0.is_empty() && !environment.1.is_empty() {
        let end = text::quote(environment.1.as_bytes());
        return Err(Failure::bad_args(format!("{KEY} is empty but got {RANGE_END}={end}")));
    }
    if session.flags.bool("interactive") {
        let (client, printer) = session.open()?;
        return converse(Watches::new(client, printer), environment).await;
    }
    let wanted = wanted(&session.flags, &environment).map_err(Failure::bad_args)?;
    let (client, printer) = session.open()?;
    let watcher = watcher(wanted, &session.flags).map_err(Failure::bad_args)?;
    let mut watches = Watches::new(client, printer);
    watches.add(watcher);
    while !watches.watchers.is_empty() {
        watches.step().await?;
    }
    Err(Failure::new(Exit::Interrupted, "watch is canceled by the server"))
}

/// Reads requests from standard input while events are shown.
async fn converse(mut watches: Watches, environment: (String, String)) -> Result<(), Failure> {
    let mut lines = read_lines();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line.unwrap_or_else(|| Err("EOF".to_owned())),
            stepped = watches.step() => {
                stepped?;
                continue;
            }
        };
        let line = line.map_err(|error| {
            Failure::new(Exit::InvalidInput, format!("error reading watch request line: {error}"))
        })?;
        request(&mut watches, &line, &environment)?;
    }
}

/// One line of a conversation.
fn request(watches: &mut Watches, line: &[u8], environment: &(String, String)) -> Result<(), Failure> {
    let shown = lossy(line);
    let words = txn::split_words(line).map_err(|error| Failure::new(Exit::InvalidInput, error))?;
    let Some((verb, rest)) = words.split_first() else {
        say(&format!("Invalid command: {shown} (watch and progress supported)\n"));
        return Ok(());
    };
    match verb.as_slice() {
        b"watch" if rest.is_empty() && environment.0.is_empty() => {
            say(&format!("Invalid command {shown} (command type or key is not provided)\n"));
        }
        b"watch" => {
            let flags = Parsed::new(WATCH_FLAGS).parse(rest).map_err(Failure::bad_args)?;
            let wanted = wanted(&flags, environment).map_err(Failure::bad_args)?;
            match watcher(wanted, &flags) {
                Ok(watcher) => watches.add(watcher),
                Err(error) => say(&format!("Invalid command {shown} ({error})\n")),
            }
        }
        b"progress" => watches.progress(),
        _ => say(&format!("Invalid command {shown} (only support watch)\n")),
    }
    Ok(())
}

/// Lines from a thread of their own: standard input cannot be awaited.
fn read_lines() -> mpsc::UnboundedReceiver<Result<Vec<u8>, String>> {
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = match input.read_until(b'\n', &mut line) {
                Ok(_) if line.pop_if(|byte| *byte == b'\n').is_some() => Ok(line),
                Ok(_) => Err("EOF".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            let ended = read.is_err();
            if send.send(read).is_err() || ended {
                return;
            }
        }
    });
    receive
}

/// Keys and command of one watch request.
struct Wanted {
    keys: Vec<Vec<u8>>,
    command: Vec<Vec<u8>>,
}

/// Tells keys from the command behind `--`; variables stand for keys.
fn wanted(flags: &Parsed, (key, range_end): &(String, String)) -> Result<Wanted, &'static str> {
    let split = flags.before_dash.unwrap_or(flags.args.len());
    let (keys, command) = flags.args.split_at(split);
    if flags.before_dash.is_some() && command.is_empty() {
        return Err("bad number of arguments (found separator --, but no commands)");
    }
    if !key.is_empty() && !keys.is_empty() {
        return Err("bad number of arguments (found conflicting environment key)");
    }
    let keys = if key.is_empty() {
        keys.to_vec()
    } else {
        [key, range_end]
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(|text| text.clone().into_bytes())
            .collect()
    };
    if keys.is_empty() && command.is_empty() {
        return Err(BAD_NUMBER);
    }
    Ok(Wanted { keys, command: command.to_vec() })
}

fn watcher(Wanted { keys, command }: Wanted, flags: &Parsed) -> Result<Watcher, &'static str> {
    let prefix = flags.bool("prefix");
    let (key, range_end) = match keys.as_slice() {
        [] => return Err(BAD_NUMBER),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive"),
        [key, end] => (key.clone(), end.clone()),
        [key, ..] if prefix && key.is_empty() => (vec![0], vec![0]),
        [key, ..] if prefix => (key.clone(), kv::prefix_end(key)),
        [key, ..] => (key.clone(), Vec::new()),
    };
    let request = pb::WatchCreateRequest {
        key: Bytes::from(key),
        range_end: range_end.into(),
        start_revision: flags.int("rev"),
        progress_notify: flags.bool("progress-notify"),
        prev_kv: flags.bool("prev-kv"),
        ..Default::default()
    };
    Ok(Watcher { request, command, id: None })
}

/// One watcher. Its request always asks for what has not been seen yet.
struct Watcher {
    request: pb::WatchCreateRequest,
    command: Vec<Vec<u8>>,
    /// Known once the server has created it on the stream that is open now.
    id: Option<i64>,
}

/// All watchers of one stream.
struct Watches {
    client: Client,
    printer: Printer,
    watchers: Vec<Watcher>,
    stream: Option<WatchStream>,
    /// Watchers asked for and not created yet, in the order of the answers to come; positions in `watchers`.
    asked: VecDeque<usize>,
    /// Progress was asked for while there was no stream.
    owes_progress: bool,
}

impl Watches {
    fn new(client: Client, printer: Printer) -> Watches {
        Watches {
            client,
            printer,
            watchers: Vec::new(),
            stream: None,
            asked: VecDeque::new(),
            owes_progress: false,
        }
    }

    fn add(&mut self, watcher: Watcher) {
        if let Some(stream) = &self.stream {
            stream.create(watcher.request.clone());
            self.asked.push_back(self.watchers.len());
        }
        self.watchers.push(watcher);
    }

    fn progress(&mut self) {
        match &self.stream {
            Some(stream) => stream.progress(),
            None => self.owes_progress = true,
        }
    }

    /// Opens the stream when there is none, else takes one response. May be dropped while it waits.
    async fn step(&mut self) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            return self.open().await;
        };
        match stream.next().await {
            Some(Ok(response)) => self.take(response).await,
            None => {
                self.lost();
                Ok(())
            }
            Some(Err(error)) if may_come_back(&error) => {
                self.lost();
                Ok(())
            }
            Some(Err(error)) => self.end_all(&error),
        }
    }

    async fn open(&mut self) -> Result<(), Failure> {
        let Some(first) = self.watchers.first() else {
            return std::future::pending().await;
        };
        match self.client.watch(first.request.clone()).await {
            Ok(stream) => {
                for watcher in &self.watchers[1..] {
                    stream.create(watcher.request.clone());
                }
                if std::mem::take(&mut self.owes_progress) {
                    stream.progress();
                }
                self.asked = (0..self.watchers.len()).collect();
                self.stream = Some(stream);
                Ok(())
            }
            Err(error) if error.is_unsent() || may_come_back(&error) => {
                tokio::time::sleep(REOPEN_AFTER).await;
                Ok(())
            }
            Err(error) => self.end_all(&error),
        }
    }

    fn lost(&mut self) {
        self.stream = None;
        self.asked.clear();
        self.watchers.iter_mut().for_each(|watcher| watcher.id = None);
    }

    async fn take(&mut self, response: pb::WatchResponse) -> Result<(), Failure> {
        if response.created {
            return self.created(&response);
        }
        // A response to all watchers: the progress that was asked for.
        if response.watch_id == -1 {
            return (0..self.watchers.len()).try_for_each(|_| self.show(&response));
        }
        let Some(at) = self.watchers.iter().position(|watcher| watcher.id == Some(response.watch_id)) else {
            return Ok(());
        };
        if response.canceled {
            self.remove(at);
            if response.compact_revision == 0 {
                return Ok(());
            }
            say("watch was canceled (etcdserver: mvcc: required revision has been compacted)\n");
            return self.show(&response);
        }
        if let Some(kv) = response.events.last().and_then(|event| event.kv.as_ref()) {
            self.watchers[at].request.start_revision = kv.mod_revision + 1;
        }
        self.show(&response)?;
        run_command(&self.watchers[at].command, &response).await
    }

    fn created(&mut self, response: &pb::WatchResponse) -> Result<(), Failure> {
        let Some(at) = self.asked.pop_front() else {
            return Ok(());
        };
        if response.canceled {
            self.remove(at);
            return self.show_end(&response.cancel_reason);
        }
        let watcher = &mut self.watchers[at];
        watcher.id = Some(response.watch_id);
        if watcher.request.start_revision == 0 {
            watcher.request.start_revision = response.header.as_ref().map_or(0, |header| header.revision + 1);
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        self.watchers.remove(at);
        self.asked.iter_mut().filter(|asked| **asked > at).for_each(|asked| *asked -= 1);
    }

    fn end_all(&mut self, error: &Error) -> Result<(), Failure> {
        self.stream = None;
        let ended = self.watchers.drain(..).count();
        (0..ended).try_for_each(|_| self.show_end(&describe(error)))
    }

    /// The end of a watcher that the server has not put into a response of its own.
    fn show_end(&self, reason: &str) -> Result<(), Failure> {
        say(&format!("watch was canceled ({reason})\n"));
        let header = Some(pb::ResponseHeader::default());
        print(self.printer.watch(&pb::WatchResponse { header, canceled: true, ..Default::default() })?)
    }

    fn show(&self, response: &pb::WatchResponse) -> Result<(), Failure> {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if response.events.is_empty() && !response.canceled && revision != 0 {
            print(format!("progress notify: {revision}\n"))?;
        }
        print(self.printer.watch(response)?)
    }
}

/// Errors after which another stream may go on where this one ended.
fn may_come_back(error: &Error) -> bool {
    let transient = matches!(error.code(), Some(Code::Unavailable | Code::Internal)) || error.is_unsent();
    transient && error.text() != Some("etcdserver: no leader")
}

/// Runs the command once for each event, with the event in its environment.
async fn run_command(command: &[Vec<u8>], response: &pb::WatchResponse) -> Result<(), Failure> {
    let [program, arguments @ ..] = command else {
        return Ok(());
    };
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    for event in &response.events {
        let kv = event.kv.clone().unwrap_or_default();
        let kind = if event.r#type() == EventType::Put { "\"PUT\"" } else { "\"DELETE\"" };
        let ended = tokio::process::Command::new(std::ffi::OsStr::from_bytes(program))
            .args(arguments.iter().map(|argument| std::ffi::OsStr::from_bytes(argument)))
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", kind)
            .env("ETCD_WATCH_KEY", text::quote(&kv.key))
            .env("ETCD_WATCH_VALUE", text::quote(&kv.value))
            .stdin(std::process::Stdio::null())
            .status()
            .await;
        let why = match ended {
            Ok(status) if status.success() => continue,
            Ok(status) => describe_end(status),
            Err(error) => describe_start(program, &error),
        };
        let words: Vec<_> = command.iter().map(|word| text::quote(word)).collect();
        say(&format!("command [{}] error ({why})\n", words.join(" ")));
        return Err(Failure::silent(Exit::Failed));
    }
    Ok(())
}

fn describe_end(status: std::process::ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(9)) => "signal: killed".to_owned(),
        (None, Some(15)) => "signal: terminated".to_owned(),
        (None, signal) => format!("signal: signal {}", signal.unwrap_or_default()),
    }
}

fn describe_start(program: &[u8], error: &std::io::Error) -> String {
    let name = lossy(program);
    match error.kind() {
        std::io::ErrorKind::NotFound if !name.contains('/') => {
            format!("exec: {}: executable file not found in $PATH", text::quote(program))
        }
        std::io::ErrorKind::NotFound => format!("fork/exec {name}: no such file or directory"),
        std::io::ErrorKind::PermissionDenied => format!("fork/exec {name}: permission denied"),
        _ => format!("fork/exec {name}: {error}"),
    }
}

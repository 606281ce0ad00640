//! `kvorumctl`: read the line, find the command, let it ask the cluster, print what came back.
//!
//! Outputs, exit codes and last lines on standard error are etcdctl 3.7's, byte for byte: scripts read them.
//! Where etcdctl panics or does what nobody can mean, this one says what would be right.

mod bench;
mod command;
mod discovery;
mod endpoint;
mod fail;
mod flags;
mod globals;
mod help;
mod kv;
mod member;
mod print;
mod text;
mod txn;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use command::{Path, Verb};
use fail::{Exit, Failure};
use flags::{Parsed, lossy};
use globals::{Environment, Globals};
use print::Printer;

use crate::client::Client;
use crate::types::{ETCD_VERSION, KVORUM_VERSION};

/// Runs one command line (with the program's name in front) and returns the exit code.
pub fn run(argv: impl IntoIterator<Item = OsString>) -> u8 {
    let mut words = argv.into_iter().map(OsString::into_vec);
    let program = words.next().map(|name| base_name(&lossy(&name))).unwrap_or_default();
    let program = if program == "etcdctl" { "etcdctl" } else { "kvorumctl" };
    let line: Vec<_> = words.collect();
    let environment = std::env::vars_os()
        .map(|(name, value)| (lossy(&name.into_vec()), lossy(&value.into_vec())))
        .collect();
    match dispatch(program, &line, environment) {
        Ok(()) => 0,
        Err(failure) => {
            say(&failure.text);
            failure.exit as u8
        }
    }
}

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Finds the command and reads its flags; groups and `--help` are answered here.
fn dispatch(program: &'static str, line: &[Vec<u8>], environment: Environment) -> Result<(), Failure> {
    let found = command::find(line).map_err(|name| unknown_command(program, &name))?;
    let Some(command) = found.path.last() else {
        let parsed = parse(program, &found.path, &found.line)?;
        return match parsed.args.first() {
            Some(name) => Err(unknown_command(program, &lossy(name))),
            None => print(help::help(program, &[])),
        };
    };
    if let Verb::Later = command.verb {
        return Err(Failure::new(
            Exit::Failed,
            format!(
                "{:?} comes with a later release of {program}; until then etcdctl does it against our servers",
                command.name
            ),
        ));
    }
    let flags = parse(program, &found.path, &found.line)?;
    if flags.help || matches!(command.verb, Verb::Group(_)) {
        return print(help::help(program, &found.path));
    }
    let session = Session { program, path: found.path, flags, environment, endpoints: Vec::new() };
    perform(session)
}

fn parse(program: &str, path: &Path, line: &[Vec<u8>]) -> Result<Parsed, Failure> {
    Parsed::new(command::flags_of(path)).parse(line).map_err(|error| Failure {
        exit: Exit::Failed,
        text: format!("Error: {error}\n{}\n", help::usage(program, path)),
    })
}

fn unknown_command(program: &str, name: &str) -> Failure {
    let names: String = command::suggestions(name).map(|name| format!("\t{name}\n")).collect();
    let meant = if names.is_empty() { String::new() } else { format!("\nDid you mean this?\n{names}\n") };
    Failure {
        exit: Exit::Failed,
        text: format!(
            "Error: unknown command {name:?} for {program:?}\n{meant}Run '{program} --help' for usage.\n"
        ),
    }
}

/// One line to one function for each command.
fn perform(session: Session) -> Result<(), Failure> {
    let Some(verb) = session.path.last().map(|command| command.verb) else {
        return Ok(());
    };
    match verb {
        Verb::Group(_) | Verb::Later => Ok(()),
        Verb::Help => explain(&session),
        Verb::Options => print(help::options()),
        Verb::Version => version(session.program),
        Verb::BenchVersusEtcd => bench::versus_etcd(&session),
        Verb::BenchPut => bench::put(found(session)?),
        Verb::BenchRange => bench::range(found(session)?),
        verb => block_on(ask(found(session)?, verb)),
    }
}

/// The session with the endpoints that SRV records name, where they are asked for.
fn found(mut session: Session) -> Result<Session, Failure> {
    block_on(async {
        session.endpoints = discovery::endpoints(&session).await?;
        Ok(())
    })?;
    Ok(session)
}

async fn ask(session: Session, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Get => kv::get(session).await,
        Verb::Put => kv::put(session).await,
        Verb::Delete => kv::delete(session).await,
        Verb::Compact => kv::compact(session).await,
        Verb::Txn => txn::run(session).await,
        Verb::Watch => watch::run(session).await,
        Verb::MemberAdd => member::add(session).await,
        Verb::MemberRemove => member::remove(session).await,
        Verb::MemberUpdate => member::update(session).await,
        Verb::MemberList => member::list(session).await,
        Verb::MemberPromote => member::promote(session).await,
        Verb::EndpointHealth => endpoint::health(session).await,
        Verb::EndpointStatus => endpoint::status(session).await,
        Verb::EndpointHashKv => endpoint::hash_kv(session).await,
        Verb::MoveLeader => endpoint::move_leader(session).await,
        Verb::DiscoveryServe => discovery::serve(session).await,
        Verb::Group(_) | Verb::Later | Verb::Help | Verb::Options | Verb::Version => Ok(()),
        Verb::BenchPut | Verb::BenchRange | Verb::BenchVersusEtcd => Ok(()),
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("starting the runtime: {error}")))?;
    let result = runtime.block_on(work);
    // A thread that waits for standard input must not keep the program.
    runtime.shutdown_background();
    result
}

/// One command with its flags and arguments, before it talks to anybody.
struct Session {
    program: &'static str,
    path: Path,
    flags: Parsed,
    environment: Environment,
    /// What SRV records name; empty: the flag counts.
    endpoints: Vec<String>,
}

impl Session {
    fn args(&self) -> &[Vec<u8>] {
        &self.flags.args
    }

    /// Applies variables and makes client and printer. Commands check their arguments first, as etcdctl does.
    fn open(&mut self) -> Result<(Client, Printer), Failure> {
        let (globals, printer) = self.globals()?;
        Ok((globals.client()?, printer))
    }

    fn globals(&mut self) -> Result<(Globals, Printer), Failure> {
        for note in globals::apply_environment(&mut self.flags, &self.path, &self.environment)? {
            say(&note);
        }
        if self.flags.bool("debug") {
            for flag in command::inherited_flags(&self.path) {
                say(&format!("{}={}\n", globals::variable(flag.name), self.flags.shown(flag.name)));
            }
        }
        let mut globals = Globals::read(&self.flags)?;
        if !self.endpoints.is_empty() {
            globals.endpoints.clone_from(&self.endpoints);
        }
        let printer = Printer { format: globals.format, hex: globals.hex, value_only: false };
        Ok((globals, printer))
    }

    /// A flag's text, from the line or else from its variable.
    fn given(&self, flag: &str) -> &str {
        match self.flags.text(flag) {
            "" => self.variable(&globals::variable(flag)),
            text => text,
        }
    }

    fn variable(&self, name: &str) -> &str {
        self.environment.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn explain(session: &Session) -> Result<(), Failure> {
    let found = command::find(session.args()).ok().filter(|found| found.line.is_empty());
    match found {
        Some(found) => print(help::help(session.program, &found.path)),
        None => {
            let topic: Vec<_> = session.args().iter().map(|word| format!("`{}`", lossy(word))).collect();
            say(&format!("Unknown help topic [{}]\n", topic.join(" ")));
            say(&help::usage(session.program, &[]));
            Ok(())
        }
    }
}

fn version(program: &str) -> Result<(), Failure> {
    let api = ETCD_VERSION.rsplit_once('.').map_or(ETCD_VERSION, |(minor, _)| minor);
    let ours =
        if program == "etcdctl" { String::new() } else { format!("kvorumctl version: {KVORUM_VERSION}\n") };
    print(format!("etcdctl version: {ETCD_VERSION}\nAPI version: {api}\n{ours}"))
}

/// Writes to standard output at once. When nobody reads any more, the program ends without a word.
fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes.as_ref()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::silent(Exit::Failed),
        _ => Failure::new(Exit::Failed, format!("write /dev/stdout: {error}")),
    })
}

/// Writes to standard error. There is nobody left to tell when that fails.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

//! Help and usage texts, made from the table of commands.

use std::fmt::Write;

use super::command::{COMMANDS, Command, GLOBAL_FLAGS, Group, Verb};
use super::flags::{Flag, Kind};
use super::text::quote;

static HELP: Flag = super::flags::flag("help", Kind::Bool, "", "");

/// What `--help` shows.
pub(super) fn help(program: &str, path: &[&'static Command]) -> String {
    let about = match path.last() {
        None => format!("A command line client for etcd and {} clusters.", env!("CARGO_PKG_NAME")),
        Some(command) if command.long.is_empty() => command.short.to_owned(),
        Some(command) => command.long.trim_end().to_owned(),
    };
    let options = format!(
        "Use \"{program} options\" for a list of global command-line options (applies to all commands).\n"
    );
    format!("{about}\n\n{}{options}", usage(program, path))
}

/// What follows an error in the flags.
pub(super) fn usage(program: &str, path: &[&'static Command]) -> String {
    let name: String =
        path.iter().fold(program.to_owned(), |name, command| format!("{name} {}", command.name));
    let mut out = "Usage:\n".to_owned();
    let (children, own) = match path.last() {
        None => (COMMANDS, &[][..]),
        Some(Command { verb: Verb::Group(children), .. }) => (*children, &[][..]),
        Some(command) => (&[][..], command.flags),
    };
    if children.is_empty() {
        let synopsis = path.last().map_or("", |command| command.synopsis);
        let _ = writeln!(out, "  {name}{}{synopsis} [flags]", if synopsis.is_empty() { "" } else { " " });
    } else {
        let _ = writeln!(out, "  {name} [command]");
        list_commands(&mut out, children);
    }
    if let Some(command) = path.last() {
        let label = format!("help for {}", command.name);
        let local = own.iter().chain(if children.is_empty() { &[] } else { command.shared_flags });
        let _ = write!(out, "\nFlags:\n{}", list_flags(local, Some(&label)));
        let shared = path[..path.len() - 1].iter().flat_map(|above| above.shared_flags);
        let shared = list_flags(shared, None);
        if !shared.is_empty() {
            let _ = write!(out, "\nGlobal Flags:\n{shared}");
        }
    }
    if !children.is_empty() {
        let _ = writeln!(out, "\nUse \"{name} [command] --help\" for more information about a command.");
    }
    out
}

/// What `options` shows.
pub(super) fn options() -> String {
    format!(
        "The following options can be passed to any command:\n\n{}",
        list_flags(GLOBAL_FLAGS.iter(), None)
    )
}

fn list_commands(out: &mut String, commands: &'static [Command]) {
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or_default();
    let mut section = |title: &str, group: Group| {
        let mut listed: Vec<_> = commands.iter().filter(|command| command.group == group).collect();
        listed.sort_by_key(|command| command.name);
        if !listed.is_empty() {
            let _ = writeln!(out, "\n{title}");
        }
        for command in listed {
            let later = if matches!(command.verb, Verb::Later) { " (in a later release)" } else { "" };
            let _ = writeln!(out, "  {:width$} {}{later}", command.name, command.short);
        }
    };
    section("Available Commands:", Group::None);
    for (group, title) in Group::ALL {
        section(title, group);
    }
}

fn list_flags(flags: impl Iterator<Item = &'static Flag>, help: Option<&str>) -> String {
    let mut flags: Vec<(&Flag, &str)> = flags.map(|flag| (flag, flag.usage)).collect();
    flags.extend(help.map(|label| (&HELP, label)));
    flags.sort_by_key(|(flag, _)| flag.name);
    let heads: Vec<_> = flags.iter().map(|(flag, _)| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or_default();
    flags.iter().zip(heads).fold(String::new(), |mut out, ((flag, usage), head)| {
        let _ = writeln!(out, "{head:width$}   {usage}{}", default(flag));
        out
    })
}

fn head(flag: &Flag) -> String {
    let short = match flag.short {
        Some(short) => format!("-{short}, "),
        None if flag.name == "help" => "-h, ".to_owned(),
        None => "    ".to_owned(),
    };
    let kind = match flag.kind {
        Kind::Bool => "",
        Kind::Int => " int",
        Kind::Duration => " duration",
        Kind::Text => " string",
        Kind::List => " strings",
    };
    format!("  {short}--{}{kind}", flag.name)
}

fn default(flag: &Flag) -> String {
    match (flag.kind, flag.default) {
        (_, "") | (Kind::Int, "0") => String::new(),
        (Kind::Text, text) => format!(" (default {})", quote(text.as_bytes())),
        (Kind::List, list) => format!(" (default [{list}])"),
        (Kind::Bool | Kind::Int | Kind::Duration, value) => format!(" (default {value})"),
    }
}

//! The rules of Go's flag package, and etcd's rules for variables beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::{Note, Settings};
use super::value::Value;
use super::{Flag, all, find};

/// What the command line and the environment ask for.
#[derive(Clone, Debug)]
pub enum Asked {
    Start(Box<Settings>),
    /// Read this file by [`super::from_file`]; it holds everything.
    StartFromFile(String),
    Help,
    Version,
}

/// Why nothing can be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The command line is not understood: exit code 2 and the usage text.
    #[error("{0}")]
    Usage(String),
    /// A value is wrong, refused, or does not go with another: exit code 1.
    #[error("{0}")]
    Invalid(String),
    /// Set both as flag and as variable; the text is etcd's.
    #[error(
        "conflicting environment variable is shadowed by corresponding command-line flag \
         (either unset environment variable or disable flag))"
    )]
    Shadowed { variable: String },
}

/// Reads a command line (without the program's name) and an environment.
pub fn read(
    argv: impl IntoIterator<Item = String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Asked, Error> {
    let environment: BTreeMap<String, String> = environment.into_iter().collect();
    let Some(mut given) = read_argv(argv)? else { return Ok(Asked::Help) };
    if given.remove("version").is_some_and(|value| value == Value::Bool(true)) {
        return Ok(Asked::Version);
    }
    let file = given.remove("config-file").map(|value| value.to_string()).unwrap_or_default();
    let variable = environment.get("ETCD_CONFIG_FILE").cloned().unwrap_or_default();
    if let Some(path) = [file, variable].into_iter().find(|path| !path.is_empty()) {
        return Ok(Asked::StartFromFile(path));
    }
    let mut settings = Settings::new(false);
    read_environment(&environment, &given, &mut settings)?;
    for (name, value) in given {
        settings.set(name, value);
    }
    settings.settle().map(|settings| Asked::Start(Box::new(settings)))
}

/// The flags of a command line; None: help is asked for.
fn read_argv(argv: impl IntoIterator<Item = String>) -> Result<Option<BTreeMap<&'static str, Value>>, Error> {
    let mut given = Settings::new(false);
    let mut names = BTreeSet::new();
    let mut argv = argv.into_iter();
    while let Some(argument) = argv.next() {
        let Some((name, value)) = split(&argument)? else {
            let positional = if argument == "--" { argv.next() } else { Some(argument) };
            match positional {
                Some(word) => return Err(Error::Invalid(format!("{word:?} is not a valid flag"))),
                None => break,
            }
        };
        let Some(flag) = find(name) else {
            return match name {
                "help" | "h" => Ok(None),
                _ => Err(Error::Usage(format!("flag provided but not defined: -{name}"))),
            };
        };
        let value = match value {
            Some(value) => value.to_owned(),
            None if flag.kind.is_switch() => "true".to_owned(),
            None => argv.next().ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
        };
        given.set(flag.name, flag.kind.parse(&value).map_err(|problem| bad_flag(flag, &value, &problem))?);
        names.insert(flag.name);
    }
    Ok(Some(names.into_iter().map(|name| (name, given.value(name))).collect()))
}

/// Name and value of `-name`, `--name`, `-name=value`; None: not a flag, and nothing after it is.
fn split(argument: &str) -> Result<Option<(&str, Option<&str>)>, Error> {
    let Some(rest) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else { return Ok(None) };
    let name = rest.strip_prefix('-').unwrap_or(rest);
    if rest == "-" {
        return Ok(None);
    }
    if name.is_empty() || name.starts_with(['-', '=']) {
        return Err(Error::Usage(format!("bad flag syntax: {argument}")));
    }
    Ok(Some(match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    }))
}

fn bad_flag(flag: &Flag, value: &str, problem: &str) -> Error {
    let name = flag.name;
    Error::Usage(if flag.kind.is_switch() {
        format!("invalid boolean value {value:?} for -{name}: {problem}")
    } else {
        format!("invalid value {value:?} for flag -{name}: {problem}")
    })
}

/// Sets from variables what no flag set. An empty variable counts as unset, yet not beside its flag.
fn read_environment(
    environment: &BTreeMap<String, String>,
    given: &BTreeMap<&'static str, Value>,
    settings: &mut Settings,
) -> Result<(), Error> {
    let mut used = BTreeSet::new();
    if let Some(value) = environment.get("ETCD_VERSION").filter(|value| !value.is_empty()) {
        used.insert("ETCD_VERSION".to_owned());
        let variable = "ETCD_VERSION".to_owned();
        settings.note(Note::VariableSpecial { variable, value: value.clone() });
    }
    for flag in all().filter(|flag| !given.contains_key(flag.name)) {
        let variable = flag.variable();
        if used.contains(&variable) {
            continue;
        }
        let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) else { continue };
        let parsed = flag.kind.parse(value);
        let bad = |problem| Error::Invalid(format!("invalid value {value:?} for {variable}: {problem}"));
        settings.set(flag.name, parsed.map_err(bad)?);
        let shown = if flag.is_secret() { "..." } else { value };
        settings.note(Note::VariableUsed { variable: variable.clone(), value: shown.to_owned() });
        used.insert(variable);
    }
    let shadowing: BTreeSet<String> =
        given.keys().filter_map(|name| find(name)).map(Flag::variable).collect();
    for (variable, value) in environment.iter().filter(|(variable, _)| !used.contains(*variable)) {
        if shadowing.contains(variable) {
            return Err(Error::Shadowed { variable: variable.clone() });
        }
        if variable.starts_with("ETCD_") && variable != "ETCD_UNSUPPORTED_ARCH" {
            settings.note(Note::VariableUnknown { variable: format!("{variable}={value}") });
        }
    }
    Ok(())
}

//! The configuration file: the flags' names as keys, TLS in two maps, durations in nanoseconds.
//! Everything else, command line and environment, is ignored when there is one.

use serde_yaml::{Mapping, Value as Yaml};

use super::duration::GoDuration;
use super::read::Error;
use super::settings::{Note, Settings};
use super::value::{Kind, Value};
use super::{Flag, find};

/// Reads the text of a configuration file, YAML or JSON.
pub fn from_file(text: &str) -> Result<Settings, Error> {
    let document: Yaml =
        serde_yaml::from_str(text).map_err(|error| Error::Invalid(format!("configuration file: {error}")))?;
    let mut settings = Settings::new(true);
    match document {
        Yaml::Null => {}
        Yaml::Mapping(map) => read_map(&map, Section::Top, &mut settings)?,
        _ => {
            return Err(Error::Invalid(
                "configuration file: a map of flag names to values is needed".to_owned(),
            ));
        }
    }
    settings.settle()
}

/// A map of the file, which decides what its keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Top,
    ClientSecurity,
    PeerSecurity,
    Discovery,
    DiscoveryClient,
    DiscoverySecurity,
    DiscoveryAuth,
    Sockets,
}

impl Section {
    /// The map that a key of this map opens.
    fn inner(self, key: &str) -> Option<Section> {
        match (self, key) {
            (Section::Top, "client-transport-security") => Some(Section::ClientSecurity),
            (Section::Top, "peer-transport-security") => Some(Section::PeerSecurity),
            (Section::Top, "discovery-config") => Some(Section::Discovery),
            (Section::Top, "socket-options") => Some(Section::Sockets),
            (Section::Discovery, "client") => Some(Section::DiscoveryClient),
            (Section::DiscoveryClient, "secure") => Some(Section::DiscoverySecurity),
            (Section::DiscoveryClient, "auth") => Some(Section::DiscoveryAuth),
            _ => None,
        }
    }

    /// The flag that a key of this map sets.
    fn flag_name(self, key: &str) -> String {
        match (self, key) {
            (Section::ClientSecurity, "allowed-hostname") => "client-cert-allowed-hostname".to_owned(),
            (Section::ClientSecurity, "allowed-cn") => "client-cert-allowed-cn".to_owned(),
            (Section::PeerSecurity, "allowed-hostname") => "peer-cert-allowed-hostname".to_owned(),
            (Section::PeerSecurity, "allowed-cn") => "peer-cert-allowed-cn".to_owned(),
            (Section::PeerSecurity, key) => format!("peer-{key}"),
            (Section::DiscoveryAuth, "username") => "discovery-user".to_owned(),
            (
                Section::Discovery
                | Section::DiscoveryClient
                | Section::DiscoverySecurity
                | Section::DiscoveryAuth,
                key,
            ) => {
                format!("discovery-{key}")
            }
            (Section::Sockets, key) => format!("socket-{key}"),
            (Section::Top | Section::ClientSecurity, key) => key.to_owned(),
        }
    }

    /// Whether an unknown key may be something that keeps others out, which must not be passed over.
    fn is_security(self) -> bool {
        matches!(self, Section::ClientSecurity | Section::PeerSecurity)
    }
}

fn read_map(map: &Mapping, section: Section, settings: &mut Settings) -> Result<(), Error> {
    for (key, value) in map {
        let key = key.as_str().map(str::to_owned).unwrap_or_else(|| format!("{key:?}"));
        if value.is_null() {
            continue;
        }
        if let Some(inner) = section.inner(&key) {
            match value {
                Yaml::Mapping(map) => read_map(map, inner, settings)?,
                _ => return Err(Error::Invalid(format!("invalid {key}: a map is needed"))),
            }
            continue;
        }
        let name = section.flag_name(&key);
        match find(&name) {
            Some(flag) => set(flag, value, settings)?,
            None if section.is_security() && is_on(value) => {
                return Err(Error::Invalid(format!("{key} is refused: {}", super::TLS_LATER)));
            }
            None => settings.note(Note::KeyUnknown { key }),
        }
    }
    Ok(())
}

/// Whether a value asks for something: not empty and not false.
fn is_on(value: &Yaml) -> bool {
    match value {
        Yaml::Bool(on) => *on,
        Yaml::String(text) => !text.is_empty(),
        Yaml::Sequence(items) => !items.is_empty(),
        _ => true,
    }
}

fn set(flag: &'static Flag, value: &Yaml, settings: &mut Settings) -> Result<(), Error> {
    let parsed = match (flag.kind, value) {
        // An empty text is an unset one here, as it is in etcd.
        (_, Yaml::String(text)) if text.is_empty() => return Ok(()),
        (Kind::Bool, Yaml::Bool(on)) => Ok(Value::Bool(*on)),
        (Kind::Bool, Yaml::String(word)) => {
            yaml_1_1_bool(word).map(Value::Bool).ok_or("true or false is needed")
        }
        (Kind::Duration, Yaml::Number(number)) => number
            .as_i64()
            .map(|nanos| Value::Duration(GoDuration { nanos }))
            .ok_or("a whole number of nanoseconds is needed"),
        (Kind::Duration, _) => Err("a whole number of nanoseconds is needed (600000000000 for 10m)"),
        (Kind::Int | Kind::Uint | Kind::Uint32, Yaml::Number(number)) => {
            return set_text(flag, &number.to_string(), settings);
        }
        (Kind::Int | Kind::Uint | Kind::Uint32, _) => Err("a whole number is needed"),
        (_, Yaml::String(text)) => return set_text(flag, text, settings),
        (Kind::Text, Yaml::Number(number)) => Ok(Value::Text(number.to_string())),
        (Kind::List | Kind::Urls | Kind::Origins | Kind::Choices(_), Yaml::Sequence(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Yaml::as_str).collect();
            match words {
                Some(words) => return set_text(flag, &words.join(","), settings),
                None => Err("a list of texts is needed"),
            }
        }
        _ => Err("a text is needed"),
    };
    let value =
        parsed.map_err(|needed| Error::Invalid(format!("configuration file: {}: {needed}", flag.name)))?;
    settings.set(flag.name, value);
    Ok(())
}

fn set_text(flag: &'static Flag, text: &str, settings: &mut Settings) -> Result<(), Error> {
    let value = flag.kind.parse(text).map_err(|problem| match flag.kind {
        Kind::Urls => Error::Invalid(format!("unexpected error setting up {}: {problem}", flag.name)),
        _ => Error::Invalid(format!("configuration file: {}: {text:?}: {problem}", flag.name)),
    })?;
    settings.set(flag.name, value);
    Ok(())
}

/// etcd reads YAML 1.1, where these words are booleans.
fn yaml_1_1_bool(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

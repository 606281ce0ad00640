//! What a flag can hold, and how text becomes it. Errors are the texts of Go's flag package and of etcd.

use std::collections::BTreeMap;

use super::duration::GoDuration;
use super::gates;
use super::number::{self, NumberError};
use super::url::HostUrl;

/// The type of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// May stand without a value.
    Bool,
    /// A whole number with a sign, 64 bits.
    Int,
    /// A whole number without a sign, 64 bits.
    Uint,
    /// The same in 32 bits.
    Uint32,
    /// Go's notation on the command line, nanoseconds in a file.
    Duration,
    /// Comma-separated URLs; an empty value leaves the default.
    Urls,
    /// Comma-separated origins, or `*`.
    Origins,
    /// Comma-separated words.
    List,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Some of these, comma-separated.
    Choices(&'static [&'static str]),
    /// `Name=bool`, comma-separated.
    Gates,
    /// Anything or nothing; never read.
    Ignored,
}

impl Kind {
    /// Whether it may stand without a value (`--flag`), and takes one only after `=`.
    pub fn is_switch(self) -> bool {
        matches!(self, Kind::Bool | Kind::Ignored)
    }

    /// A word for the documentation.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::Int => "int".to_owned(),
            Kind::Uint => "uint".to_owned(),
            Kind::Uint32 => "uint32".to_owned(),
            Kind::Duration => "duration".to_owned(),
            Kind::Urls => "URLs".to_owned(),
            Kind::Origins => "origins".to_owned(),
            Kind::List => "list".to_owned(),
            Kind::Choice(words) => words.join(" or "),
            Kind::Choices(words) => format!("some of {}", words.join(", ")),
            Kind::Gates => "Name=bool list".to_owned(),
            Kind::Ignored => "ignored".to_owned(),
        }
    }

    /// Reads what stands on a command line or in a variable.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let flag_error = |error: NumberError| error.as_flag_error().to_owned();
        match self {
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Bool => number::bool(text).map(Value::Bool).ok_or_else(|| "parse error".to_owned()),
            Kind::Int => number::int(text).map(Value::Int).map_err(flag_error),
            Kind::Uint => number::uint(text).map(Value::Uint).map_err(flag_error),
            Kind::Uint32 => number::uint(text)
                .and_then(
                    |number| if number > u64::from(u32::MAX) { Err(NumberError::Range) } else { Ok(number) },
                )
                .map(Value::Uint)
                .map_err(|error| {
                    format!("strconv.ParseUint: parsing {text:?}: {}", error.as_strconv_error())
                }),
            Kind::Duration => {
                GoDuration::parse(text).map(Value::Duration).ok_or_else(|| "parse error".to_owned())
            }
            Kind::Urls if text.is_empty() => Ok(Value::Urls(Vec::new())),
            Kind::Urls => HostUrl::parse_list(text).map(Value::Urls),
            Kind::Origins if text.is_empty() || text == "*" => Ok(Value::List(vec!["*".to_owned()])),
            Kind::Origins => HostUrl::parse_list(text)
                .map(|urls| Value::List(urls.iter().map(|url| url.as_str().to_owned()).collect())),
            Kind::List => Ok(Value::List(words(text))),
            Kind::Choice(allowed) if allowed.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Choice(_) => Err("invalid value".to_owned()),
            Kind::Choices(allowed) => match text.split(',').find(|word| !allowed.contains(word)) {
                Some(word) => Err(format!("invalid value {word:?}")),
                None => Ok(Value::List(words(text))),
            },
            Kind::Gates => gates::parse(text).map(Value::Gates),
            Kind::Ignored => Ok(Value::Text(String::new())),
        }
    }
}

/// Comma-separated words, each once, in order; an empty text has none.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split(',').filter(|_| !text.is_empty()) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

/// What a flag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Uint(u64),
    Duration(GoDuration),
    Urls(Vec<HostUrl>),
    List(Vec<String>),
    Gates(BTreeMap<String, bool>),
}

impl std::fmt::Display for Value {
    /// In the words of a command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::Duration(value) => value.fmt(f),
            Value::Urls(urls) => {
                let texts: Vec<&str> = urls.iter().map(HostUrl::as_str).collect();
                f.write_str(&texts.join(","))
            }
            Value::List(words) => f.write_str(&words.join(",")),
            Value::Gates(gates) => {
                let pairs: Vec<String> = gates.iter().map(|(name, on)| format!("{name}={on}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

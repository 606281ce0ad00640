//! Command-line flags as etcdctl's users type them: long and short, before, between and after arguments.
//!
//! Pure: what is wrong comes back as the text etcdctl would print. Values are checked where they are read,
//! so that later code may trust them.

use std::collections::BTreeMap;

use super::text;

/// One flag of a command or of all.
#[derive(Debug)]
pub(super) struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    pub usage: &'static str,
}

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Duration,
    Text,
    /// Comma separated; given again, it appends.
    List,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Bool(bool),
    Int(i64),
    /// Nanoseconds.
    Duration(i64),
    Text(String),
    List(Vec<String>),
}

/// All flags that apply, with their values, and what is left of the line.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    flags: Vec<&'static Flag>,
    values: BTreeMap<&'static str, Value>,
    changed: Vec<&'static str>,
    /// Arguments that are no flags, in order, as bytes: keys need not be text.
    pub args: Vec<Vec<u8>>,
    /// How many of `args` stood before `--`, when there was one.
    pub before_dash: Option<usize>,
    pub help: bool,
}

pub(super) const fn flag(name: &'static str, kind: Kind, default: &'static str, usage: &'static str) -> Flag {
    Flag { name, short: None, kind, default, usage }
}

impl Parsed {
    /// All flags at their defaults and no arguments.
    pub(super) fn new(flags: impl IntoIterator<Item = &'static Flag>) -> Parsed {
        let mut flags: Vec<_> = flags.into_iter().collect();
        flags.sort_by_key(|flag| flag.name);
        let values = flags.iter().map(|flag| (flag.name, default_value(flag))).collect();
        Parsed { flags, values, changed: Vec::new(), args: Vec::new(), before_dash: None, help: false }
    }

    /// Reads a line. The error is the text of the first thing that is wrong.
    pub(super) fn parse(mut self, line: &[Vec<u8>]) -> Result<Parsed, String> {
        let mut rest = line.iter();
        while let Some(word) = rest.next() {
            match word.as_slice() {
                b"--" => {
                    self.before_dash = Some(self.args.len());
                    self.args.extend(rest.by_ref().cloned());
                }
                [b'-', b'-', long @ ..] => self.long(&lossy(long), &mut rest)?,
                [b'-', short @ ..] if !short.is_empty() => self.short(&lossy(short), &mut rest)?,
                _ => self.args.push(word.clone()),
            }
            if self.help {
                break;
            }
        }
        Ok(self)
    }

    /// Sets a flag by its name, as an environment variable does; a value that does not fit leaves it as it is.
    pub(super) fn set_quietly(&mut self, name: &str, value: &str) {
        if let Some(flag) = self.find(name) {
            let _ = self.set(flag, value);
        }
    }

    /// Whether the line set this flag.
    pub(super) fn changed(&self, name: &str) -> bool {
        self.changed.contains(&name)
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Value::Bool(true)))
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        match self.values.get(name) {
            Some(Value::Int(value)) => *value,
            _ => 0,
        }
    }

    /// Nanoseconds, which may be negative.
    pub(super) fn duration(&self, name: &str) -> i64 {
        match self.values.get(name) {
            Some(Value::Duration(nanos)) => *nanos,
            _ => 0,
        }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// A flag's value as `--debug` shows it.
    pub(super) fn shown(&self, name: &str) -> String {
        match self.values.get(name) {
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Int(value)) => value.to_string(),
            Some(Value::Duration(nanos)) => {
                text::duration(std::time::Duration::from_nanos(u64::try_from(*nanos).unwrap_or_default()))
            }
            Some(Value::Text(text)) => text.clone(),
            Some(Value::List(list)) => format!("[{}]", list.join(",")),
            None => String::new(),
        }
    }

    fn find(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name).copied()
    }

    fn long<'a>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'a Vec<u8>>) -> Result<(), String> {
        if word.starts_with('-') || word.starts_with('=') {
            return Err(format!("bad flag syntax: --{word}"));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let Some(flag) = self.find(name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => lossy(rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?),
        };
        self.set(flag, &value)
    }

    /// `-w json`, `-wjson`, `-w=json`, `-iw json`.
    fn short<'a>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'a Vec<u8>>) -> Result<(), String> {
        let mut letters = word.chars();
        while let Some(letter) = letters.next() {
            let Some(flag) = self.flags.iter().find(|flag| flag.short == Some(letter)).copied() else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(format!("unknown shorthand flag: {:?} in -{word}", letter));
            };
            let attached = letters.as_str();
            if let Some(value) = attached.strip_prefix('=') {
                return self.set(flag, value);
            }
            if flag.kind == Kind::Bool {
                self.set(flag, "true")?;
                continue;
            }
            if !attached.is_empty() {
                return self.set(flag, attached);
            }
            let value =
                rest.next().ok_or_else(|| format!("flag needs an argument: {letter:?} in -{word}"))?;
            return self.set(flag, &lossy(value));
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        let appends = flag.kind == Kind::List && self.changed.contains(&flag.name);
        let mut parsed = parse_value(flag.kind, value).map_err(|why| {
            let name = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            format!(
                "invalid argument {} for {} flag: {why}",
                text::quote(value.as_bytes()),
                text::quote(name.as_bytes())
            )
        })?;
        if let (true, Value::List(new), Some(Value::List(old))) =
            (appends, &mut parsed, self.values.get(flag.name))
        {
            *new = old.iter().chain(new.iter()).cloned().collect();
        }
        self.values.insert(flag.name, parsed);
        if !self.changed.contains(&flag.name) {
            self.changed.push(flag.name);
        }
        Ok(())
    }
}

/// Whether the next word belongs to this one, for a reader who looks for the command's name only.
pub(super) fn takes_next_word(word: &str, flags: &[&'static Flag]) -> bool {
    let known = |found: Option<&&'static Flag>| found.is_some_and(|flag| flag.kind == Kind::Bool);
    if let Some(long) = word.strip_prefix("--") {
        !long.is_empty()
            && !long.contains('=')
            && long != "help"
            && !known(flags.iter().find(|flag| flag.name == long))
    } else if let Some(short) = word.strip_prefix('-') {
        let mut letters = short.chars();
        match (letters.next(), letters.next()) {
            (Some('h'), None) => false,
            (Some(letter), None) => !known(flags.iter().find(|flag| flag.short == Some(letter))),
            _ => false,
        }
    } else {
        false
    }
}

fn default_value(flag: &Flag) -> Value {
    match parse_value(flag.kind, flag.default) {
        Ok(value) => value,
        // A Bool, Int or Duration without a default is zero.
        Err(_) => match flag.kind {
            Kind::Bool => Value::Bool(false),
            Kind::Int => Value::Int(0),
            Kind::Duration => Value::Duration(0),
            Kind::Text | Kind::List => Value::Text(String::new()),
        },
    }
}

fn parse_value(kind: Kind, value: &str) -> Result<Value, String> {
    Ok(match kind {
        Kind::Bool => Value::Bool(text::parse_bool(value)?),
        Kind::Int => Value::Int(text::parse_int(value, 0)?),
        Kind::Duration => Value::Duration(text::parse_duration(value)?),
        Kind::Text => Value::Text(value.to_owned()),
        Kind::List if value.is_empty() => Value::List(Vec::new()),
        Kind::List => Value::List(split_list(value)),
    })
}

/// Comma separated; an item in double quotes may hold commas.
fn split_list(value: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut quoted = false;
    for char in value.chars() {
        let item = items.last_mut().expect("there is always a last item");
        match char {
            '"' if quoted || item.is_empty() => quoted = !quoted,
            ',' if !quoted => items.push(String::new()),
            char => item.push(char),
        }
    }
    items
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: [Flag; 5] = [
        flag("prefix", Kind::Bool, "", ""),
        flag("limit", Kind::Int, "", ""),
        flag("endpoints", Kind::List, "127.0.0.1:2379", ""),
        Flag { name: "write-out", short: Some('w'), kind: Kind::Text, default: "simple", usage: "" },
        Flag { name: "interactive", short: Some('i'), kind: Kind::Bool, default: "", usage: "" },
    ];

    fn parse(line: &str) -> Result<Parsed, String> {
        let words: Vec<_> =
            line.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect();
        Parsed::new(&FLAGS).parse(&words)
    }

    #[test]
    fn flags_and_arguments_mix() {
        let parsed = parse("a --prefix b --limit=0x10 -iwjson -- --c").unwrap();
        assert_eq!(parsed.args, [b"a".to_vec(), b"b".to_vec(), b"--c".to_vec()]);
        assert_eq!(parsed.before_dash, Some(2));
        assert!(parsed.bool("prefix") && parsed.bool("interactive"));
        assert_eq!((parsed.int("limit"), parsed.text("write-out")), (16, "json"));
        assert_eq!(parsed.list("endpoints"), ["127.0.0.1:2379"]);
    }

    #[test]
    fn lists_append_when_given_again() {
        let parsed = parse("--endpoints a,b --endpoints c").unwrap();
        assert_eq!(parsed.list("endpoints"), ["a", "b", "c"]);
        assert!(parse("--endpoints=").unwrap().list("endpoints").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_in_etcdctls_words() {
        for (line, want) in [
            ("--nosuch", "unknown flag: --nosuch"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
            ("--limit", "flag needs an argument: --limit"),
            ("-w", "flag needs an argument: 'w' in -w"),
            ("---x", "bad flag syntax: ---x"),
            (
                "--limit=x",
                r#"invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            (
                "--prefix=",
                r#"invalid argument "" for "--prefix" flag: strconv.ParseBool: parsing "": invalid syntax"#,
            ),
            (
                "-i=x",
                r#"invalid argument "x" for "-i, --interactive" flag: strconv.ParseBool: parsing "x": invalid syntax"#,
            ),
        ] {
            assert_eq!(parse(line).unwrap_err(), want, "{line}");
        }
    }
}

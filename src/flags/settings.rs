//! What a server was given: every flag's value, where it came from, and what is to be said about it.

use std::collections::BTreeMap;

use super::duration::GoDuration;
use super::gates::{self, GATES};
use super::read::Error;
use super::url::HostUrl;
use super::value::Value;
use super::{Effect, find};

/// The value of every flag of the table. Only flags of the table may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, Value>,
    from_file: bool,
    notes: Vec<Note>,
}

/// Something to log once at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Set, but without effect here.
    WithoutEffect { flag: String, value: String, would: &'static str },
    /// Set by an older spelling.
    OlderSpelling { flag: &'static str, instead: String },
    /// Dead since long.
    Ignored { flag: &'static str },
    /// A variable was used.
    VariableUsed { variable: String, value: String },
    /// An `ETCD_*` variable that belongs to no flag, as `NAME=value`.
    VariableUnknown { variable: String },
    /// `ETCD_VERSION` does not set `--version`.
    VariableSpecial { variable: String, value: String },
    /// A key of the configuration file that belongs to no flag.
    KeyUnknown { key: String },
}

impl Settings {
    pub(super) fn new(from_file: bool) -> Settings {
        Settings { from_file, ..Settings::default() }
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        let value = match (value, self.given.remove(name)) {
            (Value::Gates(new), Some(Value::Gates(mut gates))) => {
                gates.extend(new);
                Value::Gates(gates)
            }
            (value, _) => value,
        };
        self.given.insert(name, value);
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Turns older spellings into the flags they stand for, refuses what is refused, and notes what has no
    /// effect. Called once, after everything was set.
    pub(super) fn settle(mut self) -> Result<Settings, Error> {
        let given: Vec<(&'static str, Value)> =
            self.given.iter().map(|(name, value)| (*name, value.clone())).collect();
        for (name, value) in &given {
            self.resolve_spelling(name, value)?;
        }
        let effective: Vec<(&'static str, Value)> =
            self.given.iter().map(|(name, value)| (*name, value.clone())).collect();
        for (name, value) in &effective {
            self.check_effect(name, value)?;
        }
        Ok(self)
    }

    fn resolve_spelling(&mut self, name: &'static str, value: &Value) -> Result<(), Error> {
        match find(name).map(|flag| flag.effect) {
            Some(Effect::SameAs(target)) => {
                if self.given.contains_key(target) {
                    let text = format!("both --{name} and --{target} flags are set. Use only --{target}");
                    return Err(Error::Invalid(text));
                }
                self.given.remove(name);
                self.set(target, value.clone());
                self.note(Note::OlderSpelling { flag: name, instead: format!("--{target}") });
            }
            Some(Effect::Gate(gate)) => {
                let on = *value == Value::Bool(true);
                if let Some(now) = self.gates().get(gate) {
                    return Err(Error::Invalid(format!(
                        "cannot specify both flags: --{name}={on} and --feature-gates={gate}={now} \
                         at the same time, please just use --feature-gates={gate}={now}"
                    )));
                }
                self.given.remove(name);
                self.note(Note::OlderSpelling {
                    flag: name,
                    instead: format!("--feature-gates={gate}={on}"),
                });
                self.set_gate(gate, on);
            }
            Some(Effect::Ignored) => self.note(Note::Ignored { flag: name }),
            _ => {}
        }
        Ok(())
    }

    fn set_gate(&mut self, gate: &str, on: bool) {
        self.set("feature-gates", Value::Gates(BTreeMap::from([(gate.to_owned(), on)])));
    }

    fn check_effect(&mut self, name: &'static str, value: &Value) -> Result<(), Error> {
        let Some(flag) = find(name) else { return Ok(()) };
        if *value == default_of(name) {
            return Ok(());
        }
        let shown = if flag.is_secret() { "...".to_owned() } else { value.to_string() };
        match (flag.effect, value) {
            (Effect::Refused(reason), _) => {
                Err(Error::Invalid(format!("--{name}={shown} is refused: {reason}")))
            }
            (Effect::Accepted(_), Value::Gates(gates)) => {
                for (gate, on) in gates {
                    self.note_gate(gate, *on);
                }
                Ok(())
            }
            (Effect::Accepted(would), _) => {
                self.note(Note::WithoutEffect { flag: name.to_owned(), value: shown, would });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_gate(&mut self, name: &str, on: bool) {
        if let Some(gate) = GATES.iter().find(|gate| gate.name == name && gate.default != on) {
            let flag = format!("feature-gates={name}");
            self.note(Note::WithoutEffect { flag, value: on.to_string(), would: gate.would });
        }
    }

    /// What is to be logged about the settings, in order.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether they come from a configuration file (then nothing else was read).
    pub fn from_file(&self) -> bool {
        self.from_file
    }

    /// Whether the flag was given at all, its default included.
    pub fn is_set(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The flag's value, or its default.
    ///
    /// # Panics
    /// If the table has no such flag: a mistake in the program, not of the user.
    pub fn value(&self, name: &str) -> Value {
        self.given.get(name).cloned().unwrap_or_else(|| default_of(name))
    }

    pub fn text(&self, name: &str) -> String {
        self.value(name).to_string()
    }

    /// # Panics
    /// Like the others below, if the table gives the flag another type.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => value,
            other => mistyped(name, &other),
        }
    }

    pub fn uint(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Uint(value) => value,
            other => mistyped(name, &other),
        }
    }

    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => value,
            other => mistyped(name, &other),
        }
    }

    pub fn duration(&self, name: &str) -> GoDuration {
        match self.value(name) {
            Value::Duration(value) => value,
            other => mistyped(name, &other),
        }
    }

    /// An empty text leaves the default, as in etcd.
    pub fn urls(&self, name: &str) -> Vec<HostUrl> {
        match (self.value(name), default_of(name)) {
            (Value::Urls(urls), Value::Urls(default)) if urls.is_empty() => default,
            (Value::Urls(urls), _) => urls,
            (other, _) => mistyped(name, &other),
        }
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(words) => words,
            other => mistyped(name, &other),
        }
    }

    /// The gates that were set; those not named have their default.
    pub fn gates(&self) -> BTreeMap<String, bool> {
        match self.value("feature-gates") {
            Value::Gates(gates) => gates,
            other => mistyped("feature-gates", &other),
        }
    }

    /// Every gate's state, `AllAlpha` and `AllBeta` worked in.
    pub fn all_gates(&self) -> Vec<(&'static gates::Gate, bool)> {
        let set = self.gates();
        let by_stage = |stage: &str| match stage {
            "ALPHA" => set.get("AllAlpha").copied(),
            _ => set.get("AllBeta").copied(),
        };
        let state = |gate: &gates::Gate| {
            set.get(gate.name).copied().or(by_stage(gate.stage).filter(|on| *on)).unwrap_or(gate.default)
        };
        GATES.iter().map(|gate| (gate, state(gate))).collect()
    }
}

/// The default of a flag of the table.
fn default_of(name: &str) -> Value {
    let Some(flag) = find(name) else { panic!("the table has no flag {name}") };
    match flag.kind.parse(flag.default) {
        Ok(value) => value,
        Err(problem) => panic!("the default of --{name} does not fit its type: {problem}"),
    }
}

fn mistyped(name: &str, value: &Value) -> ! {
    panic!("the table gives --{name} another type: {value:?}")
}

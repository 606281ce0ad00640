//! The one table of every flag, and the rules by which flags, variables and a file become settings.
//!
//! argv + environment -> `read` (or a file's text -> `from_file`) -> [`Settings`] -> `server::config`.
//! Pure: nothing here reads a file, the environment or a clock. Server, operator and docs read the table.
//! What a setting means, and which settings go together, is `server::config`'s matter.

mod duration;
mod file;
mod gates;
mod help;
mod markdown;
mod number;
mod read;
mod settings;
mod table;
mod url;
mod value;

#[cfg(test)]
mod tests;

pub use duration::GoDuration;
pub use file::from_file;
pub use gates::{GATES, Gate};
pub use help::{help, usage};
pub use markdown::markdown;
pub use read::{Asked, Error, read};
pub use settings::{Note, Settings};
pub use table::{SECTIONS, TLS_LATER, all, find};
pub use url::{HostUrl, Scheme};
pub use value::{Kind, Value};

/// One flag: what it is called, what it takes, and what it does here.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes, as etcd spells it.
    pub name: &'static str,
    pub kind: Kind,
    /// In the words of a command line; empty means empty.
    pub default: &'static str,
    /// The values that make sense, where the type does not say it; empty: every value of its type.
    pub range: &'static str,
    pub effect: Effect,
    pub releases: Releases,
    /// One line, ending in a full stop.
    pub help: &'static str,
}

/// What setting the flag to something other than its default does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What the help line says.
    Effective,
    /// Read and checked, but nothing follows; logged once at the start with what it would do.
    Accepted(&'static str),
    /// The server does not start; the reason is shown.
    Refused(&'static str),
    /// An older spelling of another flag.
    SameAs(&'static str),
    /// An older spelling of `--feature-gates=NAME=true|false`.
    Gate(&'static str),
    /// Dead since long before 3.5: taken with any value and ignored with a warning, as etcd does.
    Ignored,
}

/// The releases of etcd that register the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Releases {
    /// 3.5 (or before) to 3.7.
    All,
    Since36,
    Until36,
    Only35,
    Only36,
    /// Removed before 3.5, still registered as ignored.
    Former,
    /// Not etcd's: ours.
    Kvorum,
}

impl Releases {
    /// The first release that has it (3.5 stands for 3.5 and before) and the last, None while it lives.
    pub fn since_until(self) -> (&'static str, Option<&'static str>) {
        match self {
            Releases::All => ("3.5", None),
            Releases::Since36 => ("3.6", None),
            Releases::Until36 => ("3.5", Some("3.6")),
            Releases::Only35 => ("3.5", Some("3.5")),
            Releases::Only36 => ("3.6", Some("3.6")),
            Releases::Former => ("before 3.5", None),
            Releases::Kvorum => ("Kvorum", None),
        }
    }
}

/// The headings of the help text, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Usage,
    Kvorum,
    Member,
    Clustering,
    Security,
    Auth,
    Monitoring,
    Logging,
    Tracing,
    Features,
    Unsafe,
    Former,
}

impl Group {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Usage => "Usage",
            Group::Kvorum => "Kvorum's own",
            Group::Member => "Member",
            Group::Clustering => "Clustering",
            Group::Security => "Security",
            Group::Auth => "Auth",
            Group::Monitoring => "Profiling and monitoring",
            Group::Logging => "Logging",
            Group::Tracing => "Distributed tracing",
            Group::Features => "Features",
            Group::Unsafe => "Unsafe features",
            Group::Former => "Former flags and spellings",
        }
    }
}

impl Flag {
    /// The environment variable: `ETCD_` and the name, or for our own flags the name alone.
    pub fn variable(&self) -> String {
        let name = self.name.to_uppercase().replace(['-', '.'], "_");
        match self.releases {
            Releases::Kvorum => name,
            _ => format!("ETCD_{name}"),
        }
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.name == "discovery-password"
    }

    const fn new(name: &'static str, kind: Kind, default: &'static str) -> Flag {
        Flag { name, kind, default, range: "", effect: Effect::Effective, releases: Releases::All, help: "" }
    }

    const fn text(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Text, default)
    }

    const fn bool(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Bool, default)
    }

    const fn int(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Int, default)
    }

    const fn uint(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Uint, default)
    }

    const fn duration(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Duration, default)
    }

    const fn urls(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::Urls, default)
    }

    const fn list(name: &'static str, default: &'static str) -> Flag {
        Flag::new(name, Kind::List, default)
    }

    const fn help(self, help: &'static str) -> Flag {
        Flag { help, ..self }
    }

    const fn range(self, range: &'static str) -> Flag {
        Flag { range, ..self }
    }

    const fn releases(self, releases: Releases) -> Flag {
        Flag { releases, ..self }
    }

    const fn accepted(self, would: &'static str) -> Flag {
        Flag { effect: Effect::Accepted(would), ..self }
    }

    const fn refused(self, reason: &'static str) -> Flag {
        Flag { effect: Effect::Refused(reason), ..self }
    }

    const fn same_as(self, flag: &'static str) -> Flag {
        Flag { effect: Effect::SameAs(flag), ..self }
    }

    const fn gate(self, gate: &'static str) -> Flag {
        Flag { effect: Effect::Gate(gate), ..self }
    }

    const fn ignored(name: &'static str) -> Flag {
        Flag {
            effect: Effect::Ignored,
            releases: Releases::Former,
            help: "Ignored with a warning.",
            ..Flag::new(name, Kind::Ignored, "")
        }
    }
}

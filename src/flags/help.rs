//! What `--help` and a misunderstood command line print.

use std::fmt::Write;

use super::{Effect, Flag, Group, Releases, SECTIONS};

/// The short text: how the program is called.
pub fn usage() -> String {
    "Usage:

  etcd [flags]
    Start a server.

  etcd --version
    Show the version.

  etcd -h | --help
    Show every flag.

  etcd --config-file FILE
    Start a server with the settings of a YAML or JSON file; other flags and variables are ignored.
    Durations in the file are whole numbers of nanoseconds (600000000000 for 10m).
"
    .to_owned()
}

/// The long text: every flag with its default, its meaning, and what it does here if that is not the same.
pub fn help() -> String {
    let mut text = usage();
    for (group, flags) in SECTIONS {
        if *group != Group::Usage {
            let _ = writeln!(text, "\n{}:", group.title());
            for flag in *flags {
                describe(flag, &mut text);
            }
        }
    }
    text
}

fn describe(flag: &Flag, text: &mut String) {
    if flag.releases == Releases::Former {
        let _ = writeln!(text, "  --{}", flag.name);
    } else {
        let _ = writeln!(text, "  --{} '{}'", flag.name, flag.default);
    }
    let range = if flag.range.is_empty() { String::new() } else { format!(" ({})", flag.range) };
    let _ = writeln!(text, "    {}{range}", flag.help);
    let _ = match flag.effect {
        Effect::Accepted(would) => writeln!(text, "    Without effect here; it would {would}."),
        Effect::Refused(reason) => writeln!(text, "    Refused: {reason}."),
        Effect::SameAs(target) => writeln!(text, "    The same as --{target}."),
        Effect::Gate(gate) => writeln!(text, "    The same as --feature-gates={gate}=..."),
        Effect::Effective | Effect::Ignored => Ok(()),
    };
}

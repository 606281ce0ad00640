//! The table of flags as docs/compatibility.md shows it.

use std::fmt::Write;

use super::{Effect, Flag, GATES, Kind, Releases, SECTIONS};

/// The generated part of docs/compatibility.md, ending in a newline.
pub fn markdown() -> String {
    let mut text = String::new();
    for (group, flags) in SECTIONS {
        let _ = writeln!(text, "### {}\n", group.title());
        let _ = writeln!(text, "| flag, variable | takes | default | etcd | here |\n|---|---|---|---|---|");
        for flag in *flags {
            row(flag, &mut text);
        }
        text.push('\n');
    }
    let _ = writeln!(text, "### Feature gates\n");
    let _ = writeln!(text, "| gate | stage | default | without effect here; it would |\n|---|---|---|---|");
    for gate in GATES {
        let _ = writeln!(text, "| `{}` | {} | {} | {} |", gate.name, gate.stage, gate.default, gate.would);
    }
    text
}

fn row(flag: &Flag, text: &mut String) {
    let takes = match flag.range {
        "" => flag.kind.describe(),
        range if matches!(flag.kind, Kind::Text) => range.to_owned(),
        range => format!("{}: {range}", flag.kind.describe()),
    };
    let default = if flag.default.is_empty() { String::new() } else { format!("`{}`", flag.default) };
    let releases = match flag.releases.since_until() {
        (since, None) if flag.releases == Releases::All => format!("{since}-"),
        ("Kvorum", _) => "ours".to_owned(),
        (since, None) => match flag.releases {
            Releases::Former => since.to_owned(),
            _ => format!("{since}-"),
        },
        (since, Some(until)) if since == until => since.to_owned(),
        (since, Some(until)) => format!("{since}-{until}"),
    };
    let here = match flag.effect {
        Effect::Effective => flag.help.to_owned(),
        Effect::Accepted(would) => format!("{} *Without effect; it would {would}.*", flag.help),
        Effect::Refused(reason) => format!("{} **Refused**: {reason}.", flag.help),
        Effect::SameAs(target) => format!("The same as `--{target}`."),
        Effect::Gate(gate) => format!("The same as `--feature-gates={gate}=...`."),
        Effect::Ignored => flag.help.to_owned(),
    };
    let variable = flag.variable();
    let cells = format!("`--{}`<br>`{variable}` | {takes} | {default} | {releases} | {here}", flag.name);
    let _ = writeln!(text, "| {} |", cells.replace("NAME=URL,...", "`NAME=URL,...`"));
}

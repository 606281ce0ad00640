//! What whoever started the program sees: on a terminal a table that is drawn over itself, with
//! the history of steps above it; otherwise one line for each step.
//!
//! A frame is one write: lines are written over the old ones and what is left is cleared after
//! them, so nothing flickers, and nothing is torn by what is written beside it.

use std::io::{self, IsTerminal, Write};

use crate::api::{ConditionType, KvorumClusterStatus, MemberStatus};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::platform::Event;

/// A terminal that does not tell its size is taken for this one.
const SIZE: Size = Size { columns: 80, rows: 24 };

/// Narrower than this no table can be read.
const COLUMNS_MIN: usize = 40;

/// Terminals that know it show what stands between the two at once; others ignore it.
const FRAME_BEGINS: &str = "\x1b[?2026h";
const FRAME_ENDS: &str = "\x1b[?2026l";

/// Characters of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    columns: usize,
    rows: usize,
}

/// What the table is made of.
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) status: &'a KvorumClusterStatus,
    pub(super) addressing: &'a Addressing,
    /// Why the document is not followed.
    pub(super) problem: Option<&'a str>,
}

pub(super) struct Screen {
    terminal: bool,
    /// Lines of the table that stand there now, to be drawn over.
    drawn: usize,
    table: Vec<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), drawn: 0, table: Vec::new() }
    }

    /// A line of history, which stays.
    pub(super) fn say(&mut self, event: &Event) {
        // Marks and the like are for those who read the log.
        if event.reason == "Apply" {
            return;
        }
        let time = jiff::Zoned::now().strftime("%H:%M:%S");
        let sign = if event.warning { "!" } else { " " };
        let head = format!("{time} {sign} {:<14} ", event.reason);
        let lines = match self.terminal {
            true => hanging(&head, &event.note, size().columns),
            false => vec![format!("{head}{}", words(&event.note).join(" "))],
        };
        let table = std::mem::take(&mut self.table);
        self.frame(&lines, table);
    }

    /// The table as it is now; drawn only on a terminal.
    pub(super) fn show(&mut self, view: &View<'_>) {
        if !self.terminal {
            return;
        }
        let size = size();
        let mut table = table(view, size.columns);
        // What does not fit could not be drawn over.
        table.truncate(size.rows.saturating_sub(1));
        if table != self.table {
            self.frame(&[], table);
        }
    }

    /// The table goes; the history stays.
    pub(super) fn clear(&mut self) {
        self.frame(&[], Vec::new());
    }

    /// History, and the table below it, in place of the table that stands there.
    fn frame(&mut self, history: &[String], table: Vec<String>) {
        let text = match self.terminal {
            true => over(self.drawn, history, &table),
            false => history.iter().map(|line| format!("{line}\n")).collect(),
        };
        let mut out = io::stdout().lock();
        // A reader that has gone away does not stop the cluster.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.drawn = table.len();
        self.table = table;
    }
}

/// One write that puts these lines over the last `drawn` ones. The cursor may stand anywhere in its
/// line: a terminal shows `^C` where it is typed.
fn over(drawn: usize, history: &[String], table: &[String]) -> String {
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    let lines: String = history.iter().chain(table).map(|line| format!("{line}\x1b[K\n")).collect();
    format!("{FRAME_BEGINS}\r{up}{lines}\x1b[J{FRAME_ENDS}")
}

fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let told = told.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let size = told.map_or(SIZE, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
    Size { columns: size.columns.max(COLUMNS_MIN), ..size }
}

fn table(view: &View<'_>, columns: usize) -> Vec<String> {
    let View { name, status, addressing, problem } = view;
    let mut lines = vec![String::new()];
    lines.extend(hanging("", &headline(name, status), columns));
    lines.extend(rows(name, status, addressing, columns));
    let operation = status.operation.as_ref();
    let doing = operation.map_or("nothing to do", |operation| match operation.step.starts_with("wait: ") {
        true => "waiting",
        false => &operation.step,
    });
    lines.extend(hanging("now    ", doing, columns));
    let ready = status.conditions.iter().find(|held| held.kind == ConditionType::Ready);
    let why = operation.map(|operation| &operation.reason).or(ready.map(|held| &held.message));
    lines.extend(why.into_iter().flat_map(|why| hanging("why    ", why, columns)));
    let until = operation.and_then(|operation| operation.waiting_on.as_ref());
    lines.extend(until.into_iter().flat_map(|until| hanging("until  ", until, columns)));
    let problem = problem.map(|problem| format!("the document is not followed: {problem}"));
    lines.extend(problem.into_iter().flat_map(|problem| hanging("!      ", &problem, columns)));
    lines
}

fn headline(name: &str, status: &KvorumClusterStatus) -> String {
    let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
    let members = status.ready_members.as_deref().unwrap_or("0/0");
    let version = status.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
    let id = status.cluster_id.as_ref().map(|id| format!(", cluster {id}")).unwrap_or_default();
    format!("{name}: {phase}, {members} members{version}{id}")
}

/// The members, in columns as wide as what stands in them; names that are too long lose their
/// beginning, which is the cluster's name.
fn rows(cluster: &str, status: &KvorumClusterStatus, addressing: &Addressing, columns: usize) -> Vec<String> {
    let header = ["MEMBER", "ROLE", "STATE", "HEALTH", "CLIENTS"].map(str::to_owned);
    let members = status.members.iter().map(|member| row(cluster, member, addressing));
    let rows: Vec<_> = std::iter::once(header).chain(members).collect();
    let mut widths: [usize; 5] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let all = widths.iter().sum::<usize>() + 2 * widths.len();
    widths[0] -= (all + 1).saturating_sub(columns).min(widths[0] - 1);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("  {:<width$}", tail(cell, width)));
        let line: String = cells.collect();
        line.trim_end().chars().take(columns - 1).collect()
    };
    rows.iter().map(line).collect()
}

fn row(cluster: &str, member: &MemberStatus, addressing: &Addressing) -> [String; 5] {
    let clients = MemberName::parse(cluster, &member.name).map(|name| addressing.client_url(&name));
    let clients = clients.unwrap_or_default();
    [
        member.name.clone(),
        if member.leader { "Leader".to_owned() } else { format!("{:?}", member.role) },
        format!("{:?}", member.state),
        format!("{:?}", member.health),
        clients.strip_prefix("http://").unwrap_or(&clients).to_owned(),
    ]
}

/// The last `width` characters, with a sign that there were more.
fn tail(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(count + 1 - width)).collect()
}

/// The text below and beside its head, in lines shorter than `columns`: in the last column terminals
/// differ.
fn hanging(head: &str, text: &str, columns: usize) -> Vec<String> {
    let indent = head.chars().count();
    let room = columns.saturating_sub(indent + 1).max(1);
    let cut = |word: &String| {
        let letters: Vec<char> = word.chars().collect();
        letters.chunks(room).map(String::from_iter).collect::<Vec<_>>()
    };
    let (mut lines, mut line) = (Vec::new(), String::new());
    for part in words(text).iter().flat_map(cut) {
        let needed = line.chars().count() + 1 + part.chars().count();
        if !line.is_empty() && needed > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&part);
    }
    lines.push(line);
    let beside = |(at, line): (usize, String)| match at {
        0 => format!("{head}{line}").trim_end().to_owned(),
        _ => format!("{:indent$}{line}", ""),
    };
    lines.into_iter().enumerate().map(beside).collect()
}

/// What comes from documents and programs may hold anything; a terminal obeys some of it.
fn words(text: &str) -> Vec<String> {
    let plain = text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect());
    plain.filter(|word: &String| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{MemberHealth, MemberRole, MemberState, Operation, OperationKind, Phase};

    fn member(cluster: &str, ordinal: u32, leader: bool) -> MemberStatus {
        MemberStatus {
            name: format!("{cluster}-{ordinal}"),
            id: None,
            role: MemberRole::Voter,
            leader,
            health: MemberHealth::Unhealthy,
            state: MemberState::CatchingUp,
            version: Some("3.7.3".to_owned()),
            node: None,
            unreachable_since: None,
            claim: None,
        }
    }

    fn shown(cluster: &str, problem: Option<&str>) -> Vec<String> {
        let status = KvorumClusterStatus {
            phase: Some(Phase::Changing),
            cluster_id: Some("9319eea9827e0f3a".to_owned()),
            version: Some("3.7.3".to_owned()),
            ready_members: Some("3/5".to_owned()),
            members: (0..3).map(|ordinal| member(cluster, ordinal, ordinal == 1)).collect(),
            operation: Some(Operation {
                kind: OperationKind::ScaleOut,
                member: None,
                step: format!("add {cluster}-3 as learner"),
                reason: "the cluster has 3 members, spec.replicas is 5".to_owned(),
                waiting_on: None,
                started_at: None,
            }),
            ..KvorumClusterStatus::default()
        };
        let addressing = Addressing::Loopback { base_port: 2379 };
        table(&View { name: cluster, status: &status, addressing: &addressing, problem }, 80)
    }

    #[test]
    fn the_table_says_what_is_done_and_why() {
        let expected = "
db: Changing, 3/5 members, version 3.7.3, cluster 9319eea9827e0f3a
  MEMBER  ROLE    STATE       HEALTH     CLIENTS
  db-0    Voter   CatchingUp  Unhealthy  127.0.0.1:2379
  db-1    Leader  CatchingUp  Unhealthy  127.0.0.1:2381
  db-2    Voter   CatchingUp  Unhealthy  127.0.0.1:2383
now    add db-3 as learner
why    the cluster has 3 members, spec.replicas is 5";
        assert_eq!(shown("db", None).join("\n"), expected);
    }

    #[test]
    fn the_longest_name_and_any_problem_fit_eighty_columns() {
        let name = "n".repeat(crate::api::NAME_CHARACTERS_MAX);
        let lines = shown(&name, Some(&format!("spec.x is {}: must\n be \x1b[2Jgood", "y".repeat(200))));
        for line in &lines {
            assert!(line.chars().count() < 80 && !line.contains(char::is_control), "{line:?}");
        }
        let leader = lines.iter().find(|line| line.contains("nn-1  Leader")).expect("its row is there");
        assert!(leader.starts_with("  …") && leader.ends_with(":2381"), "{leader}");
        assert!(lines.last().is_some_and(|line| line.ends_with("[2Jgood")), "{lines:?}");
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_one() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(over(0, &[], &lines[..1]), "\x1b[?2026h\ra\x1b[K\n\x1b[J\x1b[?2026l");
        assert_eq!(
            over(1, &lines[..1], &lines[1..]),
            "\x1b[?2026h\r\x1b[1Aa\x1b[K\nb\x1b[K\n\x1b[J\x1b[?2026l"
        );
    }
}

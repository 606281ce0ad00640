//! What whoever started the program sees: on a terminal a table that is drawn over itself, with
//! the history of steps above it; otherwise one line for each step.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};

use crate::api::{ConditionType, KvorumClusterStatus, MemberStatus};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::platform::Event;

/// Characters of a line where the terminal does not tell.
const WIDTH: usize = 100;

pub(super) struct Screen {
    terminal: bool,
    /// Lines that the table takes now, to be drawn over.
    drawn: usize,
    shown: Vec<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: io::stdout().is_terminal(), drawn: 0, shown: Vec::new() }
    }

    /// A line of history, which stays.
    pub(super) fn say(&mut self, event: &Event) {
        // Marks and the like are for those who read the log.
        if event.reason == "Apply" {
            return;
        }
        let time = jiff::Zoned::now().strftime("%H:%M:%S");
        let sign = if event.warning { "!" } else { " " };
        self.line(&format!("{time} {sign} {:<14} {}", event.reason, event.note));
    }

    /// A line that stays.
    pub(super) fn line(&mut self, text: &str) {
        let erase = self.erase();
        self.write(&format!("{erase}{text}\n"));
        let table = std::mem::take(&mut self.shown);
        self.draw(table);
    }

    /// The table as it is now; drawn only on a terminal.
    pub(super) fn show(
        &mut self,
        name: &str,
        status: &KvorumClusterStatus,
        addressing: &Addressing,
        problem: Option<&str>,
    ) {
        if !self.terminal {
            return;
        }
        let lines = table(name, status, addressing, problem);
        if lines != self.shown {
            let erase = self.erase();
            self.write(&erase);
            self.draw(lines);
        }
    }

    fn draw(&mut self, lines: Vec<String>) {
        if !self.terminal || lines.is_empty() {
            return;
        }
        let width = width();
        let text: String =
            lines.iter().map(|line| line.chars().take(width).chain(['\n']).collect::<String>()).collect();
        self.write(&text);
        self.drawn = lines.len();
        self.shown = lines;
    }

    /// Back to the first line of the table, and everything below it cleared.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn write(&self, text: &str) {
        let mut out = io::stdout().lock();
        // A reader that has gone away does not stop the cluster.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn table(
    name: &str,
    status: &KvorumClusterStatus,
    addressing: &Addressing,
    problem: Option<&str>,
) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["MEMBER", "ROLE", "HEALTH", "STATE", "LEADER", "CLIENTS", "VERSION"]);
    for member in &status.members {
        table.add_row(row(name, member, addressing));
    }
    let mut lines = vec![String::new(), headline(name, status)];
    lines.extend(table.to_string().lines().map(|line| line.trim_end().to_owned()));
    lines.push(match &status.operation {
        Some(operation) => format!("now: {}", operation.step),
        None => "now: nothing to do".to_owned(),
    });
    let held = status.conditions.iter().find(|held| held.kind == ConditionType::Ready);
    lines.extend(held.map(|held| format!("why: {}", held.message)));
    lines.extend(problem.map(|problem| format!("the document is not followed: {problem}")));
    lines
}

fn headline(name: &str, status: &KvorumClusterStatus) -> String {
    let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
    let members = status.ready_members.as_deref().unwrap_or("0/0");
    let id = status.cluster_id.as_deref().map(|id| format!("   cluster {id}")).unwrap_or_default();
    format!("{name}   {phase}   {members} members{id}")
}

fn row(cluster: &str, member: &MemberStatus, addressing: &Addressing) -> [String; 7] {
    let clients = MemberName::parse(cluster, &member.name).map(|name| addressing.client_url(&name));
    [
        member.name.clone(),
        format!("{:?}", member.role),
        format!("{:?}", member.health),
        format!("{:?}", member.state),
        if member.leader { "leader".to_owned() } else { String::new() },
        clients.unwrap_or_default(),
        member.version.clone().unwrap_or_default(),
    ]
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(WIDTH, |size| usize::from(size.ws_col).max(20))
}

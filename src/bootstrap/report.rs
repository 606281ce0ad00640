//! What a member says of its own standing, in every state: `/kvorum/state`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::membership::Member;
use crate::types::MemberId;

/// The states of a server. In starting, hold, safe, refused and removed it takes no part in voting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// On its way into a cluster, or waiting for others on that way.
    Starting,
    /// Told to wait.
    Hold,
    /// The disk cannot be trusted: it was lost, wiped, swapped or is corrupt.
    Safe,
    /// Its flags or its discovery token lead to no cluster, and no waiting mends that.
    Refused,
    Learner,
    Voter,
    /// No longer a member.
    Removed,
}

impl ServerState {
    /// As JSON and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            ServerState::Starting => "starting",
            ServerState::Hold => "hold",
            ServerState::Safe => "safe",
            ServerState::Refused => "refused",
            ServerState::Learner => "learner",
            ServerState::Voter => "voter",
            ServerState::Removed => "removed",
        }
    }
}

/// The answer of `/kvorum/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub state: ServerState,
    /// Why it is in that state, or what is wrong; for people. Empty when all is well.
    pub reason: String,
    /// The peers that stand between this member and its duty.
    pub waiting_for: Vec<Waiting>,
    pub position: Position,
}

/// A peer that is missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// In hex.
    pub member: String,
    /// Empty when it is not known.
    pub name: String,
    pub peer_urls: Vec<String>,
    pub because: String,
}

/// Who and where this member is. IDs are in hex and empty while they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    pub cluster_id: String,
    pub member_id: String,
    /// This life of the disk; a wiped disk comes back with another one.
    pub disk: String,
    /// The leader that it follows; empty: none.
    pub leader: String,
    pub term: u64,
    /// Last entry of the log.
    pub last_index: u64,
    pub committed: u64,
    pub applied: u64,
}

impl Report {
    pub fn starting(reason: impl Into<String>) -> Report {
        Report {
            state: ServerState::Starting,
            reason: reason.into(),
            waiting_for: Vec::new(),
            position: Position::default(),
        }
    }

    /// One line for logs and errors: the reason and who is missing.
    pub fn summary(&self) -> String {
        let missing: Vec<String> = self.waiting_for.iter().map(Waiting::summary).collect();
        match (self.reason.is_empty(), missing.is_empty()) {
            (_, true) => self.reason.clone(),
            (true, false) => missing.join("; "),
            (false, false) => format!("{}: {}", self.reason, missing.join("; ")),
        }
    }
}

impl Waiting {
    pub fn new(member: MemberId, name: &str, peer_urls: Vec<String>, because: impl Into<String>) -> Waiting {
        Waiting { member: member.to_string(), name: name.to_owned(), peer_urls, because: because.into() }
    }

    fn summary(&self) -> String {
        let who = if self.name.is_empty() { &self.member } else { &self.name };
        format!("{who} at {}: {}", self.peer_urls.join(","), self.because)
    }
}

/// What the running server knows of itself at this moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub is_learner: bool,
    pub is_removed: bool,
    pub leader: Option<MemberId>,
    pub term: u64,
    pub last_index: u64,
    pub committed: u64,
    pub applied: u64,
}

/// The report of a running member; `peers` is what the others said of themselves, asked only without a leader.
pub(super) fn running(
    standing: &Standing,
    mut position: Position,
    members: &[Member],
    peers: &BTreeMap<MemberId, Result<Report, String>>,
) -> Report {
    position.leader = standing.leader.map(|leader| leader.to_string()).unwrap_or_default();
    position.term = standing.term;
    position.last_index = standing.last_index;
    position.committed = standing.committed;
    position.applied = standing.applied;
    let state = match standing {
        Standing { is_removed: true, .. } => ServerState::Removed,
        Standing { is_learner: true, .. } => ServerState::Learner,
        _ => ServerState::Voter,
    };
    if standing.is_removed {
        let reason = "the member has been permanently removed from the cluster".to_owned();
        return Report { state, reason, waiting_for: Vec::new(), position };
    }
    if standing.leader.is_some() {
        return Report { state, reason: String::new(), waiting_for: Vec::new(), position };
    }
    let voters = members.iter().filter(|member| !member.is_learner).count();
    let reason = format!("no leader: {} of {voters} voters are needed", voters / 2 + 1);
    let waiting_for = members.iter().filter_map(|member| absent(member, peers.get(&member.id)?)).collect();
    Report { state, reason, waiting_for, position }
}

/// Why a peer does not take part; None: it does.
fn absent(member: &Member, said: &Result<Report, String>) -> Option<Waiting> {
    let because = match said {
        Err(error) => format!("no answer: {error}"),
        Ok(report) => match report.state {
            ServerState::Voter | ServerState::Learner => return None,
            state if report.reason.is_empty() => format!("it is in state {}", state.as_str()),
            state => format!("it is in state {}: {}", state.as_str(), report.reason),
        },
    };
    Some(Waiting::new(member.id, &member.name, member.peer_urls.clone(), because))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> Member {
        Member {
            id: MemberId(id),
            name: name.to_owned(),
            peer_urls: vec![format!("http://h{id}:2380")],
            ..Member::default()
        }
    }

    #[test]
    fn without_a_leader_the_absent_are_named_with_their_reasons() {
        let members = [member(1, "a"), member(2, "b"), member(3, "c")];
        let safe = Report { state: ServerState::Safe, ..Report::starting("the disk was lost") };
        let peers =
            BTreeMap::from([(MemberId(2), Ok(safe)), (MemberId(3), Err("connection refused".to_owned()))]);
        let report = running(&Standing::default(), Position::default(), &members, &peers);
        assert_eq!(report.state, ServerState::Voter);
        assert_eq!(
            report.summary(),
            "no leader: 2 of 3 voters are needed: b at http://h2:2380: it is in state safe: the disk was lost; \
             c at http://h3:2380: no answer: connection refused"
        );
    }

    #[test]
    fn with_a_leader_nothing_is_missing() {
        let standing = Standing { leader: Some(MemberId(2)), applied: 7, ..Standing::default() };
        let report = running(&standing, Position::default(), &[member(1, "a")], &BTreeMap::new());
        let json = serde_json::to_value(&report).expect("a report is JSON");
        assert_eq!(json["state"], "voter");
        assert_eq!(json["reason"], "");
        assert_eq!(json["position"]["leader"], "2");
        assert_eq!(json["position"]["applied"], 7);
        assert_eq!(json["waitingFor"], serde_json::json!([]));
    }
}

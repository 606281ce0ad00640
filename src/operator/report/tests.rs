//! What users are told, in a few looks at a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Outcome, report};
use crate::api::{
    ConditionReason, ConditionStatus, ConditionType, KvorumClusterSpec, KvorumClusterStatus, Phase,
};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::observed::{
    Answer, Identity, Listed, MemberList, Observed, Process, ProcessState, Told,
};
use crate::operator::plan::plan;
use crate::operator::settings::Settings;
use crate::operator::validate::validate;
use crate::operator::{Invalid, Report};
use crate::types::{ClusterId, LogIndex, MemberId};

/// Three members, of which those in `silent` do not answer.
fn look(silent: &[u32]) -> Observed {
    let addressing = Addressing::Loopback { base_port: 20_000 };
    let names: Vec<_> = (0..3).map(|ordinal| MemberName::new("db", ordinal)).collect();
    let id = |name: &MemberName| MemberId(u64::from(name.ordinal()) + 1);
    let list = names.iter().map(|name| Listed {
        id: id(name),
        name: name.to_string(),
        peer_urls: vec![addressing.peer_url(name)],
        learner: false,
    });
    let list = MemberList { members: list.collect(), seen: None };
    let healthy = names.len() - silent.len() >= 2;
    let told = |name: &MemberName| Told {
        age: Duration::ZERO,
        cluster: ClusterId(0xc1),
        member: id(name),
        learner: false,
        leader: healthy.then_some(MemberId(1)),
        healthy,
        version: "3.7.3".to_owned(),
        last: LogIndex(10),
        applied: LogIndex(10),
        list: healthy.then(|| list.clone()),
    };
    let answers = names.iter().map(|name| {
        let answer = match silent.contains(&name.ordinal()) {
            true => Answer::Silent { detail: "connection refused".to_owned() },
            false => Answer::Told(told(name)),
        };
        (name.clone(), answer)
    });
    let process = |name: &MemberName| Process {
        state: ProcessState::Running,
        settings: Settings::default(),
        ask_at: Some(addressing.client_url(name)),
        ready: true,
        led_away_since: None,
        node: Some("node-1".to_owned()),
    };
    let mark = |name: &MemberName| crate::operator::DiskMark {
        owner: "uid-1".to_owned(),
        cluster_id: Some(ClusterId(0xc1)),
        member_id: Some(id(name)),
        voters: [0, 1, 2].into(),
        next_ordinal: 3,
        quarantined: false,
        retired: false,
    };
    let disk = |name: &MemberName| crate::operator::Disk {
        state: crate::operator::DiskState::Usable,
        mark: Some(mark(name)),
    };
    Observed {
        cluster: Identity { name: "db".to_owned(), namespace: "prod".to_owned(), uid: "uid-1".to_owned() },
        generation: 7,
        spec: KvorumClusterSpec::default(),
        deleting: false,
        status: KvorumClusterStatus::default(),
        now: jiff::Timestamp::UNIX_EPOCH,
        processes: names.iter().map(|name| (name.clone(), process(name))).collect(),
        disks: names.iter().map(|name| (name.clone(), disk(name))).collect::<BTreeMap<_, _>>(),
        objects_age: Duration::ZERO,
        asked_to_move: None,
        answers: answers.collect(),
        linked: None,
        addressing,
    }
}

fn told_of(observed: &Observed) -> Report {
    let validated = validate(observed).expect("the spec is valid");
    let plan = plan(&validated, observed, &[]);
    report(observed, Outcome::Planned { validated: &validated, plan: &plan, failed: None })
}

#[track_caller]
fn holds(report: &Report, kind: ConditionType, status: ConditionStatus, reason: ConditionReason) {
    let held =
        report.status.conditions.iter().find(|held| held.kind == kind).expect("all conditions are there");
    assert_eq!((held.status, held.reason), (status, reason), "{kind:?}: {}", held.message);
    assert_eq!(held.observed_generation, 7);
}

#[test]
fn all_well() {
    let report = told_of(&look(&[]));
    holds(&report, ConditionType::Ready, ConditionStatus::True, ConditionReason::AsSpecified);
    holds(&report, ConditionType::Available, ConditionStatus::True, ConditionReason::QuorumHealthy);
    holds(&report, ConditionType::Progressing, ConditionStatus::False, ConditionReason::Settled);
    holds(&report, ConditionType::Degraded, ConditionStatus::False, ConditionReason::Settled);
    let status = report.status;
    assert_eq!(status.phase, Some(Phase::Running));
    assert_eq!((status.leader.as_deref(), status.version.as_deref()), (Some("db-0"), Some("3.7.3")));
    assert_eq!((status.ready_members.as_deref(), status.replicas, status.next_ordinal), (Some("3/3"), 3, 3));
    assert_eq!(status.observed_generation, 7);
    assert_eq!(status.operation, None);
}

#[test]
fn a_status_once_published_is_not_written_again() {
    let mut observed = look(&[]);
    let first = told_of(&observed);
    assert!(first.event.is_some());
    observed.status = first.status.clone();
    observed.now = jiff::Timestamp::MAX;
    let second = told_of(&observed);
    assert_eq!(second.status, first.status);
    assert_eq!(second.event, None);
}

#[test]
fn one_member_away_degrades_and_does_not_interrupt() {
    let report = told_of(&look(&[2]));
    holds(&report, ConditionType::Ready, ConditionStatus::False, ConditionReason::MemberUnhealthy);
    holds(&report, ConditionType::Available, ConditionStatus::True, ConditionReason::QuorumHealthy);
    holds(&report, ConditionType::Degraded, ConditionStatus::True, ConditionReason::MemberUnhealthy);
    assert_eq!(report.status.ready_members.as_deref(), Some("2/3"));
}

#[test]
fn without_a_majority_it_is_not_available() {
    let report = told_of(&look(&[1, 2]));
    holds(&report, ConditionType::Available, ConditionStatus::False, ConditionReason::QuorumLost);
    holds(&report, ConditionType::Ready, ConditionStatus::False, ConditionReason::QuorumLost);
    assert_eq!(report.status.phase, Some(Phase::Unavailable));
}

/// Members run and none answers: that may be the operator's own network.
#[test]
fn what_is_not_known_is_not_said() {
    let report = told_of(&look(&[0, 1, 2]));
    holds(&report, ConditionType::Available, ConditionStatus::Unknown, ConditionReason::StaleView);
    holds(&report, ConditionType::Ready, ConditionStatus::Unknown, ConditionReason::StaleView);
}

#[test]
fn a_spec_that_cannot_be_carried_out_says_why() {
    let observed = look(&[]);
    let invalid = Invalid(vec!["spec.replicas is 0: must be 1 or more".to_owned()]);
    let report = report(&observed, Outcome::Refused { invalid: &invalid });
    holds(&report, ConditionType::Ready, ConditionStatus::False, ConditionReason::InvalidSpec);
    holds(&report, ConditionType::Available, ConditionStatus::True, ConditionReason::QuorumHealthy);
    assert_eq!(report.status.phase, Some(Phase::Refused));
}

#[test]
fn a_change_under_way_names_what_is_not_everywhere() {
    let mut observed = look(&[]);
    observed.spec.snapshot_count = 500;
    let report = told_of(&observed);
    holds(&report, ConditionType::Ready, ConditionStatus::False, ConditionReason::Rolling);
    holds(&report, ConditionType::Progressing, ConditionStatus::True, ConditionReason::Rolling);
    let pending = &report.status.pending_changes[0];
    assert_eq!((pending.field.as_str(), pending.wanted.as_str()), ("spec.snapshotCount", "500"));
    assert_eq!(pending.members, ["db-0", "db-1", "db-2"]);
    let event = report.event.expect("a step is news");
    assert_eq!(event.reason, "Stop");
    assert_eq!(event.note, "stop db-1: db-1 runs with another spec.snapshotCount");
}

#[test]
fn a_failure_is_told_with_the_step() {
    let mut observed = look(&[]);
    observed.spec.replicas = 4;
    let validated = validate(&observed).expect("the spec is valid");
    let plan = plan(&validated, &observed, &[]);
    let failed = Some("etcdserver: unhealthy cluster");
    let report = report(&observed, Outcome::Planned { validated: &validated, plan: &plan, failed });
    let operation = report.status.operation.expect("something is in progress");
    assert_eq!(
        operation.waiting_on.as_deref(),
        Some("another try, since the last one failed: etcdserver: unhealthy cluster")
    );
}

//! Every row of the rules, for clusters of 1 to 7 voters.

use std::collections::BTreeSet;

use super::rules::{Connections, Facts, LearnerProgress, may_add, may_change, may_promote, may_remove};
use super::{Alarm, AlarmKind, Alarms, Change, Member, Members, Refusal};
use crate::types::{LogIndex, MemberId};

const LEARNER: u64 = 100;
const UNKNOWN: u64 = 999;

fn member(id: u64, is_started: bool, is_learner: bool) -> Member {
    Member {
        id: MemberId(id),
        name: if is_started { format!("m{id}") } else { String::new() },
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        client_urls: Vec::new(),
        is_learner,
    }
}

/// Voters 1..=n, of which the first `started` have started.
fn voters(n: u64, started: u64) -> Members {
    let mut members = Members::default();
    members.replace(LogIndex(1), (1..=n).map(|id| member(id, id <= started, false)).collect());
    members
}

fn with_learner(mut members: Members) -> Members {
    let list = members.iter().cloned().chain([member(LEARNER, true, true)]).collect();
    members.replace(LogIndex(2), list);
    members
}

/// What member 1 sees when the members up to `settled` are settled and those up to `active` linked.
fn sees(settled: u64, active: u64) -> Connections {
    let up_to = |n: u64| (2..=n).map(MemberId).collect::<BTreeSet<_>>();
    Connections { local: MemberId(1), active: up_to(active.max(settled)), settled: up_to(settled) }
}

fn quorum(n: u64) -> u64 {
    n / 2 + 1
}

#[test]
fn a_voter_is_added_when_enough_have_started_and_enough_are_settled() {
    for n in 1..=7 {
        for started in 1..=n {
            for settled in 1..=n {
                let expected = if started < quorum(n + 1) && !(n == 1 && started == 1) {
                    Err(Refusal::NotEnoughStarted)
                } else if n > 1 && settled < quorum(n + 1) {
                    Err(Refusal::Unhealthy)
                } else {
                    Ok(())
                };
                let answer = may_add(&voters(n, started), &member(50, false, false), &sees(settled, settled));
                assert_eq!(answer, expected, "{n} voters, {started} started, {settled} settled");
            }
        }
    }
}

#[test]
fn adding_as_the_table_says_it_in_numbers() {
    // voters, started, settled, learner? -> answer
    for (n, started, settled, is_learner, answer) in [
        (1, 1, 1, false, Ok(())),
        (1, 0, 1, false, Err(Refusal::NotEnoughStarted)),
        (2, 1, 2, false, Err(Refusal::NotEnoughStarted)),
        (2, 2, 2, false, Ok(())),
        (2, 2, 1, false, Err(Refusal::Unhealthy)),
        // Three with one down take no fourth, be it voter or learner.
        (3, 3, 2, false, Err(Refusal::Unhealthy)),
        (3, 3, 2, true, Err(Refusal::Unhealthy)),
        (3, 3, 3, false, Ok(())),
        // Five with one down take a sixth.
        (5, 5, 4, false, Ok(())),
        (5, 5, 3, false, Err(Refusal::Unhealthy)),
        // Nobody asks how many have started when a learner comes.
        (3, 1, 3, true, Ok(())),
        (1, 0, 1, true, Ok(())),
    ] {
        let answered = may_add(&voters(n, started), &member(50, false, is_learner), &sees(settled, settled));
        assert_eq!(
            answered, answer,
            "{n} voters, {started} started, {settled} settled, learner {is_learner}"
        );
    }
}

#[test]
fn a_voter_is_removed_when_those_that_stay_have_started_and_are_settled() {
    for n in 1..=7 {
        for started in 1..=n {
            for settled in 1..=n {
                for active in settled..=n {
                    for target in 1..=n {
                        let started_stay = started - u64::from(target <= started);
                        let is_linked = target == 1 || target <= active;
                        let expected = if started_stay < quorum(n - 1) {
                            Err(Refusal::NotEnoughStarted)
                        } else if !is_linked {
                            Ok(())
                        } else if settled as i64 - 1 < 1 + (n as i64 - 1) / 2 {
                            Err(Refusal::Unhealthy)
                        } else {
                            Ok(())
                        };
                        let answer =
                            may_remove(&voters(n, started), MemberId(target), &sees(settled, active));
                        assert_eq!(
                            answer, expected,
                            "{target} of {n}, {started} started, {settled}/{active}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn removing_as_the_table_says_it_in_numbers() {
    // voters, started, settled, linked, target -> answer
    for (n, started, settled, active, target, answer) in [
        // The last member stays.
        (1, 1, 1, 1, 1, Err(Refusal::NotEnoughStarted)),
        (2, 2, 2, 2, 2, Ok(())),
        (2, 2, 1, 2, 2, Err(Refusal::Unhealthy)),
        (2, 2, 1, 1, 2, Ok(())),
        (3, 3, 3, 3, 3, Ok(())),
        (3, 3, 3, 3, 1, Ok(())),
        // The one that is down may go, and another one may not.
        (3, 3, 2, 2, 3, Ok(())),
        (3, 3, 2, 2, 2, Err(Refusal::Unhealthy)),
        // A link that is young protects its member and does not count for the others.
        (3, 3, 2, 3, 3, Err(Refusal::Unhealthy)),
        (5, 5, 4, 4, 4, Ok(())),
        (5, 5, 3, 3, 3, Err(Refusal::Unhealthy)),
        (5, 5, 3, 3, 4, Ok(())),
        // Added but never started: it may go again.
        (4, 3, 3, 3, 4, Ok(())),
        (4, 3, 3, 3, 3, Ok(())),
        (4, 4, 2, 2, 2, Err(Refusal::Unhealthy)),
        (4, 2, 2, 2, 2, Err(Refusal::NotEnoughStarted)),
        // A member nobody knows is refused later, for not being there.
        (3, 3, 3, 3, UNKNOWN, Ok(())),
    ] {
        let answered = may_remove(&voters(n, started), MemberId(target), &sees(settled, active));
        assert_eq!(
            answered, answer,
            "{target} of {n}, {started} started, {settled} settled, {active} linked"
        );
    }
}

#[test]
fn a_learner_is_removed_whatever_the_others_do() {
    for n in 1..=7 {
        assert_eq!(may_remove(&with_learner(voters(n, 0)), MemberId(LEARNER), &sees(1, 1)), Ok(()));
    }
}

#[test]
fn a_learner_is_promoted_when_in_step_and_enough_have_started() {
    for n in 1..=7 {
        for started in 0..=n {
            let members = with_learner(voters(n, started));
            let at = |learner, strict| {
                may_promote(&members, LearnerProgress { learner: Some(learner), leader: 100 }, strict)
            };
            let expected = if started + 1 < quorum(n + 1) { Err(Refusal::NotEnoughStarted) } else { Ok(()) };
            assert_eq!(at(90, true), expected, "{n} voters, {started} started");
            assert_eq!(at(90, false), Ok(()));
            for strict in [true, false] {
                assert_eq!(at(89, strict), Err(Refusal::LearnerNotReady));
            }
        }
    }
    let nobody = LearnerProgress { learner: None, leader: 100 };
    assert_eq!(may_promote(&voters(1, 1), nobody, false), Err(Refusal::NotFound));
    let empty = LearnerProgress { learner: Some(0), leader: 0 };
    assert_eq!(may_promote(&with_learner(voters(1, 1)), empty, true), Ok(()));
}

#[test]
fn a_change_must_fit_the_member_list() {
    let mut members = with_learner(voters(3, 3));
    let list = members.iter().filter(|member| member.id != MemberId(3)).cloned().collect();
    members.replace(LogIndex(7), list);
    let in_step = LearnerProgress { learner: Some(10), leader: 10 };
    let new = |id, url: &str, is_learner| {
        Change::Add(Member { peer_urls: vec![url.into()], ..member(id, false, is_learner) })
    };
    for (change, learners_max, answer) in [
        (new(9, "http://new", false), 1, Ok(())),
        (new(9, "http://new", true), 1, Err(Refusal::TooManyLearners)),
        (new(9, "http://new", true), 2, Ok(())),
        (new(2, "http://new", false), 1, Err(Refusal::IdExists)),
        (new(3, "http://new", false), 1, Err(Refusal::NotFound)),
        (new(9, "http://10.0.0.2:2380", false), 1, Err(Refusal::PeerUrlsExist)),
        // A removed member's URL is free again.
        (new(9, "http://10.0.0.3:2380", false), 1, Ok(())),
        (Change::Promote(MemberId(LEARNER)), 1, Ok(())),
        (Change::Promote(MemberId(2)), 1, Err(Refusal::NotLearner)),
        (Change::Promote(MemberId(3)), 1, Err(Refusal::NotFound)),
        (Change::Remove(MemberId(2)), 1, Ok(())),
        (Change::Remove(MemberId(3)), 1, Err(Refusal::NotFound)),
        (Change::Remove(MemberId(UNKNOWN)), 1, Err(Refusal::NotFound)),
    ] {
        let facts = Facts { connections: sees(1, 1), progress: in_step, strict: false, learners_max };
        assert_eq!(may_change(&members, &change, &facts), answer, "{change:?}");
    }
}

#[test]
fn strict_rules_speak_before_the_list_does() {
    let members = voters(3, 3);
    let facts = Facts {
        connections: sees(2, 2),
        progress: LearnerProgress { learner: None, leader: 1 },
        strict: true,
        learners_max: 1,
    };
    let existing = Change::Add(member(2, false, false));
    assert_eq!(may_change(&members, &existing, &facts), Err(Refusal::Unhealthy));
    let lax = Facts { strict: false, ..facts };
    assert_eq!(may_change(&members, &existing, &lax), Err(Refusal::IdExists));
    // That a voter lags is told before that it is one.
    for (position, refusal) in [(8, Refusal::LearnerNotReady), (9, Refusal::NotLearner)] {
        let progress = LearnerProgress { learner: Some(position), leader: 10 };
        let facts = Facts { progress, ..lax.clone() };
        assert_eq!(may_change(&members, &Change::Promote(MemberId(2)), &facts), Err(refusal));
    }
}

#[test]
fn a_membership_entry_keeps_what_is_known_of_a_member_and_remembers_who_left() {
    let mut members = voters(2, 0);
    members.publish(MemberId(2), "two".into(), vec!["http://c2".into()]).unwrap();
    members.update(LogIndex(3), MemberId(2), vec!["http://moved".into()]).unwrap();
    assert_eq!(members.changed_at(), LogIndex(3));
    members.replace(LogIndex(5), vec![member(2, false, true), member(3, false, false)]);
    let two = members.get(MemberId(2)).unwrap();
    assert_eq!((two.name.as_str(), two.is_learner), ("two", true));
    assert_eq!((two.peer_urls[0].as_str(), two.client_urls[0].as_str()), ("http://moved", "http://c2"));
    assert!(members.is_removed(MemberId(1)) && members.get(MemberId(1)).is_none());
    assert_eq!(members.changed_at(), LogIndex(5));
    for gone in [1, UNKNOWN] {
        let id = MemberId(gone);
        assert_eq!(members.publish(id, "x".into(), Vec::new()), Err(Refusal::NotFound));
        assert_eq!(members.update(LogIndex(6), id, Vec::new()), Err(Refusal::NotFound));
    }
    let taken = vec!["http://10.0.0.3:2380".to_owned()];
    assert_eq!(members.update(LogIndex(6), MemberId(2), taken.clone()), Err(Refusal::PeerUrlsExist));
    assert_eq!(members.update(LogIndex(6), MemberId(3), taken), Ok(()), "its own URL again");
    let text = serde_json::to_string(&members).unwrap();
    assert_eq!(serde_json::from_str::<Members>(&text).unwrap(), members);
}

#[test]
fn an_alarm_is_on_until_it_is_cleared_by_kind() {
    let mut alarms = Alarms::default();
    let alarm = Alarm { member: MemberId(1), kind: AlarmKind::NoSpace };
    assert_eq!(alarms.raise(alarm), [alarm]);
    assert_eq!(alarms.raise(alarm), [alarm]);
    assert_eq!(alarms.clear(MemberId(1), None), []);
    assert_eq!(alarms.clear(MemberId(2), Some(AlarmKind::NoSpace)), []);
    assert!(alarms.has(AlarmKind::NoSpace) && !alarms.has(AlarmKind::Corrupt));
    assert_eq!(alarms.clear(MemberId(1), Some(AlarmKind::NoSpace)), [alarm]);
    assert!(!alarms.has(AlarmKind::NoSpace));
}

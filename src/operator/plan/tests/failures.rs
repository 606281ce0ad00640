//! Members that fail and are replaced, and members that move, told as stories.

use super::model::World;
use super::stories::{told, without_marks};
use crate::api::{ConditionReason, ConditionType, MemberHealth, RetentionPolicy};
use crate::operator::observed::ProcessState;
use crate::operator::settings::Settings;
use crate::operator::step::Step;

const REPLACED: &str = "
    start db-3: db-3 is a member and has no process
    waits for db-3 to start
    waits for db-3 to catch up
    promote db-3: learner db-3 is in step
    rests: the cluster is as the spec says";

fn then_replaced(first: &str) -> String {
    format!("{first}\nadd db-3 as learner: the cluster has 2 members, spec.replicas is 3{REPLACED}")
}

#[test]
fn a_member_whose_disk_is_gone_is_replaced_at_once() {
    let mut world = World::settled(3);
    let lost = world.name(1);
    world.lose_disk(&lost);
    told(
        &without_marks(world.settle()),
        &then_replaced(
            "remove db-1 from the members: db-1 has failed: its disk is not there
             stop db-1: db-1 runs and is not a member",
        ),
    );
    world.assert_at_rest();
    let replaced: Vec<_> = world.status.replaced.iter().map(|told| &*told.member).collect();
    assert_eq!(replaced, ["db-1"]);
}

/// Its disk is left as it is, even where disks of members that leave are deleted.
#[test]
fn a_member_with_a_corrupt_disk_is_replaced_and_its_disk_kept() {
    let mut world = World::settled(3);
    world.spec.storage.retention.on_scale_in = RetentionPolicy::Delete;
    let corrupt = world.name(2);
    world.unfit.insert(corrupt.clone());
    let story = without_marks(world.settle());
    let removed =
        "remove db-2 from the members: db-2 has failed: a checksum of the log does not fit".to_owned();
    assert!(story.contains(&removed), "{story:?}");
    assert!(story.contains(&"retire the disk of db-2: db-2 has left and its disk is still there".to_owned()));
    let mark = &world.disks[&corrupt].mark;
    assert!(mark.quarantined && mark.retired, "{mark:?}");
    world.assert_at_rest();
}

#[test]
fn the_leader_fails_and_is_replaced() {
    let mut world = World::settled(3);
    world.leader = Some(world.list[0].id);
    let leader = world.name(0);
    world.lose_disk(&leader);
    let story = without_marks(world.settle());
    assert_eq!(story[0], "remove db-0 from the members: db-0 has failed: its disk is not there");
    world.assert_at_rest();
}

#[test]
fn a_member_without_contact_is_replaced_after_a_while_and_not_before() {
    let mut world = World::settled(3);
    let away = world.name(2);
    world.cut_off.insert(away);
    world.settle();
    world.wait(40);
    let story = without_marks(world.settle());
    let waits = story.last().expect("a story");
    assert!(waits.starts_with("waits for db-2 to come back; it is replaced at 1970-01-01T00:05:"), "{waits}");
    let member = world.status.members.iter().find(|member| member.name == "db-2").expect("it is shown");
    assert_eq!(member.health, MemberHealth::Unknown);
    assert!(member.unreachable_since.is_some());
    world.wait(300);
    let story = without_marks(world.settle());
    assert!(
        story[0].starts_with("remove db-2 from the members: db-2 has failed: the leader has had no contact"),
        "{story:?}"
    );
    world.cut_off.clear();
    world.settle();
    world.assert_at_rest();
}

#[test]
fn a_member_that_comes_back_in_time_stays() {
    let mut world = World::settled(3);
    let away = world.name(2);
    world.cut_off.insert(away);
    world.settle();
    world.wait(200);
    world.cut_off.clear();
    world.settle();
    world.assert_at_rest();
    // Its time begins anew when it goes away again.
    let away = world.name(2);
    world.cut_off.insert(away);
    world.wait(200);
    let story = world.settle();
    assert!(story.iter().all(|line| !line.starts_with("remove")), "{story:?}");
}

/// Two of five: one after the other leaves, then one after the other comes.
#[test]
fn two_members_fail_and_both_are_replaced() {
    let mut world = World::settled(5);
    for ordinal in [1, 3] {
        let lost = world.name(ordinal);
        world.lose_disk(&lost);
    }
    let story = without_marks(world.settle());
    let changes: Vec<_> = story
        .iter()
        .filter(|line| ["remove", "add", "promote"].iter().any(|verb| line.starts_with(verb)))
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(
        changes,
        [
            "remove db-1 from the members",
            "remove db-3 from the members",
            "add db-5 as learner",
            "promote db-5",
            "add db-6 as learner",
            "promote db-6"
        ]
    );
    world.assert_at_rest();
}

#[test]
fn a_failure_during_a_scale_is_mended_first() {
    let mut world = World::settled(3);
    world.spec.replicas = 5;
    let _added = world.pass(1.0, true);
    let lost = world.name(0);
    world.lose_disk(&lost);
    let story = without_marks(world.settle());
    assert!(story.iter().any(|line| line.starts_with("remove db-0")), "{story:?}");
    world.assert_at_rest();
    assert_eq!(world.voters(), 5);
}

#[test]
fn a_learner_whose_disk_is_lost_gives_way_to_another() {
    let mut world = World::settled(3);
    world.spec.replicas = 4;
    while world.list.iter().all(|listed| listed.name != "db-3") {
        if world.pass(1.0, true).step == Step::Nothing {
            let names: Vec<_> = world.processes.keys().cloned().collect();
            for name in &names {
                world.advance(name);
            }
        }
    }
    let learner = world.name(3);
    world.lose_disk(&learner);
    let story = without_marks(world.settle());
    assert_eq!(story[0], "remove db-3 from the members: db-3 has failed: its disk is not there");
    assert!(story.contains(&"promote db-4: learner db-4 is in step".to_owned()), "{story:?}");
    world.assert_at_rest();
}

#[test]
fn without_a_majority_nobody_is_replaced() {
    let mut world = World::settled(3);
    for ordinal in [0, 1] {
        let lost = world.name(ordinal);
        world.lose_disk(&lost);
    }
    let story = without_marks(world.settle());
    assert!(story.iter().all(|line| line.starts_with("waits")), "{story:?}");
}

#[test]
fn the_hours_budget_is_kept() {
    let mut world = World::settled(3);
    world.spec.replacement.max_per_hour = 1;
    let first = world.name(0);
    world.lose_disk(&first);
    world.settle();
    world.assert_at_rest();
    let second = world.name(1);
    world.lose_disk(&second);
    let story = without_marks(world.settle());
    let waits = story.last().expect("a story");
    assert!(waits.ends_with("no more than 1 members are replaced within an hour"), "{waits}");
    world.wait(3600);
    world.settle();
    world.assert_at_rest();
}

#[test]
fn switched_off_a_lost_disk_is_reported_and_left_alone() {
    let mut world = World::settled(3);
    world.spec.replacement.enabled = false;
    let lost = world.name(2);
    world.lose_disk(&lost);
    let story = without_marks(world.settle());
    told(&story, "waits for a person: remove db-2 from the members, or bring its disk back");
    let degraded = world.status.conditions.iter().find(|held| held.kind == ConditionType::Degraded);
    assert_eq!(degraded.map(|held| held.reason), Some(ConditionReason::DiskMissing));
}

/// The first member of a roll does not come up: a new one would not either.
#[test]
fn settings_that_break_a_member_do_not_get_it_replaced() {
    let mut world = World::settled(3);
    world.spec.image = Some("kvorum:typo".to_owned());
    world.broken = Some(Settings::of(&world.spec));
    world.settle();
    world.wait(3600);
    let story = world.settle();
    assert_eq!(story.last().map(String::as_str), Some("waits for db-1 to run: ImagePullBackOff"));
    world.spec.image = None;
    world.settle();
    world.assert_at_rest();
}

/// A Pod on a dead node cannot go; the cluster is whole all the same.
#[test]
fn a_process_that_cannot_stop_holds_no_replacement_up() {
    let mut world = World::settled(3);
    let stuck = world.name(1);
    world.cut_off.insert(stuck.clone());
    world.processes.get_mut(&stuck).expect("it runs").state = ProcessState::Stopping;
    world.stuck.insert(stuck.clone());
    world.settle();
    world.wait(300);
    let story = without_marks(world.settle());
    assert!(story.contains(&"promote db-3: learner db-3 is in step".to_owned()), "{story:?}");
    assert_eq!((world.voters(), world.serving_voters()), (3, 3));
    assert!(world.processes.contains_key(&stuck));
}

#[test]
fn a_member_that_is_asked_to_move_leaves_when_another_serves_in_its_place() {
    let mut world = World::settled(3);
    world.leader = Some(world.list[1].id);
    world.asked_to_move = Some(1);
    let asks = "kvorum.dev/replace asks for db-1 to be moved";
    told(
        &without_marks(world.settle()),
        &format!(
            "add db-3 as learner: {asks}
            start db-3: db-3 is a member and has no process
            waits for db-3 to start
            waits for db-3 to catch up
            promote db-3: learner db-3 is in step
            bring up to date: db-1 as leaving, the mark of db-0, the mark of db-1, the mark of db-2, the mark of db-3: objects around the members are not what they should be
            waits for clients to be led away from db-1
            move leadership from db-1 to db-0: db-1 is next and leads: it hands over first
            remove db-1 from the members: {asks}
            stop db-1: db-1 runs and is not a member
            waits for db-1 to stop
            retire the disk of db-1: db-1 has left and its disk is still there
            rests: the cluster is as the spec says"
        ),
    );
    world.assert_at_rest();
}

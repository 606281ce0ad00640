//! What the planner does, told as stories.

use super::model::World;
use crate::api::{Phase, RetentionPolicy};
use crate::operator::observed::{DiskMark, ProcessState};
use crate::operator::settings::Settings;

#[track_caller]
pub(super) fn told(story: &[String], expected: &str) {
    let expected: Vec<_> = expected.trim().lines().map(str::trim).collect();
    assert_eq!(story.join("\n"), expected.join("\n"));
}

#[test]
fn three_members_form_together() {
    let mut world = World::new(3);
    told(
        &world.settle(),
        "
        start db-0, db-1, db-2 together: the cluster has not formed: its 3 first members start together
        waits for db-0, db-1, db-2 to start
        bring up to date: the mark of db-0, the mark of db-1, the mark of db-2: objects around the members are not what they should be
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
    assert_eq!(world.status.phase, Some(Phase::Running));
    assert_eq!(world.status.ready_members.as_deref(), Some("3/3"));
    assert_eq!(world.status.cluster_id.as_deref(), Some("c1"));
}

#[test]
fn one_member_forms_alone() {
    let mut world = World::new(1);
    let story = world.settle();
    assert_eq!(story[0], "start db-0 together: the cluster has not formed: its first member starts");
    world.assert_at_rest();
}

#[test]
fn members_join_one_at_a_time_as_learners() {
    let mut world = World::settled(3);
    world.spec.replicas = 5;
    told(
        &without_marks(world.settle()),
        "
        add db-3 as learner: the cluster has 3 members, spec.replicas is 5
        start db-3: db-3 is a member and has no process
        waits for db-3 to start
        waits for db-3 to catch up
        promote db-3: learner db-3 is in step
        add db-4 as learner: the cluster has 4 members, spec.replicas is 5
        start db-4: db-4 is a member and has no process
        waits for db-4 to start
        waits for db-4 to catch up
        promote db-4: learner db-4 is in step
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
}

#[test]
fn the_newest_leave_first_and_the_leader_hands_over() {
    let mut world = World::settled(5);
    let newest = world.list[4].id;
    world.leader = Some(newest);
    world.spec.replicas = 3;
    told(
        &without_marks(world.settle()),
        "
        bring up to date: db-3 as leaving, db-4 as leaving: objects around the members are not what they should be
        waits for clients to be led away from db-3, db-4
        remove db-3 from the members: the cluster has 5 members, spec.replicas is 3
        stop db-3: db-3 runs and is not a member
        move leadership from db-4 to db-0: db-4 is next and leads: it hands over first
        remove db-4 from the members: the cluster has 4 members, spec.replicas is 3
        stop db-4: db-4 runs and is not a member
        waits for db-3, db-4 to stop
        retire the disk of db-3: db-3 has left and its disk is still there
        retire the disk of db-4: db-4 has left and its disk is still there
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
}

/// Whoever changes their mind gets the members back to which clients are led.
#[test]
fn clients_are_led_back_when_nobody_leaves_after_all() {
    let mut world = World::settled(3);
    world.spec.replicas = 2;
    let led_away = world.pass(1.0, true);
    assert_eq!(led_away.step.to_string(), "bring up to date: db-2 as leaving");
    world.spec.replicas = 3;
    told(
        &world.settle(),
        "
        bring up to date: db-2 as voter: objects around the members are not what they should be
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
}

#[test]
fn a_member_that_is_down_leaves_first() {
    let mut world = World::settled(5);
    let down = world.name(1);
    world.spec.replicas = 4;
    world.processes.get_mut(&down).expect("it runs").state =
        ProcessState::Failing { detail: "CrashLoopBackOff".into() };
    let story = without_marks(world.settle());
    assert_eq!(story[0], "remove db-1 from the members: the cluster has 5 members, spec.replicas is 4");
    world.assert_at_rest();
}

#[test]
fn down_to_one_and_up_again_with_new_names() {
    let mut world = World::settled(3);
    world.spec.storage.retention.on_scale_in = RetentionPolicy::Delete;
    for replicas in [1, 3, 2, 1, 3] {
        world.spec.replicas = replicas;
        world.settle();
        world.assert_at_rest();
    }
    let names: Vec<_> = world.status.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["db-0", "db-5", "db-6"]);
}

#[test]
fn new_settings_roll_one_member_at_a_time_the_leader_last() {
    let mut world = World::settled(3);
    let first = world.list[0].id;
    world.leader = Some(first);
    world.spec.timing.election_timeout_ms = 2_000;
    told(
        &without_marks(world.settle()),
        "
        stop db-1: db-1 runs with another spec.timing.electionTimeoutMs
        waits for db-1 to be healthy: 2 voters are, 3 are needed
        start db-1: db-1 is a member and has no process
        waits for db-1 to run: it has no node yet
        stop db-2: db-2 runs with another spec.timing.electionTimeoutMs
        waits for db-2 to be healthy: 2 voters are, 3 are needed
        start db-2: db-2 is a member and has no process
        waits for db-2 to run: it has no node yet
        move leadership from db-0 to db-1: db-0 is next and leads: it hands over first
        stop db-0: db-0 runs with another spec.timing.electionTimeoutMs
        waits for db-0 to stop
        start db-0: db-0 is a member and has no process
        waits for db-0 to run: it has no node yet
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
}

#[test]
fn two_members_and_one_can_be_rolled() {
    for replicas in [1, 2] {
        let mut world = World::settled(replicas);
        world.spec.snapshot_count = 500;
        world.settle();
        world.assert_at_rest();
    }
}

#[test]
fn a_bad_image_stops_after_one_member_and_can_be_mended() {
    let mut world = World::settled(3);
    world.spec.image = Some("kvorum:typo".to_owned());
    world.broken = Some(Settings::of(&world.spec));
    let story = world.settle();
    assert_eq!(story.last().map(String::as_str), Some("waits for db-1 to run: ImagePullBackOff"));
    assert_eq!(world.serving_voters(), 2);
    let pending: Vec<_> =
        world.status.pending_changes.iter().map(|change| (&*change.field, change.members.len())).collect();
    assert_eq!(pending, [("spec.image", 2)]);
    world.spec.image = Some("kvorum:good".to_owned());
    let story = without_marks(world.settle());
    assert_eq!(
        story[0],
        "stop db-1: db-1 does not run (ImagePullBackOff) and the spec has changed since it was made"
    );
    world.assert_at_rest();
}

#[test]
fn a_bad_image_can_be_mended_before_the_cluster_ever_formed() {
    let mut world = World::new(3);
    world.spec.image = Some("kvorum:typo".to_owned());
    world.broken = Some(Settings::of(&world.spec));
    let story = world.settle();
    assert_eq!(story.last().map(String::as_str), Some("waits for db-0 to run: ImagePullBackOff"));
    world.spec.image = None;
    world.settle();
    world.assert_at_rest();
}

#[test]
fn a_member_whose_process_is_gone_gets_it_again_on_its_disk() {
    let mut world = World::settled(3);
    let (one, two) = (world.name(1), world.name(2));
    let id = world.list[1].id;
    world.kill(&one);
    let story = world.settle();
    assert_eq!(story[0], "start db-1: the process of db-1 is over: exit code 137");
    world.lose_process(&two);
    let story = world.settle();
    assert_eq!(story[0], "start db-2: db-2 is a member and has no process");
    world.assert_at_rest();
    assert_eq!(world.list[1].id, id);
}

#[test]
fn all_processes_gone_is_a_plain_restart() {
    let mut world = World::settled(3);
    let names: Vec<_> = world.processes.keys().cloned().collect();
    names.iter().for_each(|name| world.lose_process(name));
    let story = without_marks(world.settle());
    told(
        &story,
        "
        start db-0: db-0 is a member and has no process
        start db-1: db-1 is a member and has no process
        start db-2: db-2 is a member and has no process
        waits for db-0, db-1, db-2 to start
        rests: the cluster is as the spec says
        ",
    );
    world.assert_at_rest();
}

#[test]
fn nothing_is_begun_while_a_member_is_away() {
    let mut world = World::settled(3);
    let away = world.name(2);
    world.processes.get_mut(&away).expect("it runs").state = ProcessState::Stopping;
    world.spec.replicas = 5;
    world.spec.snapshot_count = 500;
    let plan = world.pass(1.0, true);
    assert_eq!(
        plan.waiting_on.map(|waiting_on| waiting_on.to_string()).as_deref(),
        Some("db-2 to be healthy: 2 voters are, 3 are needed")
    );
}

#[test]
fn replicas_changed_while_forming_counts_afterwards() {
    let mut world = World::new(3);
    let _interrupted = world.pass(0.4, false);
    world.spec.replicas = 1;
    let story = without_marks(world.settle());
    assert!(story[0].starts_with("start db-1, db-2 together"), "{story:?}");
    world.assert_at_rest();
}

#[test]
fn replicas_changed_in_the_middle_go_on_from_what_is() {
    let mut world = World::settled(3);
    world.spec.replicas = 5;
    let _added = world.pass(1.0, true);
    world.spec.replicas = 3;
    let story = without_marks(world.settle());
    assert_eq!(story.last().map(String::as_str), Some("rests: the cluster is as the spec says"));
    world.assert_at_rest();
}

#[test]
fn a_status_that_was_lost_founds_no_second_cluster() {
    let mut world = World::settled(3);
    world.status = Default::default();
    let names: Vec<_> = world.processes.keys().cloned().collect();
    names.iter().for_each(|name| world.lose_process(name));
    world.settle();
    world.assert_at_rest();
}

#[test]
fn a_cluster_made_again_takes_over_all_its_disks() {
    let mut world = World::settled(3);
    world.processes.clear();
    world.status = Default::default();
    world.uid = "uid-2".to_owned();
    let story = world.settle();
    assert!(
        story[0].ends_with("the disks of all 3 members of an earlier cluster of this name are taken over"),
        "{story:?}"
    );
    world.assert_at_rest();
    assert!(world.disks.values().all(|disk| disk.mark.owner == "uid-2"));
}

#[test]
fn a_cluster_made_again_over_some_of_its_disks_is_refused() {
    let mut world = World::settled(3);
    world.processes.clear();
    world.status = Default::default();
    world.uid = "uid-2".to_owned();
    let missing = world.name(1);
    world.disks.remove(&missing);
    let story = world.settle();
    told(&story, "waits for a person: delete those disks, or bring back the missing ones");
    let ready = world.status.conditions.iter().find(|held| held.message.contains("but not those of db-1"));
    assert!(ready.is_some(), "{:?}", world.status.conditions);
    assert_eq!(world.status.phase, Some(Phase::Refused));
}

#[test]
fn retired_disks_of_an_earlier_cluster_are_left_alone() {
    let mut world = World::settled(3);
    world.processes.clear();
    world.list.clear();
    world.status = Default::default();
    world.uid = "uid-2".to_owned();
    for disk in world.disks.values_mut() {
        disk.mark = DiskMark { retired: true, ..disk.mark.clone() };
    }
    world.settle();
    world.assert_at_rest();
    let names: Vec<_> = world.status.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["db-3", "db-4", "db-5"]);
}

#[test]
fn a_member_that_the_operator_did_not_make_is_counted_and_left_alone() {
    let mut world = World::settled(3);
    let stranger = crate::operator::observed::Listed {
        id: crate::types::MemberId(0xf0),
        name: "stranger".to_owned(),
        peer_urls: vec!["http://10.0.0.9:2380".to_owned()],
        learner: false,
    };
    world.list.push(stranger);
    world.spec.replicas = 5;
    let plan = world.pass(1.0, true);
    assert_eq!(
        plan.reason.to_string(),
        "members that the operator did not make are counted and left alone: stranger"
    );
    assert_eq!(world.status.phase, Some(Phase::Degraded));
}

#[test]
fn paused_leaves_all_as_it_is() {
    let mut world = World::settled(3);
    world.spec.paused = true;
    world.spec.replicas = 5;
    told(&world.settle(), "rests: spec.paused is true: nothing is changed until it is false");
    assert_eq!(world.status.phase, Some(Phase::Paused));
}

/// Marks follow the members; most stories are not about them.
pub(super) fn without_marks(story: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for line in story.into_iter().filter(|line| !line.starts_with("bring up to date: the mark")) {
        if kept.last() != Some(&line) {
            kept.push(line);
        }
    }
    kept
}

//! The planner against the model, for many seeds: processes start, stop and die, the spec is
//! edited, the operator is killed in the middle of a step, all in any order. The model asserts at
//! every step what must never be; at the end, when nothing disturbs any more, the cluster must be
//! as the spec says and quiet.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};

use super::model::World;
use crate::api::RetentionPolicy;
use crate::operator::names::MemberName;

/// Enough to meet every pair of disturbances many times, in seconds.
const SEEDS: u64 = 400;

const MOVES: usize = 120;

fn any_process(world: &World, random: &mut StdRng) -> Option<MemberName> {
    world.processes.keys().choose(random).cloned()
}

/// Deaths are held to what the cluster survives, so that what is lost is lost by the operator.
fn may_die(world: &World, member: &MemberName) -> bool {
    let voter = world.list.iter().find(|listed| listed.name == member.to_string() && !listed.learner);
    voter.is_none_or(|voter| {
        !world.serves(voter) || world.serving_voters() > world.voters() / 2 + 1 || world.voters() <= 2
    })
}

fn disturb(world: &mut World, random: &mut StdRng) {
    match random.random_range(0..100) {
        // The operator passes, whole.
        0..40 => drop(world.pass(1.0, true)),
        // It is killed in the middle of performing.
        40..46 => drop(world.pass(random.random_range(0.0..1.0), true)),
        // Its status is not written.
        46..50 => drop(world.pass(1.0, false)),
        50..90 => {
            if let Some(member) = any_process(world, random) {
                world.advance(&member);
            }
        }
        90..94 => {
            if let Some(member) = any_process(world, random).filter(|member| may_die(world, member)) {
                world.kill(&member);
            }
        }
        94..96 => {
            if let Some(member) = any_process(world, random).filter(|member| may_die(world, member)) {
                world.lose_process(&member);
            }
        }
        96 => {
            // Of three or more the others still decide; of fewer the data would be gone.
            let spare = world.voters() > 2;
            if let Some(member) = any_process(world, random).filter(|member| spare && may_die(world, member))
            {
                world.lose_disk(&member);
            }
        }
        97 => world.spec.replicas = *[1, 2, 3, 4, 5].choose(random).unwrap_or(&3),
        98 => world.spec.timing.election_timeout_ms = *[1_000, 2_000, 3_000].choose(random).unwrap_or(&1_000),
        _ if random.random() => world.status = Default::default(),
        _ => world.asked_to_move = Some(random.random_range(0..6)),
    }
}

#[test]
fn whatever_happens_quorum_is_kept_and_rest_is_found() {
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(*[1, 2, 3, 5].choose(&mut random).unwrap_or(&3));
        world.spec.replacement.max_per_hour = 16;
        world.spec.storage.retention.on_scale_in =
            if random.random() { RetentionPolicy::Delete } else { RetentionPolicy::Retain };
        let run = std::panic::AssertUnwindSafe(|| {
            for _ in 0..MOVES {
                disturb(&mut world, &mut random);
            }
            world.settle();
            world.assert_at_rest();
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            let last = world.history.len().saturating_sub(40);
            let history = world.history[last..].join("\n");
            panic!("seed {seed}: {:?}, after\n{history}", panic.downcast_ref::<String>());
        }
    }
}

/// Everywhere the operator may die, once: before, in the middle of, and after each step.
#[test]
fn the_operator_may_die_at_any_step() {
    let edits: [fn(&mut World); 3] = [
        |world| world.spec.replicas = 5,
        |world| world.spec.replicas = 1,
        |world| world.spec.timing.election_timeout_ms = 2_000,
    ];
    for edit in edits {
        for crash_at in 0..40 {
            for part in [0.0, 0.3, 0.6, 1.0] {
                let mut world = World::new(3);
                for step in 0..40 {
                    if step == 12 {
                        edit(&mut world);
                    }
                    let _plan = world.pass(if step == crash_at { part } else { 1.0 }, step != crash_at);
                    let names: Vec<_> = world.processes.keys().cloned().collect();
                    for name in &names {
                        world.advance(name);
                    }
                }
                world.settle();
                world.assert_at_rest();
            }
        }
    }
}

//! A leader that is stopped before a write and goes on after another one has taken over: what it still holds is refused,
//! or changes nothing.

use switchback::{
    api::Step,
    release::{manifests::Kind, plan::Action},
};

use crate::world::{Frozen, World, words};

/// What happens once the other one leads.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Abort,
    AnotherSpec,
    Unready,
    /// The candidate lacks a pod, so that whoever leads next waits before it moves anything.
    NotWhole,
    /// Somebody else points the Service at the former version.
    Contested,
}

const ALL: [Then; 6] = [Then::Nothing, Then::Abort, Then::AnotherSpec, Then::Unready, Then::NotWhole, Then::Contested];

fn happens(world: &mut World, then: Then) {
    match then {
        Then::Nothing => {}
        Then::Abort => {
            world.abort();
        }
        Then::AnotherSpec => world.ask_for("3.0.0"),
        Then::Unready => {
            world.unready.push(world.digits_of("2.0.0"));
            world.set_ready("2.0.0", 0);
        }
        Then::NotWhole => {
            let digits = world.digits_of("2.0.0");
            let candidate = world.deployments.values_mut().filter(|deployment| deployment.revision == digits);
            candidate.for_each(|deployment| deployment.available = 2);
            world.set_ready("2.0.0", 2);
        }
        Then::Contested => world.point_at("1.0.0"),
    }
}

/// A world in which 2.0.0 is asked for, under an elected leader.
fn asked(mut world: World) -> World {
    world.term = Some(1);
    world.ask_for("2.0.0");
    world
}

/// Calls `then` with the world at each write of a release: the leader has just been stopped before it.
fn before_each_write(world: World, mut then: impl FnMut(World, Frozen)) -> usize {
    let (mut world, mut stops) = (asked(world), 0);
    for _ in 0..400 {
        for before in 0.. {
            let mut stopped = world.clone();
            let Some(frozen) = stopped.freeze(before) else { break };
            stops += 1;
            then(stopped, frozen);
        }
        if world.step() == Step::Approve && world.decisions.iter().all(|decision| decision.settled) {
            world.approve("anna");
        }
        if world.step() == Step::Idle && world.active() == Some("2.0.0") {
            return stops;
        }
        world.turn();
    }
    panic!("it does not end; it stands at {:?}", world.step());
}

/// What decides about users and data: where traffic goes, what runs behind it, what has migrated.
fn weighty(world: &World) -> String {
    let services: Vec<_> = world.services.values().map(|service| (&service.name, service.selected())).collect();
    let deployments = world.deployments.values();
    let sizes: Vec<_> = deployments.map(|deployment| (&deployment.uid, deployment.replicas)).collect();
    format!("{services:?} {sizes:?} {:?} {:?}", world.database.ran, world.status)
}

fn rest(world: &mut World) {
    for _ in 0..4 {
        world.run_to_rest();
        if world.step() == Step::Approve {
            world.approve("anna");
        }
    }
}

/// Makes nothing that serves: what it makes late is removed again, and until then it hurts nobody.
fn only_makes(frozen: &Frozen) -> bool {
    let makes = |action: &Action| matches!(action, Action::Create(_) | Action::AddFinalizer);
    frozen.plan.everything().all(makes)
}

#[test]
fn b8_what_a_stopped_leader_holds_is_refused_or_empty_once_the_next_one_has_come_to_rest() {
    let mut stops = 0;
    // What a migration holds back is another thing only where somebody wants none of it any more.
    let kinds: [fn() -> World; 2] = [World::serving_with_database, crate::workers::serving];
    let few = [Then::Nothing, Then::Abort, Then::AnotherSpec];
    let more = kinds.into_iter().flat_map(|kind| few.map(|then| (kind, then)));
    for (kind, then) in ALL.map(|then| (World::serving as fn() -> World, then)).into_iter().chain(more) {
        stops += before_each_write(kind(), |mut world, frozen| {
            happens(&mut world, then);
            rest(&mut world);
            let told = |world: &World| {
                format!("{then:?}: {:?}\n{:#?}", frozen.plan.everything().map(words).collect::<Vec<_>>(), world.writes)
            };
            let before = weighty(&world);
            world.thaw(&frozen);
            if !only_makes(&frozen) {
                assert_eq!(weighty(&world), before, "{}", told(&world));
            }
            // And nothing of it stays.
            rest(&mut world);
            assert_eq!((world.services.len(), world.jobs.len()), (1, 0), "{}", told(&world));
            world.wait(3 * 24 * 3600);
            rest(&mut world);
            assert_eq!(world.deployments.len(), world.spec.workloads.len(), "{}", told(&world));
        });
    }
    assert!(stops > 200, "only {stops} writes");
}

#[test]
fn b8_traffic_is_not_moved_by_whoever_led_before_from_the_first_look_of_the_next_one_on() {
    for then in ALL {
        before_each_write(World::serving(), |mut world, frozen| {
            happens(&mut world, then);
            world.look(usize::MAX);
            let selected = world.selected().map(str::to_owned);
            let told = format!(
                "{then:?} at {:?}: {:?}",
                world.step(),
                frozen.plan.everything().map(words).collect::<Vec<_>>()
            );
            world.thaw(&frozen);
            assert_eq!(world.selected(), selected.as_deref(), "{told}");
            rest(&mut world);
            let serves = world.digits_of(world.active().unwrap());
            assert_eq!(world.selected(), Some(serves.as_str()), "{told}");
        });
    }
}

#[test]
fn the_next_leader_fences_what_was_begun_before_it_goes_on() {
    let mut world = asked(World::serving());
    world.run_to(Step::Approve);
    world.approve("anna");
    while world.step() != Step::Switch {
        // Only what is recorded: the Services are still where they were.
        if !world.look(1) {
            world.settle();
            world.wait(1);
        }
    }
    assert_eq!(world.record().term, Some(1));
    world.term = Some(2);
    world.writes.clear();
    world.look(usize::MAX);
    assert_eq!(world.writes, ["fence Service shop with 2-2"]);
    world.look(usize::MAX);
    assert_eq!(world.writes.last().map(String::as_str), Some("point shop at <2.0.0>"), "{:?}", world.writes);
}

#[test]
fn who_begins_a_step_itself_writes_no_fence() {
    let mut world = asked(World::serving());
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert!(!world.writes.iter().any(|write| write.starts_with("fence")), "{:?}", world.writes);
}

#[test]
fn the_way_back_waits_for_no_fence() {
    let mut world = asked(World::serving());
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.term = Some(2);
    world.set_ready("2.0.0", 0);
    world.writes.clear();
    world.look(usize::MAX);
    assert_eq!(world.writes, ["point shop at <1.0.0>, fenced"]);
}

#[test]
fn a_deployment_that_shrinks_or_goes_is_the_version_that_was_read() {
    let mut world = asked(World::serving());
    world.run_to(Step::Approve);
    world.approve("anna");
    let mut seen = 0;
    for _ in 0..200 {
        let (_, plan) = world.plan();
        for action in plan.everything() {
            let version = match action {
                Action::Scale { deployment, resource_version, .. } => Some((deployment, resource_version.clone())),
                Action::Delete { kind: Kind::Deployment, name, resource_version, .. } => {
                    Some((name, resource_version.clone().unwrap_or_default()))
                }
                _ => None,
            };
            let Some((name, version)) = version else { continue };
            assert_eq!(world.deployments[name].resource_version, version);
            seen += 1;
        }
        world.turn();
    }
    assert!(seen > 0);
}

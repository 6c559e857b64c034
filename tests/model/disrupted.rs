//! Pods that the cluster evicts while a version is watched, and versions that people take back themselves.

use switchback::api::{Outcome, Step};

use crate::world::World;

/// Evicts pods of a version: they end, and what comes in their place is not ready.
fn evict(world: &mut World, version: &str, how_many: usize) {
    let (now, digits) = (world.now, world.digits_of(version));
    let pods = world.pods.values_mut().filter(|pod| pod.revision == digits && pod.job.is_none() && pod.ready);
    for pod in pods.take(how_many) {
        (pod.disrupted, pod.ready, pod.deleting) = (Some(now), false, true);
    }
    world.follow();
}

/// What was evicted is gone; others are in its place.
fn replace(world: &mut World, ready: bool) {
    let gone: Vec<String> =
        world.pods.values().filter(|pod| pod.disrupted.is_some()).map(|pod| pod.name.clone()).collect();
    for (number, name) in gone.into_iter().enumerate() {
        let mut pod = world.pods.remove(&name).unwrap();
        (pod.disrupted, pod.ready, pod.deleting) = (None, ready, false);
        pod.name = format!("{}-new{number}", name.rsplit_once('-').unwrap().0);
        world.pods.insert(pod.name.clone(), pod);
    }
    world.follow();
}

#[test]
fn rule_02_pods_that_the_cluster_evicts_are_not_missed_for_a_while() {
    let mut world = World::at(Step::Watch);
    // One of three would be critical.
    evict(&mut world, "2.0.0", 2);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.record().disrupted.len()), (Step::Watch, 2));
    assert_eq!(world.record().unready_since, None);
    // Also when nothing of them is left to be seen.
    replace(&mut world, false);
    world.wait(59);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::Watch);
    world.wait(2);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack, "{:?}", world.status.conditions);
    assert!(world.record().disrupted.is_empty());
}

#[test]
fn rule_02_a_node_that_is_drained_under_a_version_that_is_well_changes_nothing() {
    let mut world = World::at(Step::Watch);
    evict(&mut world, "2.0.0", 2);
    world.look(usize::MAX);
    replace(&mut world, true);
    world.look(usize::MAX);
    world.wait(61);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.record().disrupted.len()), (Step::Watch, 0));
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("2.0.0"), Some(Outcome::Succeeded)));
}

#[test]
fn rule_02_what_is_evicted_hides_nothing_else() {
    // Of the two that are left one is not ready: too few for longer than is tolerated.
    let mut world = World::at(Step::Watch);
    evict(&mut world, "2.0.0", 1);
    let digits = world.digits_of("2.0.0");
    world.pods.values_mut().find(|pod| pod.revision == digits && pod.ready).unwrap().ready = false;
    world.follow();
    world.look(usize::MAX);
    assert!(
        world.message("Ready").contains("1 of 2 pods behind Service shop are ready (1 evicted"),
        "{}",
        world.message("Ready")
    );
    world.wait(11);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
    // Whatever the cause, somebody has to be there.
    let mut world = World::at(Step::Watch);
    evict(&mut world, "2.0.0", 3);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
    // What ends by itself, or is ended short of memory, is missed at once.
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 1);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
    // And where nobody wants that grace.
    let mut world = World::at_as(Step::Watch, |spec| spec.watch.disruption_grace = "0s".parse().unwrap());
    evict(&mut world, "2.0.0", 2);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
}

#[test]
fn where_the_way_back_is_left_to_people_one_is_called_and_traffic_stays_until_then() {
    let by_hand = |spec: &mut switchback::api::ReleaseSpec| spec.rollback.automatic = false;
    let mut world = World::at_as(Step::Watch, by_hand);
    let digits = world.digits_of("2.0.0");
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "ReadinessLost"))));
    assert!(world.message("Ready").contains("kubectl switchback abort shop"), "{}", world.message("Ready"));
    // The window does not end meanwhile.
    world.wait(10_000);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.selected()), (Step::Watch, Some(&*digits)));
    world.abort();
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::Aborted)));
    // A check that fails does the same.
    let mut world = World::at_as(Step::Watch, by_hand);
    world.job_end.insert("watch", crate::world::JobEnd::Fails);
    for _ in 0..3 {
        world.turn();
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "ChecksFailed"))));
}

//! Rule 11: how a Release ends, and what outlives it.

use jiff::SignedDuration;
use switchback::{
    api::{DeletionPolicy, ReleaseSpec, Step},
    release::{manifests::Kind, plan::Action},
};

use crate::{config::with_config, world::World};

fn orphan(spec: &mut ReleaseSpec) {
    with_config(spec);
    spec.deletion_policy = DeletionPolicy::Orphan;
}

/// Deletes the Release, with a controller that is killed after so many writes again and again.
fn delete(world: &mut World, kill_after: usize) {
    world.deleting = true;
    world.deleted_at = Some(world.now);
    for _ in 0..200 {
        if world.gone {
            return;
        }
        world.look(kill_after);
        world.settle();
        world.now = world.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    }
    panic!("it does not end: {:?}", world.message("Ready"));
}

#[test]
fn rule_11_what_serves_outlives_an_orphaned_release_and_nothing_else_does() {
    for step in [Step::Idle, Step::Approve, Step::Deploy, Step::Verify, Step::Switch, Step::Watch, Step::Retire] {
        for kill_after in [1, 2, usize::MAX] {
            let mut world = World::serving_as(orphan);
            if step != Step::Idle {
                world = World::at_as(step, orphan);
            }
            let selected = world.selected().unwrap().to_owned();
            delete(&mut world, kill_after);
            assert_eq!(world.selected(), Some(selected.as_str()), "{step:?}");
            let left: Vec<&str> = world.deployments.values().map(|left| left.revision.as_str()).collect();
            assert_eq!(left, [selected.as_str()], "{step:?}");
            assert!(world.deployments.values().all(|left| left.replicas == 3 && world.disowned.contains(&left.uid)));
            let with: Vec<String> = world.unwatched.keys().map(|(kind, name)| format!("{kind} {name}")).collect();
            let expected =
                [format!("ConfigMap shop-app-{selected}"), format!("PodDisruptionBudget shop-web-{selected}")];
            assert_eq!(with, expected, "{step:?}");
            assert!(world.contents.is_empty() && world.jobs.is_empty() && world.services.len() == 1, "{step:?}");
        }
    }
}

#[test]
fn rule_11_services_are_let_go_before_deployments_and_those_before_any_content_is_removed() {
    let mut world = World::serving_as(orphan);
    delete(&mut world, usize::MAX);
    let at = |start: &str| world.writes.iter().position(|write| write.starts_with(start)).unwrap();
    let order = [
        at("take the owners off Service"),
        at("take the owners off Deployment"),
        at("take the owners off ConfigMap"),
        at("delete ControllerRevision"),
        at("remove finalizer"),
    ];
    assert!(order.is_sorted(), "{:#?}", world.writes);
}

/// A patch of the Service may have come through that no watch has shown yet.
#[test]
fn rule_11_what_serves_is_read_live() {
    let mut world = World::at_as(Step::Watch, orphan);
    world.deleting = true;
    let mut seen = world.observed();
    let blue = world.digits_of("1.0.0");
    for service in &mut seen.services {
        service.selector.insert("switchback.dev/revision".into(), blue.clone());
    }
    let (_, plan) = world.plan_of(seen);
    let green = world.digits_of("2.0.0");
    let let_go = plan.actions.iter().filter_map(|action| match action {
        Action::Disown { kind: Kind::Deployment, name, .. } => Some(name.clone()),
        _ => None,
    });
    assert_eq!(let_go.collect::<Vec<_>>(), [format!("shop-web-{green}")]);
}

#[test]
fn rule_11_the_policy_can_still_be_changed_while_it_is_deleted() {
    let mut world = World::serving_as(with_config);
    world.deleting = true;
    let mut spec = world.spec.clone();
    spec.deletion_policy = DeletionPolicy::Orphan;
    world.change(spec);
    delete(&mut world, usize::MAX);
    assert_eq!(world.deployments.len(), 1);
}

#[test]
fn rule_11_by_default_everything_goes() {
    let mut world = World::serving_as(with_config);
    delete(&mut world, usize::MAX);
    assert!(world.deployments.is_empty() && world.services.is_empty() && world.unwatched.is_empty());
}

#[test]
fn rule_11_a_deletion_says_what_it_waits_for_how_to_end_it_and_ends_in_time() {
    for shape in [with_config as fn(&mut ReleaseSpec), orphan] {
        let mut world = World::serving_as(shape);
        world.deleting = true;
        world.deleted_at = Some(world.now);
        let orphans = world.spec.deletion_policy == DeletionPolicy::Orphan;
        // Somebody else's finalizer, or a webhook that refuses: whatever is written, nothing changes.
        let before = world.clone();
        let blocked = |world: &mut World| {
            let (seen, plan) = world.plan();
            world.carry_out(&seen, &plan, 1);
            world.contents.clone_from(&before.contents);
            world.disowned.clear();
            plan
        };
        let plan = blocked(&mut world);
        assert!(!world.message("Reconciling").contains("waits"), "{}", world.message("Reconciling"));
        world.now = plan.recheck.unwrap();
        while world.now < world.deleted_at.unwrap() + SignedDuration::from_secs(30) {
            world.now = blocked(&mut world).recheck.unwrap();
        }
        blocked(&mut world);
        let message = world.message("Reconciling").to_owned();
        let what =
            if orphans { "It waits for Service shop, Deployment shop-web-" } else { "ControllerRevision shop-a" };
        assert!(message.contains(what), "{message}");
        assert!(message.contains("kubectl patch releases.switchback.dev shop -n prod"), "{message}");
        world.now = world.deleted_at.unwrap() + SignedDuration::from_secs(600);
        let (seen, mut plan) = world.plan();
        assert!(plan.act_first && plan.actions.len() > 1, "what fails does not keep the rest: {plan:?}");
        plan.actions.retain(|action| *action == Action::RemoveFinalizer);
        world.carry_out(&seen, &plan, usize::MAX);
        assert!(world.gone);
        // Nothing that serves is taken with it.
        assert_eq!((world.deployments.len(), world.services.len()), (1, 1));
    }
}

/// Or one that had to let a migration end first.
#[test]
fn rule_11_a_controller_that_was_away_still_does_what_is_asked() {
    for (shape, kill_after, left) in [(with_config as fn(&mut ReleaseSpec), 1, 0), (orphan, usize::MAX, 1)] {
        let mut world = World::serving_as(shape);
        world.deleting = true;
        world.deleted_at = Some(world.now - SignedDuration::from_hours(3));
        for _ in 0..50 {
            world.look(kill_after);
            world.now += SignedDuration::from_secs(1);
        }
        assert!(world.gone && world.contents.is_empty(), "{:?}", world.message("Reconciling"));
        assert_eq!((world.deployments.len(), world.services.len()), (left, left));
    }
}

//! What serves is broken: that does not keep a fix from going on, and whoever approves it knows.

use serde_json::json;
use switchback::api::{Mode, Step};

use crate::{policies::policy, world::World};

/// Lets all pods of what serves lose their readiness, for good.
fn break_blue(world: &mut World) {
    let digits = World::digits("1.0.0");
    world.unready.push(digits);
    world.settle();
    while world.look(usize::MAX) {}
}

fn mend_blue(world: &mut World) {
    world.unready.clear();
    world.settle();
    while world.look(usize::MAX) {}
}

fn risks(world: &World) -> String {
    world.record().plan.clone().unwrap().risks.join("\n")
}

fn digest(world: &World) -> String {
    world.record().plan.clone().unwrap().digest
}

#[test]
fn rule_08_input_12_a_fix_of_what_is_broken_says_so_takes_an_approval_and_goes_through() {
    let mut world = World::serving();
    break_blue(&mut world);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let said = "1.0.0, which serves, is broken (0 of 3 pods behind Service shop are ready): as long as it is, nobody can go \
                back to it. It does not keep this release from going on";
    assert!(risks(&world).contains(said), "{}", risks(&world));
    assert!(
        world.message("Ready").contains("1.0.0 serves and is broken, as the plan says"),
        "{}",
        world.message("Ready")
    );
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn rule_08_who_approved_before_it_broke_is_asked_once_more() {
    let mut world = World::serving();
    world.policies = vec![policy("two", json!({ "approval": { "required": 2 } }))];
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let (shown, early) = (digest(&world), world.approve("anna"));
    while world.look(usize::MAX) {}
    assert_eq!(world.became(&early), Some(("Accepted", "Waiting")));
    // What is only unwell is told and voids nothing.
    world.set_ready("1.0.0", 2);
    while world.look(usize::MAX) {}
    assert_eq!(digest(&world), shown);

    break_blue(&mut world);
    assert_eq!((world.step(), world.became(&early)), (Step::Approve, Some(("Refused", "OtherDigest"))));
    assert!(digest(&world) != shown && risks(&world).contains("is broken"), "{}", risks(&world));
    // The same people may say it once more: nobody else has to be awake.
    world.wait(5);
    world.approve("anna");
    let late = world.approve("ben");
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&late)), (Some("2.0.0"), Some(("Used", "Used"))));
}

#[test]
fn rule_08_what_was_said_once_stays_said_though_it_comes_and_goes() {
    let mut world = World::serving();
    world.policies = vec![policy("two", json!({ "approval": { "required": 2 } }))];
    break_blue(&mut world);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let (shown, first) = (digest(&world), world.approve("anna"));
    for _ in 0..3 {
        mend_blue(&mut world);
        assert_eq!((digest(&world), world.became(&first)), (shown.clone(), Some(("Accepted", "Waiting"))));
        break_blue(&mut world);
        assert_eq!((digest(&world), world.became(&first)), (shown.clone(), Some(("Accepted", "Waiting"))));
    }
    world.approve("ben");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    // The next one is released beside something that is well.
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    assert!(!risks(&world).contains("broken"), "{}", risks(&world));
}

#[test]
fn rule_08_what_is_automatic_asks_a_person_while_what_serves_is_broken_and_none_when_it_is_well_again() {
    let automatic = |version: &str| {
        let mut spec = crate::world::spec(version);
        spec.mode = Some(Mode::Automatic);
        spec
    };
    for by_person in [true, false] {
        let mut world = World::serving();
        break_blue(&mut world);
        world.change(automatic("2.0.0"));
        world.run_to(Step::Approve);
        world.run_to_rest();
        assert_eq!((world.step(), world.active()), (Step::Approve, Some("1.0.0")), "it began though nobody was asked");
        let told = world.message("Ready");
        assert!(told.contains("It is automatic, and a person has to look at it: what serves is broken."), "{told}");
        let unmet = world.record().plan.clone().unwrap().unmet.join("\n");
        assert!(unmet.starts_with("One approval by somebody who holds the verb `approve`"), "{unmet}");
        if by_person {
            world.approve("anna");
        } else {
            mend_blue(&mut world);
        }
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "by a person: {by_person}");
    }
}

#[test]
fn rule_08_what_breaks_after_the_approval_stops_nothing() {
    for step in [Step::Preflight, Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        let mut world = World::at(step);
        break_blue(&mut world);
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "broken at {step:?}: {}", world.message("Ready"));
    }
}

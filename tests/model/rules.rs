//! The rules of a release, each by its number; forgeries that only the plan can see through.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use switchback::{
    api::{
        Approval, DecisionKind, Gate, Mode, Outcome, ReleaseSpec, Step,
        labels::{REVISION, WORKLOAD},
    },
    release::{
        manifests::Kind,
        observed::{Guard, PodSeen},
        plan::{Action, plan},
    },
};

use crate::world::{JobEnd, World, spec};

fn outcome(world: &World) -> Option<Outcome> {
    world.record().outcome
}

#[test]
fn a_release_goes_to_production_and_the_former_version_drains() {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("2.0.0"), Some(Outcome::Succeeded)));
    assert_eq!(world.condition("Ready"), Some(("True", "Released")));
    assert_eq!(world.selected(), Some(World::digits("2.0.0").as_str()));
    let replicas: Vec<i32> = world.deployments.values().map(|deployment| deployment.replicas).collect();
    assert_eq!(replicas.iter().sum::<i32>(), 3, "{:?}", world.deployments);
    assert!(world.jobs.is_empty() && world.services.len() == 1);
    assert_eq!(world.record().decisions.last().map(|used| used.actor.as_str()), Some("anna"));
}

#[test]
fn a_plan_says_how_long_its_steps_took_last_time_and_that_is_not_what_is_approved() {
    let mut world = World::at(Step::Approve);
    let before = world.record().plan.clone().unwrap();
    world.approve("anna");
    world.run_to_rest();
    let history = world.record().history.clone();
    let steps: Vec<Step> = history[1].steps.iter().map(|time| time.step).collect();
    let expected =
        [Step::Inspect, Step::Approve, Step::Preflight, Step::Deploy, Step::Verify, Step::Switch, Step::Watch];
    assert_eq!(steps, expected);
    let watched = history[1].steps.last().unwrap().took;
    assert!(watched.as_std().as_secs() >= 900, "{watched}");
    assert!(history[0].steps.iter().all(|time| time.step != Step::Retire));
    // The same content again, from the same version: the same plan but for its times.
    world.ask_for("1.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let after = world.record().plan.clone().unwrap();
    assert_eq!(after.digest, before.digest);
    let watch = |plan: &switchback::api::PlanRecord| {
        plan.steps
            .iter()
            .find(|planned| planned.step == Step::Watch)
            .unwrap()
            .expected
            .map(|took| took.as_std().as_secs())
    };
    assert!(watch(&after) >= Some(900), "{after:?}");
}

#[test]
fn rule_01_going_back_needs_neither_the_candidate_nor_a_policy_nor_an_approval() {
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    world.guard = Guard::Missing("everything is gone".into());
    world.decisions.clear();
    world.contents.clear();
    let (_, plan) = world.plan();
    assert!(plan.act_first);
    assert!(matches!(plan.actions.first(), Some(Action::Point { .. })), "{plan:?}");
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
}

#[test]
fn rule_02_low_readiness_is_tolerated_for_a_while_and_critical_readiness_is_not() {
    let mut world = World::at(Step::Watch);
    // Two of three are within the slack; nothing begins.
    world.set_ready("2.0.0", 2);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.record().unready_since.is_some()), (Step::Watch, false));
    world.set_ready("2.0.0", 1);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::SwitchBack);
}

#[test]
fn rule_02_input_18_pods_that_come_and_go_are_as_bad_as_pods_that_stay_away() {
    let flapping = |well: i64, turns: usize| {
        let mut world = World::at(Step::Watch);
        for (_, frozen) in world.contents.values_mut().filter(|(_, frozen)| frozen.version == "2.0.0") {
            let mut content = (**frozen).clone();
            // Never critical; ten seconds are tolerated.
            content.watch.immediate_below = 0;
            *frozen = std::sync::Arc::new(content);
        }
        let mut went = 0;
        while went < turns && world.step() == Step::Watch {
            world.set_ready("2.0.0", 1);
            world.look(usize::MAX);
            world.wait(4);
            world.set_ready("2.0.0", 3);
            world.look(usize::MAX);
            world.wait(well);
            went += 1;
        }
        (world.step(), went)
    };
    // Four seconds at a time: after the third there were more than ten, though none of them was too long.
    let (step, turns) = flapping(3, 9);
    assert!(step != Step::Watch && (3..=4).contains(&turns), "{step:?} after {turns}");
    // Well for longer than is tolerated, each time is a new one.
    assert_eq!(flapping(11, 9), (Step::Watch, 9));
}

#[test]
fn rule_02_input_19_nothing_moves_when_the_former_version_is_no_better() {
    let mut world = World::at(Step::Watch);
    world.set_ready("1.0.0", 0);
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
    // The window does not end while neither is well.
    world.wait(10_000);
    world.look(usize::MAX);
    assert_eq!(world.step(), Step::Watch);
    world.set_ready("1.0.0", 3);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
}

#[test]
fn rule_02_a_lost_content_of_the_candidate_sends_nobody_to_an_empty_version() {
    let mut world = World::at(Step::Watch);
    world.set_ready("1.0.0", 0);
    let candidate = world.record().candidate.as_ref().unwrap().attempt;
    world.contents.retain(|_, (attempt, _)| attempt.number != candidate);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
    assert_eq!(world.selected(), Some(&*World::digits("2.0.0")));
    world.set_ready("1.0.0", 3);
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::RolledBack)));
    assert!(world.message("Stalled").contains("somebody deleted it"), "{}", world.message("Stalled"));
}

#[test]
fn rule_02_a_switch_that_can_go_neither_way_calls_a_person() {
    // Moved, and the endpoints have not followed.
    let mut world = World::at(Step::Switch);
    for _ in 0..9 {
        if world.selected() != Some(&*World::digits("2.0.0")) {
            world.look(usize::MAX);
        }
    }
    world.slices.clear();
    world.set_ready_pods("1.0.0", 0);
    world.look(usize::MAX);
    world.wait(10);
    world.look(usize::MAX);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "Switching")));
    let mut stopped = world.clone();
    stopped.abort();
    world.wait(1_000);
    for mut world in [world, stopped] {
        world.look(usize::MAX);
        assert_eq!((world.step(), world.condition("Ready")), (Step::Switch, Some(("Unknown", "BothUnhealthy"))));
        world.set_ready_pods("1.0.0", 3);
        world.look(usize::MAX);
        assert_eq!(world.selected(), Some(&*World::digits("1.0.0")), "{:?}", world.status.conditions);
    }
}

#[test]
fn a_release_without_a_service_that_a_failed_switch_had_moved_gets_through() {
    fn two_services(spec: &mut ReleaseSpec) {
        if spec.version != "3.0.0" {
            let mut more = spec.workloads[0].services[0].clone();
            more.name = "extra".into();
            spec.workloads[0].services.push(more);
        }
    }
    let mut world = World::serving_as(two_services);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Switch);
    let moved = |world: &World| world.record().traffic.iter().all(|traffic| traffic.switched_at.is_some());
    for _ in 0..9 {
        world.look(usize::MAX);
        if world.selected() == Some(&*world.digits_of("2.0.0")) {
            // The endpoints do not follow.
            world.slices.clear();
            world.wait(1);
        }
    }
    assert!(moved(&world) && world.step() == Step::Switch, "{:#?}", world.record().traffic);
    world.abort();
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("3.0.0"), Some(Outcome::Succeeded)), "{:#?}", world.statuses);
}

#[test]
fn rule_09_a_workload_of_another_name_behind_the_same_service_is_the_candidates_alone() {
    fn renamed(spec: &mut ReleaseSpec) {
        if spec.version != "1.0.0" {
            spec.workloads[0].name = "frontend".into();
        }
    }
    let to = |world: &World| world.services["shop"].selector[WORKLOAD].clone();
    for goes_back in [false, true] {
        let mut world = World::serving_as(renamed);
        world.ask_for("2.0.0");
        world.run_to(Step::Approve);
        world.approve("anna");
        for _ in 0..40 {
            world.turn();
            let serves = if world.selected() == Some(&*world.digits_of("2.0.0")) { "frontend" } else { "web" };
            assert_eq!(to(&world), serves, "{:?}: {:#?}", world.step(), world.writes);
            if goes_back && world.step() == Step::Watch {
                let digits = world.digits_of("2.0.0");
                world.unready.push(digits);
                world.set_ready("2.0.0", 0);
            }
        }
        world.run_to_rest();
        let (active, serves) = if goes_back { ("1.0.0", "web") } else { ("2.0.0", "frontend") };
        assert_eq!((world.active(), &*to(&world)), (Some(active), serves));
        assert!(!world.writes.iter().any(|write| write.starts_with("put shop back")), "{:#?}", world.writes);
        // At rest the spec may still ask for what was left.
        let (_, plan) = world.plan();
        assert!(plan.upkeep.is_empty(), "{:?}", plan.upkeep);
    }
}

#[test]
fn rule_03_only_an_explicit_success_is_success() {
    for (job, end) in [
        ("verify", JobEnd::Fails),
        ("verify", JobEnd::LeavesNothing),
        ("verify", JobEnd::AnswersTooLittle),
        ("verify", JobEnd::Hangs),
        ("smoke", JobEnd::Fails),
        ("smoke", JobEnd::Hangs),
    ] {
        let mut world = World::at(Step::Deploy);
        world.job_end.insert(job, end);
        world.run_to_rest();
        assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Failed)), "{job} {end:?}");
        assert_eq!(world.condition("Stalled"), Some(("True", "ChecksFailed")), "{job} {end:?}");
        assert!(!world.writes.iter().any(|write| write.starts_with("point")), "blue was touched: {:?}", world.writes);
    }
}

#[test]
fn rule_03_a_watch_that_cannot_tell_holds_and_the_window_does_not_end() {
    let mut world = World::at(Step::Watch);
    world.job_end.insert("watch", JobEnd::LeavesNothing);
    for _ in 0..3 {
        world.turn();
        world.wait(10_000);
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "WatchOnHold"))));
    // A person who is called can still stop it.
    world.abort();
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Aborted)));
}

#[test]
fn rule_04_a_failed_revision_is_not_tried_again_until_the_revision_changes() {
    let mut world = World::at(Step::Deploy);
    world.unready.push(World::digits("2.0.0"));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "GreenNotReady")));
    let attempts = world.record().attempts;
    // Neither time nor an edit outside the revision begins another attempt.
    world.unready.clear();
    let mut edited = spec("2.0.0");
    edited.notes = Some("please".into());
    world.change(edited);
    world.wait(100_000);
    world.run_to_rest();
    assert_eq!(world.record().attempts, attempts);
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    assert_eq!(world.record().attempts, attempts + 1);
}

#[test]
fn rule_05_outcome_and_health_are_two_things() {
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    world.run_to_rest();
    assert_eq!(world.condition("Ready"), Some(("False", "RolledBack")));
    assert_eq!(world.condition("Serving"), Some(("True", "Released")));
    assert!(world.message("Serving").contains("1.0.0 serves"), "{}", world.message("Serving"));
}

#[test]
fn rule_06_before_the_switch_a_new_spec_takes_the_attempts_place() {
    for step in [Step::Approve, Step::Preflight, Step::Deploy, Step::Verify] {
        let mut world = World::at(step);
        world.ask_for("3.0.0");
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("3.0.0"), "from {step:?}");
        let never = format!("point shop at <{}>", "2.0.0");
        assert!(!world.writes.contains(&never), "from {step:?}: {:?}", world.writes);
    }
}

#[test]
fn rule_06_a_new_spec_waits_until_the_watch_window_ends() {
    let mut world = World::at(Step::Watch);
    world.ask_for("3.0.0");
    world.turn();
    assert_eq!(world.step(), Step::Watch);
    world.run_to(Step::Approve);
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn rule_06_back_to_the_active_revision_goes_back_at_every_step() {
    for step in [Step::Approve, Step::Preflight, Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        let mut world = World::at(step);
        world.ask_for("1.0.0");
        world.run_to_rest();
        assert_eq!(
            (world.active(), world.selected()),
            (Some("1.0.0"), Some(World::digits("1.0.0").as_str())),
            "{step:?}"
        );
        assert_eq!(world.condition("Ready"), Some(("True", "Released")), "{step:?}");
        let green = World::digits("2.0.0");
        assert!(!world.deployments.values().any(|deployment| deployment.revision == green), "{step:?}");
    }
}

#[test]
fn rule_07_the_candidate_is_never_smaller_than_what_serves_and_a_change_of_size_is_no_release() {
    let mut world = World::serving();
    let mut larger = spec("1.0.0");
    larger.workloads[0].replicas = Some(5);
    world.change(larger);
    world.run_to_rest();
    assert_eq!((world.step(), world.record().attempts), (Step::Idle, 1));
    // The next version asks for three, and five serve.
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    let green = World::digits("2.0.0");
    assert_eq!(world.deployments.values().find(|seen| seen.revision == green).map(|seen| seen.replicas), Some(5));
    world.run_to_rest();
    assert_eq!(world.deployments.values().find(|seen| seen.revision == green).map(|seen| seen.replicas), Some(3));
}

#[test]
fn rule_09_a_selector_that_somebody_changed_or_wiped_is_put_back() {
    let cases = [Step::Idle, Step::Watch].map(|step| [(step, true), (step, false)]);
    for (step, wiped) in cases.into_iter().flatten() {
        let mut world = if step == Step::Idle { World::serving() } else { World::at(step) };
        let right = world.services["shop"].selector.clone();
        let service = world.services.get_mut("shop").unwrap();
        service.selector.clear();
        if !wiped {
            service.selector.insert("app".to_owned(), "else".to_owned());
        }
        world.look(usize::MAX);
        assert_eq!(world.services["shop"].selector, right, "{step:?}");
        assert_eq!(world.condition("TrafficContested"), Some(("True", "TrafficContested")));
        // It is not called over at once: whoever did it may do it again.
        world.look(usize::MAX);
        assert_eq!(world.condition("TrafficContested"), Some(("True", "TrafficContested")), "{step:?}");
        world.wait(61);
        world.look(usize::MAX);
        assert_eq!(world.condition("TrafficContested"), None);
    }
}

#[test]
fn rule_09_a_selector_that_is_fought_over_is_put_back_at_a_bounded_rate_for_ever() {
    let mut world = World::serving();
    let right = world.services["shop"].selector.clone();
    world.manager = Some("helm".into());
    world.writes.clear();
    let mut statuses = vec![];
    for _ in 0..100 {
        world.point_at("3.0.0");
        world.look(usize::MAX);
        world.now = world.now.checked_add(SignedDuration::from_millis(200)).unwrap();
        statuses.push(world.version);
    }
    let back = world.writes.iter().filter(|write| write.starts_with("put shop back")).count();
    assert_eq!(back, world.writes.len(), "{:?}", world.writes);
    assert!((18..=20).contains(&back), "{back} writes within 20 s");
    statuses.dedup();
    assert!(statuses.len() <= 2, "status says so once: {statuses:?}");
    let told = world.message("TrafficContested");
    assert!(told.contains("helm") && told.contains("Service shop"), "{told}");
    assert_eq!(world.active(), Some("1.0.0"), "it is never taken for what should serve");
    world.run_to_rest();
    assert_eq!((&world.services["shop"].selector, world.condition("TrafficContested")), (&right, None));
}

#[test]
fn rule_11_deleting_a_release_removes_what_nothing_else_would_remove() {
    for step in [Step::Approve, Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        let mut world = World::at(step);
        world.deleting = true;
        world.run_to_rest();
        assert!(world.gone && world.contents.is_empty(), "{step:?}: {:?}", world.contents);
    }
}

#[test]
fn rule_11_a_content_that_no_watch_has_shown_yet_is_removed_before_the_release_is_gone() {
    let mut world = World::new();
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Preflight);
    world.look(usize::MAX);
    world.deleting = true;
    let mut seen = world.observed();
    assert!(!std::mem::take(&mut seen.attempts).is_empty(), "it was made");
    let (_, plan) = world.plan_of(seen);
    let does: Vec<String> = plan.actions.iter().map(crate::world::words).collect();
    assert_eq!(does, ["delete ControllerRevision shop-anchor", "delete ControllerRevision shop-attempt-1"]);
    // Also when no event tells that they are gone.
    assert!(plan.recheck.is_some());
    world.run_to_rest();
    assert!(world.gone && world.contents.is_empty());
}

#[test]
fn rule_12_threat_t10_a_name_that_somebody_else_has_stops_before_anything_is_changed() {
    for kind in [Kind::Service, Kind::Deployment, Kind::Job] {
        let mut world = World::new();
        let name = match kind {
            Kind::Service => "shop".to_owned(),
            Kind::Deployment => format!("shop-web-{}", World::digits("1.0.0")),
            _ => "shop-1-verify".to_owned(),
        };
        world.foreign.push((kind, name));
        world.run_to_rest();
        // In this world it is another Release's.
        let reason = if kind == Kind::Service { "ServiceClaimed" } else { "NameTaken" };
        assert_eq!(world.condition("Stalled"), Some(("True", reason)), "{kind:?}");
        assert!(world.contents.is_empty() && world.deployments.is_empty() && world.services.is_empty());
    }
}

#[test]
fn input_20_21_and_22_refusals_of_quota_pod_security_and_service_accounts_are_told_before_anything_is_changed() {
    for (message, reason) in [
        ("pods \"x\" is forbidden: exceeded quota: small, requested: pods=3", "QuotaExceeded"),
        (
            "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            "PodSecurityViolation",
        ),
        ("error looking up service account prod/nobody: serviceaccount \"nobody\" not found", "ServiceAccountNotFound"),
        ("unknown field \"spec.containers[0].imagee\"", "DryRunRefused"),
    ] {
        let mut world = World::serving();
        world.refusal = Some((Kind::Pod, 403, message.into()));
        world.ask_for("2.0.0");
        world.run_to_rest();
        assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", reason)), Some("1.0.0")));
        assert!(world.message("Ready").contains(message), "{}", world.message("Ready"));
    }
}

/// What decides whether a version stays is approved with it; what only says how it is called, or how large it is, is not.
#[test]
fn forgery_threat_t06_a_digest_covers_each_part_that_decides() {
    let plan = |change: &dyn Fn(&mut Value)| {
        let mut world = World::serving();
        let mut asked = serde_json::to_value(spec("2.0.0")).unwrap();
        change(&mut asked);
        world.change(serde_json::from_value(asked).unwrap());
        world.run_to(Step::Approve);
        world.record().plan.clone().unwrap()
    };
    let before = plan(&|_| {});
    let pod = json!({ "spec": { "containers": [{ "name": "flag", "image": "flag:1" }] } });
    let decides = [
        ("/rollback/automatic", json!(false)),
        ("/rollback/keepPrevious", json!("48h")),
        ("/switch/settle", json!("7s")),
        ("/watch/for", json!("21m")),
        ("/watch/readyPercent", json!(91)),
        ("/workloads/0/handover", json!("StopThenStart")),
        ("/hooks", json!([{ "name": "flag", "when": "Done", "job": { "template": pod } }])),
        ("/workloads/0/autoscaling", json!({ "min": 3, "max": 9 })),
        ("/checks", json!([])),
    ];
    for (place, value) in decides {
        let after = plan(&|asked| put(asked, place, value.clone()));
        assert_eq!(after.revision, before.revision, "{place} makes another revision");
        assert_ne!(after.digest, before.digest, "{place} is not covered");
    }
    let trifles =
        [("/version", json!("2.0.0+build.7")), ("/notes", json!("Read me.")), ("/workloads/0/replicas", json!(5))];
    for (place, value) in trifles {
        let after = plan(&|asked| put(asked, place, value.clone()));
        assert_eq!((after.revision, after.digest), (before.revision.clone(), before.digest.clone()), "{place}");
    }
}

/// Puts a value at a place whose parent may have to be made.
fn put(object: &mut Value, place: &str, value: Value) {
    let mut at = object;
    for part in place.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(number) => &mut at[number],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
}

#[test]
fn forgery_threat_t06_an_approval_counts_once_for_one_digest_of_one_object() {
    let mut world = World::at(Step::Approve);
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000000".to_owned();
    let foreign = world.decide(DecisionKind::Approve(Approval { digest: other, gate: Gate::Release }), "anna");
    let replayed = world.approve("anna");
    world.decisions.iter_mut().filter(|seen| seen.name == replayed).for_each(|seen| seen.target_uid = "uid-old".into());
    world.run_to_rest();
    assert_eq!(world.step(), Step::Approve);
    assert_eq!(world.settled[&foreign], ("Refused".into(), "OtherDigest".into()));
    assert_eq!(world.settled[&replayed], ("Refused".into(), "OtherUid".into()));
    // Used for this attempt, it does not count for the next one of the same plan.
    let used = world.approve("anna");
    world.unready.push(World::digits("2.0.0"));
    world.run_to(Step::Deploy);
    assert_eq!(world.settled[&used], ("Used".into(), "Used".into()));
    world.ask_for("1.0.0");
    world.run_to_rest();
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.step(), Step::Approve);
}

#[test]
fn forgery_threat_t07_an_approval_of_a_plan_that_changed_is_void() {
    let mut world = World::at(Step::Approve);
    let approval = world.approve("anna");
    let mut edited = spec("2.0.0");
    edited.checks.clear();
    world.change(edited);
    world.run_to_rest();
    assert_eq!(world.step(), Step::Approve);
    assert_eq!(world.settled[&approval], ("Refused".into(), "OtherDigest".into()));
}

#[test]
fn forgery_an_automatic_release_from_before_the_policies_guarded_waits_for_a_person() {
    let mut automatic = spec("2.0.0");
    automatic.mode = Some(Mode::Automatic);
    let mut world = World::serving();
    world.change(automatic.clone());
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));

    let mut world = World::serving();
    world.guard = Guard::Missing("somebody deleted the binding".into());
    world.change(automatic);
    world.look(usize::MAX);
    world.guard = Guard::Since(world.now.checked_add(SignedDuration::from_secs(10)).unwrap());
    world.wait(60);
    world.run_to_rest();
    assert_eq!((world.step(), world.active()), (Step::Approve, Some("1.0.0")));
    assert!(world.message("Ready").contains("a person has to look at it"), "{}", world.message("Ready"));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn an_approval_of_what_changed_before_anything_was_done_is_void_visibly() {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    // The approval is used up and remembered; the spec changes before the content is frozen.
    world.look(1);
    assert_eq!((world.step(), world.contents.len()), (Step::Preflight, 2));
    let mut edited = spec("2.0.0");
    edited.checks.clear();
    world.change(edited);
    world.run_to_rest();
    assert_eq!(world.condition("Ready"), Some(("Unknown", "ApprovalStale")));
    assert!(world.message("Ready").starts_with("What anna approved is not what would run now"));
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn forgery_input_56_threat_t08_an_approval_is_no_good_before_its_plan_after_a_day_or_unguarded() {
    let mut world = World::at(Step::Approve);
    let early = world.approve("anna");
    world.decisions[1].created = world.now.checked_sub(SignedDuration::from_hours(1)).unwrap();
    world.run_to_rest();
    assert_eq!(world.settled[&early], ("Refused".into(), "TooEarly".into()));

    let mut world = World::at(Step::Approve);
    world.guard = Guard::Missing("gone".into());
    let unguarded = world.approve("anna");
    world.look(usize::MAX);
    // No verdict while nobody can tell; once the policies are back it came too early for them.
    assert_eq!(world.settled.get(&unguarded), None);
    assert_eq!(world.condition("Ready"), Some(("Unknown", "ApprovalPolicyMissing")));

    let mut world = World::at(Step::Approve);
    let gap = world.approve("anna");
    world.guard = Guard::Since(world.now.checked_add(SignedDuration::from_secs(10)).unwrap());
    world.wait(20);
    world.look(usize::MAX);
    assert_eq!(world.settled[&gap], ("Refused".into(), "CreatedUnguarded".into()));

    let mut world = World::at(Step::Approve);
    let old = world.approve("anna");
    world.guard = Guard::Since(Timestamp::MIN);
    world.wait(25 * 3600);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.settled[&old].0.as_str()), (Step::Approve, "Expired"));
}

#[test]
fn input_55_a_rejection_counts_more_than_an_approval() {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.reject();
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Rejected)));
    assert_eq!(world.condition("Stalled"), Some(("True", "Rejected")));
}

#[test]
fn a_first_release_that_is_not_well_serves_on_and_a_fix_can_follow() {
    let mut world = World::new();
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.job_end.insert("watch", JobEnd::Fails);
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Failed)));
    world.job_end.clear();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn an_abort_stops_every_step_and_traffic_never_stays_on_the_candidate() {
    for step in [Step::Approve, Step::Preflight, Step::Deploy, Step::Verify, Step::Switch, Step::Watch] {
        let mut world = World::at(step);
        let abort = world.abort();
        world.run_to_rest();
        assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Aborted)), "{step:?}");
        assert_eq!(world.settled[&abort].0, "Used", "{step:?}");
        assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()), "{step:?}");
    }
}

#[test]
fn rule_14_history_and_contents_are_bounded() {
    let mut world = World::serving();
    for round in 0..30 {
        world.ask_for(if round % 2 == 0 { "2.0.0" } else { "3.0.0" });
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
    }
    world.wait(25 * 3600);
    world.run_to_rest();
    assert_eq!(world.record().history.len(), 10);
    assert!(world.contents.len() <= 12, "{:?}", world.contents.keys());
    assert_eq!(world.deployments.len(), 1);
}

#[test]
fn rule_01_a_lost_content_of_the_former_version_does_not_stand_in_the_way_back() {
    let mut world = World::at(Step::Watch);
    world.contents.retain(|_, (_, spec)| spec.version != "1.0.0");
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
}

#[test]
fn rule_02_a_candidate_that_dies_right_after_the_patch_is_not_waited_for() {
    let mut world = World::at(Step::Switch);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(World::digits("2.0.0").as_str()));
    // Its endpoints have not followed yet, and its pods die with the first real requests.
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.selected()), (Step::SwitchBack, Some(World::digits("1.0.0").as_str())));
}

#[test]
fn rule_02_a_pod_that_stands_in_two_slices_counts_once() {
    let mut world = World::at(Step::Watch);
    let twice = world.slices.clone();
    world.slices.extend(twice);
    let seen = world.observed();
    assert_eq!(seen.ready_endpoints("shop", &spec("2.0.0").revision()), 3);
    assert_eq!(seen.other_endpoints("shop", &spec("1.0.0").revision()), 3);
}

#[test]
fn rule_02_nobody_goes_back_to_a_version_that_has_no_ready_pod() {
    let changes: [fn(&mut World); 2] = [
        |world| {
            world.abort();
        },
        |world| world.ask_for("1.0.0"),
    ];
    for change in changes {
        let mut world = World::at(Step::Watch);
        world.set_ready("1.0.0", 0);
        change(&mut world);
        world.look(usize::MAX);
        assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
        assert_eq!(world.selected(), Some(World::digits("2.0.0").as_str()));
        world.set_ready("1.0.0", 3);
        world.run_to_rest();
        assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
    }
}

#[test]
fn rule_07_what_traffic_may_go_back_to_is_scaled_up_again() {
    let mut world = World::at(Step::Watch);
    let blue = World::digits("1.0.0");
    world.deployments.values_mut().filter(|seen| seen.revision == blue).for_each(|seen| seen.replicas = 0);
    world.look(usize::MAX);
    assert_eq!(world.deployments.values().find(|seen| seen.revision == blue).map(|seen| seen.replicas), Some(3));
}

#[test]
fn rule_09_what_serves_is_kept_at_every_step_of_an_attempt() {
    for step in [Step::Approve, Step::Preflight, Step::Deploy, Step::Verify, Step::Watch] {
        let mut world = World::at(step);
        world.services.remove("shop");
        world.look(usize::MAX);
        let right = if step == Step::Watch { "2.0.0" } else { "1.0.0" };
        assert_eq!(world.selected(), Some(World::digits(right).as_str()), "{step:?}: {:?}", world.writes);
    }
    // Also while a switch waits: for a hook before traffic moves, and for the moment in which it settles.
    for (moved, right) in [(false, "1.0.0"), (true, "2.0.0")] {
        let harms: [fn(&mut World); 3] = [
            |world| drop(world.services.remove("shop")),
            |world| world.services.get_mut("shop").unwrap().selector.clear(),
            |world| world.deployments.retain(|name, _| *name != format!("shop-web-{}", World::digits("1.0.0"))),
        ];
        for (number, harm) in harms.into_iter().enumerate() {
            let mut world = switching(moved);
            harm(&mut world);
            world.look(usize::MAX);
            let blue = format!("shop-web-{}", World::digits("1.0.0"));
            assert_eq!(world.step(), Step::Switch, "{number}: {:?}", world.writes);
            assert_eq!(world.selected(), Some(World::digits(right).as_str()), "{number} {moved}: {:?}", world.writes);
            assert_eq!(world.deployments.get(&blue).map(|made| made.replicas), Some(3), "{number}: {:?}", world.writes);
        }
    }
    // Nor is it forgotten when the attempt ends badly.
    let mut world = World::at(Step::Deploy);
    world.services.remove("shop");
    world.unready.push(World::digits("2.0.0"));
    world.run_to_rest();
    assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
}

#[test]
fn rule_01_what_was_frozen_and_cannot_be_read_keeps_nothing_from_going_back() {
    let numbers = |world: &World| {
        let record = world.record();
        (record.active.as_ref().unwrap().attempt, record.candidate.as_ref().unwrap().attempt)
    };
    let mut world = World::at(Step::Watch);
    let (blue, green) = numbers(&world);
    let seen = world.observed();
    assert_eq!(seen.without_content(blue), Some(None));
    assert_eq!(seen.without_content(green), Some(Some(seen.release.spec.clone())));
    // The spec is another one by now: by which thresholds 2.0.0 is watched is not known.
    let mut changed = world.spec.clone();
    changed.watch.ready_percent = 10;
    world.change(changed);
    assert_eq!(world.observed().without_content(green), None);
    // With neither content the event is enough.
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    let mut seen = world.observed();
    seen.contents.clear();
    for number in [blue, green] {
        seen.contents.extend(seen.without_content(number).unwrap().map(|content| (number, content)));
    }
    let back = plan(&seen);
    assert!(back.act_first && matches!(back.actions[..], [Action::Point { .. }]), "{back:#?}");
    assert_eq!(World::at(Step::Verify).observed().without_content(green), None);
}

/// A world in which a switch waits: for a hook before traffic moves, or for the moment in which it settles.
fn switching(moved: bool) -> World {
    let mut world = World::serving();
    let mut spec = serde_json::to_value(spec("2.0.0")).unwrap();
    let template = json!({ "spec": { "containers": [{ "name": "dns", "image": "dns:1" }] } });
    spec["hooks"] = json!([{ "name": "dns", "when": "Switch", "job": { "template": template } }]);
    spec["switch"] = json!({ "settle": "30s" });
    world.change(serde_json::from_value(spec).unwrap());
    world.run_to(Step::Approve);
    world.approve("anna");
    if !moved {
        world.job_end.insert("dns", JobEnd::Hangs);
    }
    world.run_to(Step::Switch);
    let waits = if moved { "settling for" } else { "Waiting for" };
    for _ in 0..20 {
        if world.message("Ready").contains(waits) {
            world.writes.clear();
            return world;
        }
        if !world.look(usize::MAX) {
            world.settle();
        }
    }
    panic!("it does not wait: {:#?}", world.statuses);
}

#[test]
fn a_first_release_that_has_moved_half_of_its_services_moves_the_rest_and_says_until_then_that_nobody_is_there() {
    let mut world = World::new();
    world.shape = |spec| {
        let mut more = spec.workloads[0].services[0].clone();
        more.name = "extra".into();
        spec.workloads[0].services.push(more);
    };
    world.spec = world.spec_of("1.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Switch);
    world.stuck.insert("extra".into());
    for _ in 0..20 {
        world.look(usize::MAX);
        world.settle();
        world.wait(30);
    }
    assert_eq!(world.step(), Step::Idle);
    let green = world.digits_of("1.0.0");
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Failed)), "{:#?}", world.statuses);
    assert_eq!((world.selected(), world.services["extra"].selected()), (Some(&*green), Some("none")));
    assert_eq!(world.condition("Serving").map(|found| found.0), Some("False"), "{}", world.message("Serving"));
    world.stuck.clear();
    world.run_to_rest();
    assert_eq!(world.services["extra"].selected(), Some(&*green), "{:?}", world.writes);
    assert_eq!(world.condition("Serving").map(|found| found.0), Some("True"), "{}", world.message("Serving"));
    assert!(world.contests.is_empty() && world.condition("TrafficContested").is_none(), "nobody else wrote it");
}

#[test]
fn a_first_release_whose_move_is_seen_late_stays_where_it_is() {
    let mut world = World::new();
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Switch);
    // The answer to the patch is lost, and the watch shows the Service as it was, until the spec has changed.
    let before = world.services["shop"].clone();
    for _ in 0..10 {
        if world.selected() == Some("none") {
            world.look(usize::MAX);
        }
    }
    let moved = world.services.insert("shop".into(), before).unwrap();
    world.ask_for("2.0.0");
    let (seen, plan) = world.plan();
    world.services.insert("shop".into(), moved);
    world.carry_out(&seen, &plan, usize::MAX);
    world.follow();
    let green = World::digits("1.0.0");
    for _ in 0..40 {
        assert_eq!(world.selected(), Some(&*green), "{:?}", world.writes);
        world.turn();
    }
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn rule_02_what_is_dead_in_both_versions_keeps_nothing_else_from_going_back() {
    let mut world = World::at_as(Step::Watch, |spec| {
        let mut docs = spec.workloads[0].clone();
        (docs.name, docs.services[0].name) = ("docs".into(), "docs".into());
        spec.workloads.push(docs);
    });
    let unready = |world: &mut World, version: &str, workload: &str| {
        let digits = world.digits_of(version);
        let of_it = |pod: &&mut PodSeen| pod.revision == digits && pod.workload == workload;
        world.pods.values_mut().filter(of_it).for_each(|pod| pod.ready = false);
        world.follow();
    };
    unready(&mut world, "1.0.0", "docs");
    unready(&mut world, "2.0.0", "docs");
    for _ in 0..5 {
        world.look(usize::MAX);
    }
    let (blue, green) = (world.digits_of("1.0.0"), world.digits_of("2.0.0"));
    if world.selected() == Some(&*green) {
        unready(&mut world, "2.0.0", "web");
        for _ in 0..5 {
            world.look(usize::MAX);
        }
    }
    assert_eq!((world.step(), world.selected()), (Step::SwitchBack, Some(&*blue)), "{:?}", world.status.conditions);
    // What the candidate calls otherwise is not dead there: users are served by it.
    let mut world = World::at_as(Step::Watch, |spec| {
        let mut docs = spec.workloads[0].clone();
        (docs.name, docs.services[0].name) = ("docs".into(), "docs".into());
        spec.workloads.push(docs);
        if spec.version == "2.0.0" {
            spec.workloads[0].name = "frontend".into();
        }
    });
    unready(&mut world, "1.0.0", "web");
    world.abort();
    for _ in 0..5 {
        world.look(usize::MAX);
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
    assert!(world.message("Ready").contains("1.0.0 has no ready pods of web"), "{}", world.message("Ready"));
    // Where the former version has nobody at all, traffic stays.
    let mut world = World::at(Step::Watch);
    world.set_ready("1.0.0", 0);
    world.set_ready("2.0.0", 0);
    for _ in 0..5 {
        world.look(usize::MAX);
    }
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
}

#[test]
fn a_first_release_that_serves_is_never_pointed_at_nothing() {
    let troubles: [fn(&mut World); 2] = [|world| world.contents.clear(), |world| world.ask_for("2.0.0")];
    for (number, trouble) in troubles.into_iter().enumerate() {
        for step in [Step::Switch, Step::Watch] {
            let mut world = World::new();
            world.run_to(Step::Approve);
            world.approve("anna");
            world.run_to(step);
            // The patch is out, its trace in status is not.
            world.look(2);
            world.follow();
            assert_eq!(world.selected(), Some(World::digits("1.0.0").as_str()));
            trouble(&mut world);
            world.wait(120);
            for _ in 0..40 {
                world.turn();
                let active = world.selected().unwrap_or_default().to_owned();
                assert_ne!(active, "none", "{step:?}, trouble {number}: {:?}", world.writes);
            }
        }
    }
}

#[test]
fn rule_12_a_content_that_somebody_else_put_under_our_labels_does_not_run() {
    let mut world = World::at(Step::Approve);
    world.approve("anna");
    world.look(1);
    assert_eq!(world.step(), Step::Preflight);
    let (mut seen, _) = world.contents["shop-attempt-1"].clone();
    seen.number = 2;
    let other = std::sync::Arc::new(spec("3.0.0"));
    // By another name it is not looked at; by the right name its digest gives it away.
    for name in ["aaa", "shop-attempt-2"] {
        let mut world = world.clone();
        seen.name = name.to_owned();
        world.contents.insert(name.to_owned(), (seen.clone(), std::sync::Arc::clone(&other)));
        world.run_to_rest();
        let foreign = World::digits("3.0.0");
        assert!(!world.deployments.values().any(|deployment| deployment.revision == foreign), "{name}");
        let never = "create Deployment shop-web-<3.0.0>".to_owned();
        assert!(!world.writes.contains(&never), "{name}: {:?}", world.writes);
    }
}

#[test]
fn killed_between_the_way_back_and_its_memory_it_goes_on_back() {
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    // Only the patch leaves; status still says Watch when the candidate recovers.
    world.look(1);
    assert_eq!((world.step(), world.selected()), (Step::Watch, Some(World::digits("1.0.0").as_str())));
    world.set_ready("2.0.0", 3);
    world.run_to_rest();
    assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::RolledBack)));
    let forward = world.writes.iter().filter(|write| write.as_str() == "point shop at <2.0.0>").count();
    assert_eq!(forward, 0, "{:?}", world.writes);
}

#[test]
fn nothing_is_scaled_down_while_a_service_selects_it() {
    let mut world = World::at(Step::Watch);
    world.run_to(Step::Retire);
    // Somebody points users at the former version in the very moment in which it would be scaled away.
    let blue = World::digits("1.0.0");
    world.services.get_mut("shop").unwrap().selector.insert(REVISION.to_owned(), blue);
    world.writes.clear();
    world.look(usize::MAX);
    let scaled = "scale shop-web-<1.0.0> to 0";
    assert!(!world.writes.iter().any(|write| write == scaled), "{:?}", world.writes);
    world.run_to_rest();
    assert!(world.writes.iter().any(|write| write == scaled), "{:?}", world.writes);
    assert_eq!(world.selected(), Some(World::digits("2.0.0").as_str()));
}

#[test]
fn preflight_has_passed_once_what_was_approved_is_frozen() {
    let mut world = World::at(Step::Approve);
    assert_eq!(world.condition("PreflightPassed"), Some(("False", "WaitingForApproval")));
    world.approve("anna");
    world.run_to(Step::Deploy);
    assert_eq!(world.condition("PreflightPassed"), Some(("True", "Deploying")));
    assert!(world.contents.values().any(|(_, content)| content.version == "2.0.0"));
    // With a database there is a step between.
    let world = World::at(Step::Backup);
    assert_eq!(world.condition("PreflightPassed"), Some(("True", "BackingUp")));
    assert_eq!(world.condition("BackedUp"), Some(("False", "BackingUp")));
}

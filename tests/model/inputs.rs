//! Bad inputs that a plan tells before anything is made, by their numbers.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use serde_json::{Value, json};
use switchback::{
    api::{DecisionKind, Empty, Handover, ReleaseSpec, Step, labels},
    release::{
        manifests::{self, Kind, Manifest},
        observed::{BackupState, Observed, TakenSeen},
    },
};

use crate::{policies::policy, world::World};

/// A spec that works, in which everything is missing that a careful person would have written.
fn careless(spec: &mut ReleaseSpec) {
    spec.workloads[0].replicas = Some(1);
    let pod = &mut spec.workloads[0].template.0["spec"];
    pod["terminationGracePeriodSeconds"] = 5.into();
    pod["containers"][0]["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 5 } } });
    pod["containers"].as_array_mut().unwrap().push(json!({ "name": "side", "image": "side:1" }));
    pod["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
}

fn risks(world: &World) -> Vec<String> {
    world.record().plan.clone().unwrap().risks
}

#[track_caller]
fn assert_told(world: &World, words: &[&str]) {
    for words in words {
        assert!(risks(world).iter().any(|risk| risk.contains(words)), "{words:?} is not in {:#?}", risks(world));
    }
}

#[test]
fn input_11_13_15_and_16_what_a_careful_person_would_not_write_is_told_to_whoever_approves() {
    let mut world = World::serving_as(careless);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    assert_told(
        &world,
        &[
            "Workload web mounts PersistentVolumeClaim data, in both versions at the same time",
            "Workload web has one replica",
            "container web has no readiness probe",
            "container side has no preStop hook",
            "the grace period of 5s is not longer than the preStop sleep of 5s",
        ],
    );
}

#[test]
fn input_11_a_volume_of_a_workload_that_stops_before_the_other_starts_is_nothing_to_tell() {
    for (handover, told) in [(None, true), (Some(Handover::Overlap), true), (Some(Handover::StopThenStart), false)] {
        let mut world = World::serving_as(careless);
        let mut spec = world.spec_of("2.0.0");
        spec.workloads[0].handover = handover;
        world.change(spec);
        world.run_to(Step::Approve);
        let found = risks(&world).iter().any(|risk| risk.contains("PersistentVolumeClaim data"));
        assert_eq!(found, told, "{handover:?}: {:#?}", risks(&world));
    }
}

/// What the plan of a release says whose container has this probe and these ports.
fn told_of_probe(probe: &Value, ports: &Value, tolerate: &str) -> Vec<String> {
    let mut world = World::serving();
    let mut spec = world.spec_of("2.0.0");
    spec.watch.tolerate = tolerate.parse().unwrap();
    let container = &mut spec.workloads[0].template.0["spec"]["containers"][0];
    container["readinessProbe"] = probe.clone();
    container["ports"] = ports.clone();
    world.change(spec);
    world.run_to(Step::Approve);
    risks(&world).into_iter().filter(|risk| risk.contains("readiness probe")).collect()
}

#[test]
fn input_15_a_probe_of_a_port_that_the_container_does_not_name_never_succeeds_and_is_told() {
    let prompt = |mut probe: Value| {
        (probe["periodSeconds"], probe["failureThreshold"]) = (1.into(), 1.into());
        probe
    };
    let http = |port: Value| prompt(json!({ "httpGet": { "path": "/", "port": port } }));
    let (named, other) = (json!([{ "name": "http", "containerPort": 8080 }]), json!([{ "containerPort": 9090 }]));
    let wrong = [
        (http("http".into()), json!([])),
        (http("http".into()), other.clone()),
        (http("web".into()), named.clone()),
        (prompt(json!({ "tcpSocket": { "port": "web" } })), named.clone()),
    ];
    for (probe, ports) in wrong {
        let told = told_of_probe(&probe, &ports, "10s");
        assert!(told.len() == 1 && told[0].contains("container web never gets ready"), "{probe}, {ports}: {told:?}");
    }
    // Numbers are not declared, and other kinds of probe name none.
    let fine = [
        (http("http".into()), named),
        (http(8080.into()), other.clone()),
        (prompt(json!({ "tcpSocket": { "port": 5432 } })), other.clone()),
        (prompt(json!({ "exec": { "command": ["true"] } })), other.clone()),
        (prompt(json!({ "grpc": { "port": 9000 } })), other),
    ];
    for (probe, ports) in fine {
        assert_eq!(told_of_probe(&probe, &ports, "10s"), Vec::<String>::new(), "{probe}, {ports}");
    }
}

#[test]
fn input_15_a_probe_that_is_slower_than_the_promised_reaction_is_told_with_the_numbers() {
    let slow = [
        // What Kubernetes takes where nothing is said.
        (json!({}), "10s", "for 30s", "3 x 10s"),
        (json!({ "periodSeconds": 0, "failureThreshold": 0 }), "10s", "for 30s", "3 x 10s"),
        (json!({ "periodSeconds": 6, "failureThreshold": 2 }), "10s", "for 12s", "2 x 6s"),
        (json!({ "periodSeconds": 20, "failureThreshold": 6 }), "1m", "for 2m", "6 x 20s"),
        // Who tolerates nothing has still to ask.
        (json!({ "periodSeconds": 2 }), "0s", "for 6s", "3 x 2s"),
    ];
    for (probe, tolerate, notices, how) in slow {
        let told = told_of_probe(&probe, &json!([]), tolerate);
        let said = told.first().is_some_and(|risk| risk.contains(notices) && risk.contains(how));
        assert!(told.len() == 1 && said, "{probe}, {tolerate}: {told:?}");
    }
    let prompt = [
        (json!({ "periodSeconds": 1, "failureThreshold": 1 }), "0s"),
        (json!({ "periodSeconds": 5, "failureThreshold": 1 }), "0s"),
        (json!({ "periodSeconds": 5, "failureThreshold": 2 }), "10s"),
        (json!({}), "30s"),
    ];
    for (probe, tolerate) in prompt {
        assert_eq!(told_of_probe(&probe, &json!([]), tolerate), Vec::<String>::new(), "{probe}, {tolerate}");
    }
}

#[test]
fn input_12_that_what_serves_is_unwell_is_told_and_does_not_block_the_fix() {
    let mut world = World::serving();
    world.set_ready("1.0.0", 1);
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    assert_told(&world, &["1.0.0, which serves, is broken (1 of 3 pods behind Service shop are ready)"]);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn input_10_and_58_a_service_that_another_release_has_is_named_with_that_release() {
    let mut world = World::new();
    world.foreign.push((Kind::Service, "shop".into()));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "ServiceClaimed")));
    let message = world.message("Ready").to_owned();
    assert!(message.contains("Service shop exists and belongs to Release other, not to this Release"), "{message}");
    assert!(world.writes.iter().all(|write| !write.starts_with("create")), "{:?}", world.writes);
    // Also when the other one has made it since this one was inspected.
    let mut late = World::at(Step::Preflight);
    let (mut seen, _) = late.plan();
    let controller = Some("Release other".to_owned());
    seen.taken = Some(TakenSeen { object: "Service prod/shop".into(), controller });
    let (seen, plan) = late.plan_of(seen);
    late.carry_out(&seen, &plan, usize::MAX);
    late.run_to_rest();
    assert_eq!((late.condition("Stalled"), late.active()), (Some(("True", "ServiceClaimed")), Some("1.0.0")));
    assert!(late.message("Ready").contains("Service prod/shop exists and belongs to Release other"));
    // Once the other one is gone, a person can have it tried again.
    world.foreign.clear();
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

#[test]
fn input_60_a_deployment_that_somebody_made_under_the_candidates_name() {
    let mut world = World::serving();
    let name = format!("shop-web-{}", World::digits("2.0.0"));
    world.foreign.push((Kind::Deployment, name.clone()));
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", "NameTaken")), Some("1.0.0")));
    assert!(world.message("Ready").contains(&format!("Deployment {name} exists")), "{}", world.message("Ready"));
    assert!(world.writes.is_empty(), "{:?}", world.writes);
}

#[test]
fn input_06_an_image_that_cannot_be_had_is_the_reason_and_the_registrys_answer_is_told() {
    let pulls = "container web is in ImagePullBackOff: Back-off pulling image \"shop:2.0.0\": not found";
    let crashes =
        "container web is in CrashLoopBackOff: back-off 10s; ended with exit code 1 (Error): ImagePullBackOff";
    for (problem, reason) in [(pulls, "ImagePullFailed"), (crashes, "GreenNotReady")] {
        let mut world = World::at(Step::Deploy);
        world.unready.push(World::digits("2.0.0"));
        world.problem = Some(problem.to_owned());
        world.run_to_rest();
        assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", reason)), Some("1.0.0")));
        assert!(world.message("Ready").contains(problem), "{}", world.message("Ready"));
    }
}

/// What somebody does to a world.
type Harm = fn(&mut World);

#[test]
fn input_61_what_somebody_deletes_or_scales_of_what_serves_is_put_back() {
    let deployments = |world: &mut World| world.deployments.clear();
    let services = |world: &mut World| world.services.clear();
    let harms: [(Step, Harm); 5] = [
        (Step::Idle, deployments),
        (Step::Idle, services),
        (Step::Approve, deployments),
        (Step::Approve, services),
        (Step::Watch, services),
    ];
    for (step, harm) in harms {
        let mut world = if step == Step::Idle { World::serving() } else { World::at(step) };
        let selected = world.selected().unwrap().to_owned();
        harm(&mut world);
        world.look(usize::MAX);
        assert_eq!(world.selected(), Some(selected.as_str()), "{step:?}");
        let serves = world.deployments.values().any(|made| made.revision == selected && made.replicas == 3);
        assert!(serves, "{step:?}: {:?}", world.writes);
    }
}

/// Everything that a release makes, as far as it is named after its Release.
fn made(seen: &Observed) -> Vec<Manifest> {
    let (release, settings, spec) = (&seen.release, &seen.settings, seen.release.spec.as_ref());
    let revision = &seen.release.wanted;
    let workload = &spec.workloads[0];
    let (check, job) = manifests::job_checks(spec).next().unwrap();
    vec![
        manifests::deployment(release, (spec, workload), 3, None),
        manifests::active_service(release, (workload, &workload.services[0]), "none", None),
        manifests::preview_service(release, (workload, &workload.services[0]), revision, None),
        manifests::check_job((release, settings), spec, (1_000_000, check, job), None),
    ]
}

#[test]
fn input_03_a_name_as_long_as_names_may_be_makes_names_and_labels_that_are_taken_and_differ() {
    let longest = |end: char| format!("{}.{}{end}", "shop-of-the-north".repeat(7), "x".repeat(132));
    let mut names = BTreeSet::new();
    for name in [longest('a'), longest('b')] {
        assert_eq!(name.len(), 253);
        let mut seen = World::new().observed();
        seen.release.name = name;
        for manifest in made(&seen) {
            let name = &manifest.name;
            let is_label =
                |text: &str| text.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-');
            assert!(name.len() <= 63 && is_label(name) && !name.ends_with('-'), "{} {name}", manifest.kind.as_str());
            for part in ["/metadata/labels", "/spec/selector", "/spec/template/metadata/labels"] {
                let labels = manifest.body.pointer(part).and_then(Value::as_object);
                let long =
                    labels.into_iter().flatten().find(|(_, value)| value.as_str().is_some_and(|text| text.len() > 63));
                assert!(long.is_none(), "{name}: {long:?}");
            }
            // Services have the names that users gave them.
            assert!(manifest.kind == Kind::Service || names.insert(name.clone()), "{name} is the name of both");
        }
    }
}

#[test]
fn input_40_a_storage_that_is_not_for_this_database_is_told_before_anybody_is_asked() {
    let mut world = World::serving_with_database();
    Arc::make_mut(&mut world.database.storages[0].spec).allowed_databases = vec!["billing".into()];
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", "DestinationNotAllowed")), Some("1.0.0")));
    let message = world.message("Ready");
    assert!(message.contains("offsite") && message.contains("shop"), "{message}");
    assert!(world.writes.iter().all(|write| !write.starts_with("create")), "{:?}", world.writes);
}

#[test]
fn input_63_a_clock_that_is_not_ours_to_the_second_voids_no_approval() {
    // The API server's time counts, in whole seconds; one second more is taken for granted.
    for (seconds, counts) in [(3_600, true), (2, true), (0, true), (-1, true), (-3, false), (-3_600, false)] {
        let mut world = World::at(Step::Approve);
        let shown = world.record().step_since.clone().unwrap().0;
        world.approve("anna");
        world.decisions.last_mut().unwrap().created = shown.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        world.run_to_rest();
        let active = if counts { "2.0.0" } else { "1.0.0" };
        assert_eq!(world.active(), Some(active), "decided {seconds} s after the plan was shown");
    }
}

/// Nothing here thins out backups: however little else is kept, each that is whole stays.
#[test]
fn input_45_however_little_is_kept_no_whole_backup_goes() {
    let mut world = World::serving_with_database();
    world.shape = |spec| {
        spec.history_limit = 1;
        spec.rollback.keep_previous = "0s".parse().unwrap();
    };
    let whole = |world: &World| -> BTreeSet<String> {
        let all = world.database.backups.values();
        let whole = all.filter(|backup| matches!(backup.state, BackupState::Complete(_)) && !backup.deleting);
        whole.map(|backup| backup.uid.clone()).collect()
    };
    let mut known = whole(&world);
    for (version, ends_well) in [("2.0.0", true), ("3.0.0", false), ("4.0.0", true)] {
        world.ask_for(version);
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Watch);
        if !ends_well {
            world.set_ready(version, 0);
        }
        world.run_to_rest();
        world.wait(3_600);
        world.run_to_rest();
        let now = whole(&world);
        assert!(now.is_superset(&known) && now.len() > known.len(), "{version}: {known:?}, then {now:?}");
        known = now;
    }
    assert_eq!(world.record().history.len(), 1);
}

/// An approval is used when its release begins: how long that is watched afterwards is no matter of when it expires.
#[test]
fn input_51_a_watch_window_that_is_longer_than_approvals_count_voids_none() {
    let mut world = World::serving();
    world.policies = vec![policy("short", json!({ "approval": { "expires": "1m" } }))];
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let approval = world.approve("anna");
    world.run_to(Step::Watch);
    let window = world.spec.watch.window;
    assert!(window.as_signed() > SignedDuration::from_mins(1), "{window}");
    world.run_to_rest();
    assert_eq!((world.active(), world.became(&approval)), (Some("2.0.0"), Some(("Used", "Used"))));
}

/// Somebody takes our labels off a Deployment of a version, or off the Service.
fn unlabel(world: &mut World, what: &str) {
    let name = if what == "shop" { "shop".to_owned() } else { format!("shop-web-{}", World::digits(what)) };
    assert!(world.deployments.contains_key(&name) || world.services.contains_key(&name), "{name}");
    world.unlabelled.insert(name);
}

#[test]
fn input_61_labels_that_somebody_takes_off_are_put_back_and_nothing_else_happens() {
    let idle: &[&str] = &["1.0.0", "shop"];
    let watch: &[&str] = &["1.0.0", "2.0.0", "shop"];
    for (step, all) in [(Step::Idle, idle), (Step::Approve, idle), (Step::Watch, watch), (Step::Retire, watch)] {
        for what in all {
            let mut world = if step == Step::Idle { World::serving() } else { World::at(step) };
            let (selected, deployments) = (world.selected().map(str::to_owned), world.deployments.len());
            let ready = world.condition("Ready").map(|(status, reason)| (status.to_owned(), reason.to_owned()));
            unlabel(&mut world, what);
            world.look(usize::MAX);
            assert!(world.unlabelled.is_empty(), "{step:?} {what}: {:?}", world.writes);
            assert_eq!(world.deployments.len(), deployments, "{step:?} {what}: {:?}", world.writes);
            assert_eq!(world.selected(), selected.as_deref(), "{step:?} {what}: {:?}", world.writes);
            if step != Step::Retire {
                let told = world.condition("Ready").map(|(status, reason)| (status.to_owned(), reason.to_owned()));
                assert_eq!((world.step(), told), (step, ready), "{step:?} {what}: {}", world.message("Ready"));
            }
            if step != Step::Approve {
                world.run_to_rest();
                let expected = if step == Step::Idle { "1.0.0" } else { "2.0.0" };
                assert_eq!(world.active(), Some(expected), "{step:?} {what}");
            }
        }
    }
}

#[test]
fn input_61_what_somebody_takes_off_keeps_no_traffic_from_going_back() {
    // Labels are taken off in the same moment in which the candidate dies: no look came between.
    for what in ["1.0.0", "2.0.0", "shop"] {
        for ended in [false, true] {
            let mut world = World::at(Step::Watch);
            unlabel(&mut world, what);
            if ended {
                world.abort();
            } else {
                world.set_ready("2.0.0", 0);
            }
            world.look(usize::MAX);
            let blue = World::digits("1.0.0");
            assert_eq!(
                (world.step(), world.selected()),
                (Step::SwitchBack, Some(&*blue)),
                "{what}: {:?}",
                world.writes
            );
            world.run_to_rest();
            assert_eq!((world.active(), world.selected()), (Some("1.0.0"), Some(&*blue)), "{what}: {:?}", world.writes);
            let left: Vec<&String> = world.deployments.keys().collect();
            assert_eq!(left, [&format!("shop-web-{blue}")], "{what}: what the candidate had goes: {:?}", world.writes);
        }
    }
    // The same while traffic goes back already.
    let mut world = World::at(Step::Watch);
    world.set_ready("2.0.0", 0);
    world.look(0);
    unlabel(&mut world, "shop");
    while world.look(usize::MAX) {}
    assert_eq!(world.selected(), Some(&*World::digits("1.0.0")), "{:?}", world.writes);
}

#[test]
fn input_61_a_service_that_the_api_server_refuses_keeps_no_other_without_labels_from_going_back() {
    let mut world = World::serving_as(|spec| {
        let mut more = spec.workloads[0].services[0].clone();
        more.name = "extra".into();
        spec.workloads[0].services.push(more);
    });
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    unlabel(&mut world, "shop");
    world.stuck.insert("extra".into());
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    world.look(usize::MAX);
    let (blue, green) = (world.digits_of("1.0.0"), world.digits_of("2.0.0"));
    assert_eq!((world.step(), world.selected()), (Step::SwitchBack, Some(&*blue)), "{:?}", world.writes);
    assert_eq!(world.services["extra"].selected(), Some(&*green), "refused in each look");
    // It is tried again and again.
    world.stuck.clear();
    world.run_to_rest();
    assert_eq!((world.active(), world.services["extra"].selected()), (Some("1.0.0"), Some(&*blue)));
}

#[test]
fn input_61_a_service_that_lost_its_owner_goes_back_and_one_of_somebody_else_is_not_said_to() {
    let other = Some(("uid-other".to_owned(), "Release other".to_owned()));
    for (controller, goes_back) in [(None, true), (other, false)] {
        let mut world = World::at(Step::Watch);
        let service = world.services.get_mut("shop").unwrap();
        (service.ours, service.controller) = (false, controller);
        world.set_ready("2.0.0", 0);
        for _ in 0..4 {
            world.look(usize::MAX);
        }
        let on = |world: &World| world.record().traffic[0].revision.clone().map(|on| on.digits().to_owned());
        let (blue, green) = (World::digits("1.0.0"), World::digits("2.0.0"));
        if goes_back {
            assert_eq!((world.selected(), on(&world)), (Some(&*blue), Some(blue.clone())), "{:?}", world.writes);
            continue;
        }
        // However long that lasts.
        world.wait(3_600);
        for _ in 0..4 {
            world.look(usize::MAX);
        }
        assert_eq!((world.selected(), on(&world)), (Some(&*green), Some(green.clone())), "{:?}", world.writes);
        assert_eq!((world.step(), world.condition("Ready")), (Step::SwitchBack, Some(("Unknown", "ServiceClaimed"))));
        let message = world.message("Ready");
        assert!(message.contains("Service shop does not: it belongs to Release other now"), "{message}");
        assert!(world.deployments.values().all(|made| made.replicas == 3), "what it selects stays");
        // Given back, it goes back.
        let service = world.services.get_mut("shop").unwrap();
        (service.ours, service.controller) = (true, Some(("uid-shop".into(), "Release shop".into())));
        world.run_to_rest();
        assert_eq!((world.active(), world.selected()), (Some("1.0.0"), Some(&*blue)));
    }
}

#[test]
fn input_61_what_somebody_writes_on_the_label_of_a_service_does_not_make_it_go() {
    for step in [Step::Idle, Step::Watch, Step::Retire] {
        for label in [None, Some(labels::Role::Preview)] {
            let mut world = if step == Step::Idle { World::serving() } else { World::at(step) };
            let uid = world.services["shop"].uid.clone();
            world.services.get_mut("shop").unwrap().role = label;
            world.run_to_rest();
            let service = &world.services["shop"];
            assert_eq!(
                (&service.uid, service.role),
                (&uid, Some(labels::Role::Active)),
                "{step:?}: {:?}",
                world.writes
            );
        }
    }
    let mut world = World::at(Step::Watch);
    world.services.get_mut("shop").unwrap().role = None;
    world.set_ready("2.0.0", 0);
    world.look(usize::MAX);
    assert_eq!(world.selected(), Some(&*World::digits("1.0.0")), "{:?}", world.writes);
}

#[test]
fn a_webhook_that_takes_no_dry_runs_is_a_warning_that_names_what_it_has_a_say_in() {
    let words = "admission webhook \"quota.example.com\" does not support dry run";
    let mut world = World::serving();
    world.refusal = Some((Kind::Deployment, 400, words.into()));
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    let name = format!("Deployment shop-web-{}", World::digits("2.0.0"));
    let told = |risk: &&String| risk.starts_with("DryRunUnsupported: ") && risk.contains(&name) && risk.contains(words);
    assert_eq!(risks(&world).iter().filter(told).count(), 1, "{:#?}", risks(&world));
    // It stops nothing, and nothing that is approved hangs on it.
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    // Any other refusal of that code is one.
    let mut world = World::serving();
    world.refusal = Some((Kind::Deployment, 400, "unknown field".into()));
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", "DryRunRefused")), Some("1.0.0")));
}

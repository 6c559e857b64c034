//! Checks in the plans: before anybody is asked, when the release begins, and when one cannot tell.

use serde_json::{Value, json};
use switchback::{
    api::{Outcome, ReleaseSpec, Step},
    protocol::CheckParameters,
};

use crate::world::{JobEnd, World, spec};

/// A spec with one check more.
fn with(version: &str, check: Value) -> ReleaseSpec {
    let mut spec = spec(version);
    spec.checks.push(serde_json::from_value(check).unwrap());
    spec
}

fn certificate() -> Value {
    json!({ "name": "certificate", "phase": "Preflight", "tls": { "host": "shop.example.com" } })
}

fn outcome(world: &World) -> Option<Outcome> {
    world.record().outcome
}

/// Jobs of preflight checks that were made, in order.
fn preflight_jobs(world: &World) -> Vec<&str> {
    let made = world.writes.iter().filter_map(|write| write.strip_prefix("create Job "));
    made.filter(|name| name.ends_with("-checks")).collect()
}

#[test]
fn preflight_checks_pass_before_anybody_is_asked_and_once_more_when_the_release_begins() {
    let mut world = World::serving();
    world.change(with("2.0.0", certificate()));
    world.run_to(Step::Inspect);
    assert!(world.record().plan.is_none(), "nobody is asked yet");
    world.run_to(Step::Approve);
    assert_eq!(preflight_jobs(&world).len(), 1, "{:?}", world.writes);
    let plan = world.record().plan.clone().unwrap();
    let preflight = &plan.steps.iter().find(|planned| planned.step == Step::Preflight).unwrap().does;
    assert!(
        preflight.contains("certificate (shop.example.com:443 shows a certificate for shop.example.com, trusted and valid for 336h more)"),
        "{preflight}"
    );
    world.approve("anna");
    world.run_to_rest();
    let jobs = preflight_jobs(&world);
    assert_eq!((world.active(), jobs.len()), (Some("2.0.0"), 2), "{jobs:?}");
    assert!(jobs[0].contains("-inspect-") && jobs[1].contains("-preflight-"), "{jobs:?}");
    let begun = |start: &str| world.writes.iter().position(|write| write.starts_with(start)).unwrap();
    assert!(begun(&format!("create Job {}", jobs[1])) < begun("create ControllerRevision"), "{:?}", world.writes);
}

#[test]
fn rule_03_a_preflight_check_that_does_not_say_yes_ends_it_before_anything_happened() {
    for end in [JobEnd::Fails, JobEnd::CannotTell, JobEnd::LeavesNothing, JobEnd::AnswersTooLittle, JobEnd::Hangs] {
        let mut world = World::serving();
        world.job_end.insert("-checks", end);
        world.change(with("2.0.0", certificate()));
        world.run_to_rest();
        assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::Failed)), "{end:?}");
        assert_eq!(world.condition("Stalled"), Some(("True", "ChecksFailed")), "{end:?}");
        let jobs = preflight_jobs(&world).len();
        let other = |write: &&String| !write.contains("-checks");
        assert_eq!((jobs, world.writes.iter().find(other)), (1, None), "{end:?}");
        if matches!(end, JobEnd::Fails | JobEnd::CannotTell) {
            assert!(world.message("Ready").contains("certificate: answered 500"), "{}", world.message("Ready"));
        }
        // What was wrong elsewhere is mended, and somebody says so.
        world.job_end.clear();
        world.decide(switchback::api::DecisionKind::Retry(switchback::api::Empty {}), "anna");
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("2.0.0"), "{end:?}");
    }
}

#[test]
fn a_preflight_check_that_fails_after_the_approval_ends_it_before_anything_happened() {
    for end in [JobEnd::Fails, JobEnd::Hangs] {
        let mut world = World::serving();
        world.change(with("2.0.0", certificate()));
        world.run_to(Step::Approve);
        world.approve("anna");
        world.job_end.insert("-checks", end);
        world.run_to_rest();
        assert_eq!(world.condition("Stalled"), Some(("True", "ChecksFailed")), "{end:?}");
        let made = world.writes.iter().find(|write| write.starts_with("create") && !write.contains("-checks"));
        assert_eq!((world.active(), made), (Some("1.0.0"), None), "{end:?}");
    }
}

#[test]
fn a_way_back_asks_no_preflight_check() {
    let mut world = World::serving();
    world.change(with("2.0.0", certificate()));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.job_end.insert("-checks", JobEnd::Fails);
    world.writes.clear();
    world.roll_back(None);
    world.run_to_rest();
    assert_eq!((world.active(), preflight_jobs(&world)), (Some("1.0.0"), vec![]));
}

#[test]
fn rule_03_a_watch_check_that_cannot_tell_does_what_its_spec_says() {
    for (says, goes_back) in [(Some("SwitchBack"), true), (Some("Hold"), false), (None, false)] {
        for end in [JobEnd::CannotTell, JobEnd::LeavesNothing] {
            let mut world = World::serving();
            let mut spec = spec("2.0.0");
            let alive = spec.checks.iter_mut().find(|check| check.name == "alive").unwrap();
            alive.on_inconclusive = says.map(|says| serde_json::from_value(says.into()).unwrap());
            world.change(spec);
            world.run_to(Step::Approve);
            world.approve("anna");
            world.run_to(Step::Watch);
            world.job_end.insert("watch", end);
            for _ in 0..12 {
                world.turn();
                world.wait(100);
            }
            if goes_back {
                assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::RolledBack)), "{end:?}");
                assert!(world.message("Ready").contains("says to go back"), "{}", world.message("Ready"));
            } else {
                let ready = world.condition("Ready");
                assert_eq!((world.step(), ready), (Step::Watch, Some(("Unknown", "WatchOnHold"))), "{says:?} {end:?}");
                let blue = world.deployments.values().find(|seen| seen.revision == World::digits("1.0.0")).unwrap();
                assert_eq!(blue.replicas, 3, "the former version stays warm");
            }
        }
    }
}

#[test]
fn a_check_that_must_tell_takes_nothing_back_to_where_nobody_is() {
    let mut world = World::serving();
    let mut spec = spec("2.0.0");
    let alive = spec.checks.iter_mut().find(|check| check.name == "alive").unwrap();
    alive.on_inconclusive = Some(serde_json::from_value("SwitchBack".into()).unwrap());
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.look(usize::MAX);
    world.job_end.insert("watch", JobEnd::CannotTell);
    world.settle();
    world.set_ready("1.0.0", 0);
    world.look(usize::MAX);
    assert_eq!((world.step(), world.condition("Ready")), (Step::Watch, Some(("Unknown", "BothUnhealthy"))));
}

#[test]
fn input_52_an_expression_that_is_none_is_refused_with_the_position_before_anything_happened() {
    let mut world = World::serving();
    let check = json!({ "name": "headers", "phase": "Verify", "http": {
        "service": "shop", "headers": [{ "name": "Strict-Transport-Security", "matches": "max-age=(" }],
    } });
    world.change(with("2.0.0", check));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "CheckInvalid")));
    let said = world.message("Ready");
    let expected =
        "Check headers: headers[Strict-Transport-Security].matches is no regular expression: at character 9: ";
    assert!(said.contains(expected), "{said}");
    assert_eq!(world.writes, Vec::<String>::new());
}

fn parameters(template: &Value) -> CheckParameters {
    let args = template.pointer("/spec/containers/0/args").unwrap();
    serde_json::from_str(args[2].as_str().unwrap()).unwrap()
}

#[test]
fn credentials_of_the_database_are_mounted_where_a_check_asks_it_and_nowhere_else() {
    let mut world = World::serving_with_database();
    let mut spec = crate::database::spec("2.0.0");
    let check = json!({ "name": "rows", "phase": "Verify", "sql": { "query": "SELECT 1", "min": "1" } });
    spec.checks.push(serde_json::from_value(check).unwrap());
    let ca = json!({ "name": "users", "phase": "Watch", "http": {
        "host": "shop.example.com", "ca": { "configMap": "corp", "key": "root.pem" },
    } });
    spec.checks.push(serde_json::from_value(ca).unwrap());
    world.change(spec);
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let verify = &plan.steps.iter().find(|planned| planned.step == Step::Verify).unwrap().does;
    assert!(verify.contains("rows (\"SELECT 1\" in the database is at least 1)"), "{verify}");
    world.approve("anna");
    world.run_to(Step::Retire);
    let find = |part: &str| {
        let found = world.templates.iter().filter(|(name, _)| name.starts_with("shop-2-") && name.ends_with(part));
        found.map(|(_, template)| template.clone()).next().unwrap()
    };
    let (verify, watch) = (find("verify"), find("watch"));
    let secret = verify.pointer("/spec/volumes/0/projected/sources/0/secret/name");
    assert_eq!(secret, Some(&json!("shop-db")), "{verify:#}");
    let mounts = &verify["spec"]["containers"][0]["volumeMounts"];
    assert_eq!((&mounts[0]["mountPath"], &mounts[0]["readOnly"]), (&json!("/secrets/database"), &json!(true)));
    for pod in [&verify, &watch] {
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    }
    assert!(!watch.to_string().contains("secret"), "{watch:#}");
    let authorities = &watch["spec"]["volumes"][0]["configMap"];
    assert_eq!((&authorities["name"], &authorities["items"][0]["key"]), (&json!("corp"), &json!("root.pem")));
    let probes = parameters(&verify).checks;
    let sql = serde_json::to_value(&probes.iter().find(|probe| probe.name == "rows").unwrap().what).unwrap();
    assert_eq!(sql["sql"]["database"]["secret"], "/secrets/database", "{sql}");
    assert!(sql["sql"]["database"]["expect"]["systemIdentifier"].is_string(), "who it must be: {sql}");
    let users = parameters(&watch).checks.into_iter().find(|probe| probe.name == "users").unwrap();
    let users = serde_json::to_value(users.what).unwrap();
    assert_eq!(users["http"]["url"], "https://shop.example.com/");
    assert_eq!(users["http"]["ca"], "/authorities/0/ca.crt");
}

#[test]
fn a_service_is_asked_by_its_preview_twin_before_traffic_moves_and_by_itself_afterwards() {
    let mut world = World::serving();
    let asked = |phase: &str, http: Value| json!({ "name": format!("as-{}", phase.to_lowercase()), "phase": phase, "http": http });
    let mut spec = with(
        "2.0.0",
        asked("Verify", json!({ "service": "shop", "host": "shop.example.com", "port": 8443, "scheme": "https" })),
    );
    let watch = asked("Watch", json!({ "service": "shop", "host": "shop.example.com" }));
    spec.checks.push(serde_json::from_value(watch).unwrap());
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Retire);
    let of = |job: &str, check: &str| {
        let probe = parameters(&world.templates[job]).checks.into_iter().find(|probe| probe.name == check).unwrap();
        let what = serde_json::to_value(probe.what).unwrap();
        (what["http"]["url"].clone(), what["http"]["connect"].clone())
    };
    let name = "https://shop.example.com/";
    assert_eq!(of("shop-2-verify", "as-verify"), (name.into(), "shop-preview.prod.svc:8443".into()));
    assert_eq!(of("shop-2-watch", "as-watch"), ("http://shop.example.com/".into(), "shop.prod.svc:80".into()));
    assert_eq!(of("shop-2-watch", "alive"), ("http://shop.prod.svc:80/".into(), Value::Null));
}

#[test]
fn input_54_what_a_smoke_check_prints_is_not_told() {
    let mut world = World::at(Step::Verify);
    world.run_to(Step::Watch);
    let smoke = &world.templates["shop-2-verify-smoke"];
    assert_eq!(smoke["spec"]["containers"][0]["terminationMessagePolicy"], "File", "{smoke:#}");
}

#[test]
fn a_check_that_an_older_version_knew_is_written_as_it_was_so_no_approval_becomes_stale() {
    let check: switchback::api::Check =
        serde_json::from_value(json!({ "name": "home", "phase": "Verify", "http": { "service": "shop" } })).unwrap();
    let written = serde_json::to_value(&check).unwrap();
    let expected = json!({ "name": "home", "phase": "Verify", "http": {
        "service": "shop", "path": "/", "status": [200], "timeout": "5s", "every": "5s", "breachFor": "0s",
    } });
    assert_eq!(written, expected);
}

#[test]
fn rule_03_watch_checks_whose_job_is_never_made_cannot_tell() {
    for (unsure, step) in [("Hold", Step::Watch), ("SwitchBack", Step::Idle)] {
        let check = json!({
            "name": "answers", "phase": "Watch", "onInconclusive": unsure,
            "http": { "service": "shop", "path": "/", "requests": 1 },
        });
        let mut world = World::serving();
        world.change(with("2.0.0", check));
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to(Step::Verify);
        world.stuck.insert("shop-2-watch".into());
        world.run_to(Step::Watch);
        for _ in 0..3 {
            world.look(usize::MAX);
            world.settle();
        }
        world.wait(31);
        world.look(usize::MAX);
        let told = world.message("Reconciling");
        assert!(told.contains("serves, and Job shop-2-watch of its checks is not there yet"), "{told}");
        world.wait(900);
        for _ in 0..5 {
            world.look(usize::MAX);
            world.settle();
            world.wait(30);
        }
        if step == Step::Idle {
            world.run_to_rest();
        }
        assert_eq!(world.step(), step, "{unsure}: {:?}", world.status.conditions);
        if step == Step::Watch {
            assert_eq!(world.condition("Ready"), Some(("Unknown", "WatchOnHold")));
            let told = world.statuses.len();
            for _ in 0..5 {
                world.look(usize::MAX);
                world.wait(30);
            }
            assert_eq!(world.statuses.len(), told, "told once: {:#?}", world.statuses);
            // It is made as soon as it may be.
            world.stuck.clear();
            world.run_to_rest();
            assert_eq!(world.active(), Some("2.0.0"), "{:?}", world.status.conditions);
        } else {
            assert_eq!((world.active(), outcome(&world)), (Some("1.0.0"), Some(Outcome::RolledBack)));
        }
    }
}

#[test]
fn rule_03_watch_checks_that_somebody_lets_run_anew_are_not_taken_for_lost() {
    let mut world = World::serving();
    let check = |name: &str, unsure: &str| {
        let http = json!({ "service": "shop", "path": "/", "requests": 1 });
        json!({ "name": name, "phase": "Watch", "onInconclusive": unsure, "http": http })
    };
    let mut spec = with("2.0.0", check("answers", "Hold"));
    spec.checks.push(serde_json::from_value(check("fast", "SwitchBack")).unwrap());
    world.change(spec);
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.look(usize::MAX);
    world.wait(10_000);
    assert!(world.jobs.remove("shop-2-watch").is_some());
    for _ in 0..3 {
        world.look(usize::MAX);
    }
    assert_eq!((world.step(), world.jobs.contains_key("shop-2-watch")), (Step::Watch, true), "{:#?}", world.statuses);
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

//! Config goes and comes back with the code.

use serde_json::json;
use switchback::{
    api::{Change, CheckKind, DatabaseRollback, DecisionKind, Empty, Outcome, PlanRecord, ReleaseSpec, Step},
    release::manifests::Kind,
};

use crate::world::{World, versions};

/// Gives a spec a file that its pods read, and a setting.
pub fn with_config(spec: &mut ReleaseSpec) {
    let text = format!("version = {:?}", spec.version);
    spec.config = serde_json::from_value(json!([{ "name": "app", "data": { "app.toml": text } }])).unwrap();
    let pod = &mut spec.workloads[0].template.0["spec"];
    pod["volumes"] = json!([{ "name": "app", "configMap": { "name": "app" } }]);
    pod["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "app" } }]);
}

fn config_maps(world: &World) -> Vec<String> {
    let all = world.unwatched.keys().filter(|(kind, _)| *kind == "ConfigMap");
    all.map(|(_, name)| plain(world, name)).collect()
}

/// A text with versions instead of digits.
fn plain(world: &World, text: &str) -> String {
    let known = |text: String, version: &str| text.replace(&world.digits_of(version), &format!("<{version}>"));
    ["1.0.0", "2.0.0", "3.0.0"].into_iter().fold(versions(text), known)
}

#[test]
fn config_is_made_before_the_pods_that_read_it_and_never_changes() {
    let mut world = World::at_as(Step::Deploy, with_config);
    world.look(usize::MAX);
    let writes: Vec<String> = world.writes.iter().map(|write| plain(&world, write)).collect();
    let expected = [
        "create ConfigMap shop-app-<2.0.0>",
        "create PodDisruptionBudget shop-web-<2.0.0>",
        "create Deployment shop-web-<2.0.0>",
    ];
    assert_eq!(writes[..3], expected, "{writes:?}");
    let made = &world.unwatched[&("ConfigMap", format!("shop-app-{}", world.digits_of("2.0.0")))].body;
    assert_eq!((&made["data"]["app.toml"], &made["immutable"]), (&json!("version = \"2.0.0\""), &json!(true)));
    let owners: Vec<&str> =
        made["metadata"]["ownerReferences"].as_array().unwrap().iter().map(|o| o["kind"].as_str().unwrap()).collect();
    assert_eq!(owners, ["Release", "ControllerRevision"]);
    world.run_to(Step::Idle);
    assert_eq!((world.active(), config_maps(&world).len()), (Some("2.0.0"), 2));
    // What is kept for a way back keeps its config, and no longer.
    world.run_to_rest();
    assert_eq!(config_maps(&world), ["shop-app-<2.0.0>"]);
    assert_eq!(world.deployments.len(), 1);
}

#[test]
fn traffic_goes_back_to_the_config_that_the_former_version_was_released_with() {
    let mut world = World::at_as(Step::Watch, with_config);
    world.set_ready("2.0.0", 0);
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
    assert_eq!(config_maps(&world), ["shop-app-<1.0.0>"]);
}

#[test]
fn a_person_goes_back_to_code_and_config_of_a_version_whose_objects_are_long_gone() {
    let mut world = World::at_as(Step::Watch, with_config);
    world.run_to_rest();
    world.wait(25 * 3600);
    world.run_to_rest();
    assert_eq!(config_maps(&world), ["shop-app-<2.0.0>"]);
    world.roll_back(Some("1.0.0"));
    world.run_to_rest();
    assert_eq!((world.active(), world.record().outcome), (Some("1.0.0"), Some(Outcome::Succeeded)));
    assert!(config_maps(&world).contains(&"shop-app-<1.0.0>".to_owned()), "{:?}", config_maps(&world));
}

#[test]
fn a_change_of_config_alone_is_a_release_and_no_config_is_no_part_of_a_revision() {
    let plain = crate::world::spec("1.0.0");
    let mut with = plain.clone();
    with.config = serde_json::from_value(json!([{ "name": "a", "data": { "x": "1" } }])).unwrap();
    let mut other = with.clone();
    other.config[0].data.insert("x".into(), "2".into());
    assert_ne!(plain.revision(), with.revision());
    assert_ne!(with.revision(), other.revision());
    // Their order says nothing.
    let mut two = with.clone();
    two.config.extend(other.config);
    two.config[1].name = "b".into();
    let mut turned = two.clone();
    turned.config.reverse();
    assert_eq!(two.revision(), turned.revision());
    // As stored by the version before this field was.
    assert_eq!(plain.revision().to_string(), "v1-61d72b02ce");
}

#[test]
fn input_60_a_config_map_of_somebody_else_under_the_revisions_name() {
    let mut world = World::serving_as(with_config);
    let name = format!("shop-app-{}", world.digits_of("2.0.0"));
    world.foreign.push((Kind::ConfigMap, name.clone()));
    world.ask_for("2.0.0");
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "NameTaken")));
    assert!(
        world.message("Ready").contains(&format!("ConfigMap {name} exists and belongs to Release other")),
        "{}",
        world.message("Ready")
    );
    assert!(world.writes.iter().all(|write| !write.contains("create")), "{:?}", world.writes);
    // Once it is gone, a person can have it tried again.
    world.foreign.clear();
    world.decide(switchback::api::DecisionKind::Retry(switchback::api::Empty {}), "anna");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
}

#[test]
fn input_61_config_that_somebody_deleted_is_made_again_when_a_pod_lacks_it() {
    for step in [Step::Idle, Step::Watch] {
        let mut world = World::serving_as(with_config);
        if step == Step::Watch {
            world = World::at_as(Step::Watch, with_config);
        }
        let digits = world.digits_of("1.0.0");
        world.unwatched.retain(|(_, name), _| !name.ends_with(&digits));
        // Running pods do not mind; one that starts does.
        world.set_ready("1.0.0", 2);
        world.look(usize::MAX);
        assert!(config_maps(&world).contains(&"shop-app-<1.0.0>".to_owned()), "{step:?}: {:?}", world.writes);
    }
}

#[test]
fn a_quiet_release_with_config_asks_nothing() {
    let world = World::serving_as(with_config);
    let (seen, plan) = world.plan();
    assert!(seen.answers.is_empty() && plan.everything().next().is_none(), "{:?}", seen.answers);
}

#[test]
fn a_plan_says_what_config_comes_and_what_a_prune_would_take() {
    let mut world = World::serving_as(with_config);
    let mut asked = world.spec_of("2.0.0");
    asked.workloads[0].template.0["spec"]["containers"][0]["env"] = json!([
        { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "web-5c9gk7f2m8", "key": "a" } } },
        { "name": "B", "valueFrom": { "secretKeyRef": { "name": "web-production", "key": "b" } } },
    ]);
    let more = json!([{ "name": "unused", "data": { "x": "y" } }]);
    asked.config.extend(serde_json::from_value::<Vec<_>>(more).unwrap());
    world.change(asked);
    world.foreign.push((Kind::ConfigMap, "web-5c9gk7f2m8".into()));
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    let deploy = plan.steps.iter().find(|planned| planned.step == Step::Deploy).unwrap();
    let says = "It brings config of its own, which also comes back with it: app (app.toml), unused (x). Secrets that its pods \
                need, and that nobody but they may look at: web-production.";
    assert!(deploy.does.contains(says), "{}", deploy.does);
    let digits = world.spec.revision().digits().to_owned();
    let made = format!(
        "Makes Deployment shop-web-{digits}; Service shop-preview; ConfigMaps shop-app-{digits}, shop-unused-{digits}; a \
         PodDisruptionBudget for web where none holds for its pods."
    );
    assert!(deploy.does.ends_with(&made), "{}", deploy.does);
    let risks = |word: &str| plan.risks.iter().filter(|risk| risk.contains(word)).count();
    assert_eq!((risks("WayBackAtRisk"), risks("web-5c9gk7f2m8"), risks("web-production")), (1, 1, 0));
    assert_eq!(plan.risks.iter().filter(|risk| *risk == "Nothing refers to config unused.").count(), 1);
}

/// What pods of all kinds read, and the release does not bring.
fn needing(spec: &mut ReleaseSpec) {
    with_config(spec);
    let from = |name: &str, optional: bool| json!({ "configMapRef": { "name": name, "optional": optional } });
    let container = &mut spec.workloads[0].template.0["spec"]["containers"][0];
    container["envFrom"] = json!([from("app", false), from("regions", false), from("perhaps", true)]);
    let job = &mut spec.checks[1];
    let CheckKind::Job(job) = &mut job.kind else { panic!("the second check is a Job") };
    job.template.0["spec"]["containers"][0]["envFrom"] = json!([from("smoke", false)]);
}

#[test]
fn a05_a_config_map_that_pods_need_is_missed_before_anybody_is_asked() {
    let mut world = World::new();
    world.shape = needing;
    world.spec = world.spec_of("1.0.0");
    world.foreign.push((Kind::ConfigMap, "regions".into()));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "ConfigMapNotFound")));
    let message = world.message("Ready");
    assert!(message.contains("need ConfigMap smoke, which namespace prod does not have"), "{message}");
    assert!(world.writes.iter().all(|write| !write.starts_with("create")), "{:?}", world.writes);
    world.foreign.push((Kind::ConfigMap, "smoke".into()));
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
    // It is looked for once more when the approval comes.
    world.foreign.retain(|(_, name)| name != "regions");
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.condition("Stalled"), world.active()), (Some(("True", "ConfigMapNotFound")), None));
    world.foreign.push((Kind::ConfigMap, "regions".into()));
    world.decide(DecisionKind::Retry(Empty {}), "anna");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

/// Going back needs nothing of this: what it needs is looked for by nobody.
#[test]
fn rule_01_a_config_map_that_is_gone_keeps_nobody_from_going_back() {
    let mut world = World::new();
    world.shape = needing;
    world.spec = world.spec_of("1.0.0");
    world.foreign = ["regions", "smoke"].map(|name| (Kind::ConfigMap, name.into())).into();
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.ask_for("2.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    world.foreign.retain(|(_, name)| name != "smoke");
    world.set_ready("2.0.0", 0);
    world.run_to_rest();
    assert_eq!(world.active(), Some("1.0.0"));
}

/// A spec of as many workloads, containers and words as there may be.
fn largest(world: &World) -> ReleaseSpec {
    let mut asked = world.spec_of("2.0.0");
    let containers: Vec<_> =
        (0..32).map(|at| json!({ "name": format!("c{at}"), "image": format!("{}:1", "i".repeat(200)) })).collect();
    for at in 0..15 {
        let mut workload = asked.workloads[0].clone();
        workload.name = format!("web-{at}");
        workload.services[0].name = format!("shop-{at}");
        workload.template.0["spec"]["containers"] = json!(containers);
        asked.workloads.push(workload);
    }
    asked
}

fn fits(plan: &PlanRecord) {
    assert!(plan.steps.iter().all(|planned| planned.does.len() <= 4096), "{:#?}", plan.steps);
    assert!(plan.way_back.iter().all(|point| point.loses.len() <= 512), "{:#?}", plan.way_back);
    assert!(plan.risks.len() <= 64 && plan.risks.iter().all(|risk| risk.len() <= 512), "{:#?}", plan.risks);
    assert!(plan.unmet.len() <= 32 && plan.unmet.iter().all(|line| line.len() <= 512), "{:#?}", plan.unmet);
}

/// Status has bounds, and a plan that exceeds them could not be written.
#[test]
fn a_plan_of_the_largest_release_fits_into_status() {
    let mut world = World::serving();
    let asked = largest(&world);
    world.change(asked);
    world.run_to(Step::Approve);
    let plan = world.record().plan.clone().unwrap();
    fits(&plan);
    assert_eq!(plan.risks.len(), 64);
    assert!(plan.risks[63].ends_with("more like these."));
    let deploy = plan.steps.iter().find(|planned| planned.step == Step::Deploy).unwrap();
    assert!(deploy.does.len() > 4000 && deploy.does.ends_with('…'), "what is cut shows it: {}", deploy.does);
}

/// The same with a database, whose `down` is as long as a command may be: whatever it takes back, the plan can be approved.
#[test]
fn a_plan_with_the_longest_command_fits_into_status() {
    for change in [Change::Expand, Change::Contract] {
        let mut world = World::serving_with_database();
        let mut asked = crate::database::spec("2.0.0");
        let migration = asked.database.as_mut().unwrap().migration.as_mut().unwrap();
        (migration.change, migration.idempotent) = (change, Some(false));
        migration.down = vec!["shop".into(), "x".repeat(4000)];
        asked.rollback.database = DatabaseRollback::Down;
        asked.workloads.extend(largest(&world).workloads.into_iter().skip(1));
        world.change(asked);
        world.run_to(Step::Approve);
        let plan = world.record().plan.clone().unwrap();
        fits(&plan);
        // What could cost data is told, however many trifles there are.
        assert!(plan.risks.iter().any(|risk| risk.contains("not declared idempotent")), "{change:?} {:#?}", plan.risks);
        world.approve("anna");
        world.run_to(Step::Idle);
        while world.look(usize::MAX) {}
        if change == Change::Contract {
            fits(world.contract_plan());
            let lost = &world.contract_plan().way_back.last().unwrap().loses;
            assert!(lost.contains("run by hand, brings the schema back"), "{lost}");
        }
    }
}

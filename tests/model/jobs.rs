//! Jobs as they are made: what runs once, what may run again, and what ends whom.

use serde_json::{Value, json};
use switchback::api::{Outcome, ReleaseSpec, Step};

use crate::{database, world::World};

/// A version with Jobs of every kind: checks of each phase, a `job` check, hooks, a migration that is taken back.
fn spec(version: &str) -> ReleaseSpec {
    let mut spec = serde_json::to_value(database::with_down(version)).unwrap();
    let pod = json!({ "spec": { "containers": [{ "name": "flag", "image": "flag:1" }] } });
    let hook = |when: &str| json!({ "name": when.to_lowercase(), "when": when, "job": { "template": pod } });
    spec["hooks"] = json!([hook("Switch"), hook("SwitchBack")]);
    spec["checks"] = json!([
        { "name": "certificate", "phase": "Preflight", "tls": { "host": "shop.example.com" } },
        { "name": "home", "phase": "Verify", "http": { "service": "shop" } },
        { "name": "smoke", "phase": "Verify", "job": { "template": pod } },
        { "name": "alive", "phase": "Watch", "http": { "service": "shop" } },
    ]);
    serde_json::from_value(spec).unwrap()
}

/// What Jobs were made for a version that comes up and goes back.
fn made() -> Vec<(String, Value)> {
    let mut world = World::serving_with_database();
    world.job_specs.clear();
    world.change(spec("2.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to(Step::Watch);
    // Its check begins.
    world.look(usize::MAX);
    world.look(usize::MAX);
    let digits = world.spec.revision().digits().to_owned();
    for pod in world.pods.values_mut().filter(|pod| pod.revision == digits) {
        pod.ready = false;
    }
    world.unready.push(digits.clone());
    world.run_to_rest();
    assert_eq!(world.record().outcome, Some(Outcome::RolledBack), "{:#?}", world.writes);
    let named = |(name, spec): (&String, &Value)| (name.replace(&digits, "<2.0.0>"), spec.clone());
    world.job_specs.iter().map(named).collect()
}

#[test]
fn rule_13_what_each_job_may_do_twice_and_what_ends_it() {
    let made = made();
    let text: Vec<String> = made.iter().map(|(name, spec)| format!("{name}\n    {spec}")).collect();
    insta::assert_snapshot!(text.join("\n"));
    let disrupted = |action: &str| json!({ "action": action, "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] });
    let mut writing = 0;
    for (name, spec) in &made {
        assert_eq!(spec["podReplacementPolicy"], "Failed", "{name}: two pods at once");
        let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap_or_else(|| panic!("{name}: {spec}"));
        if ["-migrate-", "-undo-", "-hook-"].iter().any(|part| name.contains(part)) {
            writing += 1;
            assert_eq!((&spec["suspend"], &spec["backoffLimit"]), (&json!(true), &json!(0)), "{name}");
            assert!(
                rules.contains(&disrupted("FailJob")) && !rules.contains(&disrupted("Ignore")),
                "{name}: {rules:?}"
            );
            // The agent ends a migration and says what became of it; nothing else may cut it off.
            assert_eq!(spec["activeDeadlineSeconds"].is_null(), !name.contains("-hook-"), "{name}");
        } else {
            assert!(spec["activeDeadlineSeconds"].is_u64(), "{name} ends for certain");
        }
        if ["-verify", "-watch", "-hook-"].iter().any(|part| name.contains(part)) {
            assert_eq!(
                spec["ttlSecondsAfterFinished"],
                Value::Null,
                "{name}: its word is read as long as the step lasts"
            );
        }
    }
    assert_eq!(writing, 4, "a migration, what takes it back, two hooks: {text:#?}");
}

//! What Argo CD and Flux read from the status of a Release: the script and the expressions that are shipped, over the
//! situations of the reference's table and over every status that a test of this tier writes.

use std::{cell::RefCell, collections::BTreeSet, fs, path::Path};

use mlua::{Lua, LuaOptions, StdLib, Table};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;
use switchback::{
    api::{
        Condition, ConditionType, DecisionKind, Empty, Reason, ReleaseStatus, Standing, Step, set_condition,
        set_standing,
    },
    release::plan::Situation,
};

use crate::{
    database::RestoreEnd,
    world::{JobEnd, UID, World},
};

/// What the three say of one object.
type Told = (&'static str, &'static str, &'static str);

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Runs the script as Argo CD does: Lua 5.1, its base and `table` alone, the object in `obj`, numbers as floats, null as nothing.
fn argo(script: &str, object: &Value) -> String {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    lua.globals().set("obj", in_lua(&lua, object)).unwrap();
    let health: Table = lua.load(script).eval().unwrap();
    health.get("status").unwrap()
}

fn in_lua<'lua>(lua: &'lua Lua, value: &Value) -> mlua::Value<'lua> {
    match value {
        Value::Null => mlua::Value::Nil,
        Value::Bool(holds) => mlua::Value::Boolean(*holds),
        Value::Number(number) => mlua::Value::Number(number.as_f64().unwrap()),
        Value::String(text) => mlua::Value::String(lua.create_string(text).unwrap()),
        Value::Array(items) => {
            let items = items.iter().map(|item| in_lua(lua, item));
            mlua::Value::Table(lua.create_sequence_from(items).unwrap())
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.as_str(), in_lua(lua, value)));
            mlua::Value::Table(lua.create_table_from(fields).unwrap())
        }
    }
}

/// What kstatus says of an object of a kind that it has no rules for (`sigs.k8s.io/cli-utils`, `pkg/kstatus/status`).
fn kstatus(object: &Value) -> &'static str {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    if is_behind(object) {
        return "InProgress";
    }
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return "InProgress",
            Some("Stalled") => return "Failed",
            _ => {}
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready").map(|ready| &ready["status"]) {
        Some(status) if status != "True" => "InProgress",
        _ => "Current",
    }
}

fn is_behind(object: &Value) -> bool {
    object["status"]["observedGeneration"] != object["metadata"]["generation"]
}

/// The expressions of `docs/gitops.md`.
struct Expressions {
    failed: cel::Program,
    current: cel::Program,
}

impl Expressions {
    fn documented() -> Self {
        let page = file("docs/gitops.md");
        let mut found = page.split("```yaml\n").skip(1).filter_map(|rest| {
            let block: Value = serde_yaml::from_str(rest.split("```").next().unwrap()).unwrap();
            block.pointer("/spec/healthCheckExprs").cloned()
        });
        let all = found.next().expect("docs/gitops.md has an example with healthCheckExprs");
        assert_eq!(all.as_array().map(Vec::len), Some(1));
        let of = &all[0];
        assert_eq!((&of["apiVersion"], &of["kind"]), (&json!("switchback.dev/v1alpha1"), &json!("Release")));
        assert!(of["inProgress"].is_null());
        let compile = |key: &str| cel::Program::compile(of[key].as_str().unwrap()).unwrap();
        Self { failed: compile("failed"), current: compile("current") }
    }

    /// What Flux makes of them: the first that holds, in this order, of an object that is not behind.
    fn say(&self, object: &Value) -> &'static str {
        if is_behind(object) {
            return "InProgress";
        }
        let mut context = cel::Context::default();
        for (field, value) in object.as_object().unwrap() {
            context.add_variable(field.as_str(), value.clone()).unwrap();
        }
        let holds = |program: &cel::Program| match program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => holds,
            other => panic!("{other:?} of {object:#}"),
        };
        if holds(&self.failed) {
            "Failed"
        } else if holds(&self.current) {
            "Current"
        } else {
            "InProgress"
        }
    }
}

struct Tools {
    health: String,
    flux: Expressions,
    /// What was compared already: messages and times make no difference.
    known: BTreeSet<String>,
}

impl Tools {
    fn shipped() -> Self {
        Self { health: file("deploy/argocd/health.lua"), flux: Expressions::documented(), known: BTreeSet::new() }
    }

    fn say(&self, object: &Value) -> (&'static str, String, &'static str) {
        (kstatus(object), argo(&self.health, object), self.flux.say(object))
    }
}

thread_local! {
    static TOOLS: RefCell<Tools> = RefCell::new(Tools::shipped());
}

/// Compares what the tools read from a status with what the plan wanted to tell.
pub fn check(status: &ReleaseStatus, situation: &Situation, generation: i64) {
    let conditions = &status.conditions;
    let expected = match situation {
        // For a moment it says what it said before.
        Situation::Working(reason, _) if waits(*reason) => return,
        Situation::Working(..) | Situation::OnHold(..) => ("InProgress", "Progressing", "InProgress"),
        Situation::WaitingForApproval(..) => ("InProgress", "Suspended", "Current"),
        Situation::Served => ("Current", "Healthy", "Current"),
        Situation::ActiveUnhealthy(_) => ("InProgress", "Degraded", "InProgress"),
        Situation::Failed(..) => ("Failed", "Degraded", "Failed"),
        Situation::Suspended(_) => ("InProgress", "Suspended", "InProgress"),
    };
    let of = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
    let key = format!("{expected:?} {}", conditions.iter().map(of).collect::<Vec<_>>().join(", "));
    TOOLS.with_borrow_mut(|tools| {
        if tools.known.insert(key) {
            let status = json!({ "observedGeneration": status.observed_generation, "conditions": conditions });
            let object = json!({ "metadata": { "generation": generation }, "status": status });
            let (kstatus, argo, flux) = tools.say(&object);
            assert_eq!((kstatus, argo.as_str(), flux), expected, "{situation:?}: {conditions:#?}");
        }
    });
}

fn waits(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApprovalPolicyMissing
            | Reason::ApprovalStale
            | Reason::AuthorIsAutomation
            | Reason::DataLossPending
            | Reason::Frozen
            | Reason::NotPromoted
            | Reason::WaitingForApproval
            | Reason::WaitingForSlot
    )
}

/// The object as the API server would send it, but for its spec.
fn object(world: &World) -> Value {
    let mut metadata = json!({ "name": "shop", "namespace": "prod", "uid": UID, "generation": world.generation });
    if world.deleting {
        metadata["deletionTimestamp"] = json!(world.now);
    }
    let (group, kind) = ("switchback.dev/v1alpha1", "Release");
    json!({ "apiVersion": group, "kind": kind, "metadata": metadata, "status": world.status })
}

fn until(mut world: World, type_: &str, reason: &str) -> World {
    for _ in 0..300 {
        if world.condition(type_).is_some_and(|(_, found)| found == reason) {
            return world;
        }
        world.turn();
    }
    panic!("{type_} never says {reason}: {:?}", world.status.conditions);
}

fn at_rest(mut world: World) -> World {
    world.run_to_rest();
    world
}

fn failing(mut world: World, job: &'static str, end: JobEnd) -> World {
    world.job_end.insert(job, end);
    world
}

/// Has a person suspend it.
fn suspended(mut world: World) -> World {
    world.decide(DecisionKind::Suspend(Empty {}), "anna");
    while world.look(usize::MAX) {}
    world
}

/// The rows of the reference's table: kstatus, Argo CD, and Flux with the expressions.
fn situations() -> Vec<(&'static str, World, Told)> {
    const FAILED: Told = ("Failed", "Degraded", "Failed");
    const MOVES: Told = ("InProgress", "Progressing", "InProgress");
    const WAITS: Told = ("InProgress", "Suspended", "Current");
    const WELL: Told = ("Current", "Healthy", "Current");
    let mut first = World::new();
    first.run_to(Step::Approve);
    first.approve("anna");
    let mut unwell = World::serving();
    unwell.set_ready("1.0.0", 1);
    while unwell.look(usize::MAX) {}
    let mut lost = World::at(Step::Watch);
    lost.unready.push(World::digits("2.0.0"));
    let mut aborted = World::at(Step::Deploy);
    aborted.abort();
    let mut rejected = World::at(Step::Approve);
    rejected.reject();
    let mut deleted = World::serving();
    deleted.deleting = true;
    deleted.look(usize::MAX);
    vec![
        ("just created", World::new(), MOVES),
        ("working", World::at(Step::Deploy), MOVES),
        ("waiting for approval", World::at(Step::Approve), WAITS),
        ("waiting for an approval of what data would be lost", crate::restored::waiting(RestoreEnd::Hangs), WAITS),
        ("served, nothing to do", World::serving(), WELL),
        ("served, but the active version is unwell", unwell, ("InProgress", "Degraded", "InProgress")),
        (
            "refused before traffic moved, the old version serves",
            at_rest(failing(World::at(Step::Verify), "smoke", JobEnd::Fails)),
            FAILED,
        ),
        ("the first release failed, nothing serves", at_rest(failing(first, "smoke", JobEnd::Fails)), FAILED),
        ("rolled back, the old version serves", at_rest(lost), FAILED),
        ("aborted, the old version serves", at_rest(aborted), FAILED),
        ("rejected, the old version serves", at_rest(rejected), FAILED),
        (
            "watch on hold: a check cannot tell",
            until(failing(World::at(Step::Watch), "watch", JobEnd::CannotTell), "Ready", "WatchOnHold"),
            MOVES,
        ),
        ("released, a Contract migration waits", World::with_contract(), WELL),
        (
            "suspended with something pending",
            until(suspended(World::at(Step::Deploy)), "Ready", "Suspended"),
            ("InProgress", "Suspended", "InProgress"),
        ),
        ("suspended with nothing pending", suspended(World::serving()), WELL),
        ("being deleted", deleted, ("Terminating", "Progressing", "InProgress")),
    ]
}

#[test]
fn argo_cd_and_flux_read_every_situation_of_the_table() {
    let tools = Tools::shipped();
    let page = file("docs/gitops.md");
    let switched = tools.health.replace("local waiting = \"Suspended\"", "local waiting = \"Healthy\"");
    assert_ne!(switched, tools.health);
    let mut table = String::new();
    for (situation, world, expected) in situations() {
        let object = object(&world);
        let (kstatus, health, flux) = tools.say(&object);
        assert_eq!((kstatus, health.as_str(), flux), expected, "{situation}: {:#?}", world.status.conditions);
        let other = argo(&switched, &object);
        let is_waiting = flux == "Current" && health == "Suspended";
        assert_eq!(other, if is_waiting { "Healthy" } else { &health }, "{situation}, with the switch");
        let health = if is_waiting { format!("{health} (the switch: {other})") } else { health };
        let flux = if flux == kstatus || kstatus == "Terminating" { String::new() } else { format!(" ({flux})") };
        table.push_str(&format!("| {situation} | {health} | {kstatus}{flux} |\n"));
    }
    assert!(page.contains(&table), "docs/gitops.md has another table than this:\n{table}");
}

#[test]
fn both_wait_for_the_same() {
    let tools = Tools::shipped();
    for reason in Reason::iter() {
        let mut conditions = vec![];
        set_condition(
            &mut conditions,
            (ConditionType::Reconciling, Some(true), reason),
            "",
            (1, "2026-11-21T12:00:00Z".parse().unwrap()),
        );
        let status = json!({ "observedGeneration": 1, "conditions": conditions });
        let object = json!({ "metadata": { "generation": 1 }, "status": status });
        let expected = if waits(reason) { ("Suspended", "Current") } else { ("Progressing", "InProgress") };
        let (_, health, flux) = tools.say(&object);
        assert_eq!((health.as_str(), flux), expected, "{reason:?}");
    }
}

#[test]
fn a_status_that_is_behind_or_empty_is_work_under_way() {
    let (object, tools) = (object(&World::at(Step::Approve)), Tools::shipped());
    let mut behind = object.clone();
    behind["metadata"]["generation"] = json!(99);
    assert_eq!(tools.say(&behind), ("InProgress", "Progressing".to_owned(), "InProgress"));
    // Before the first look there is no condition at all; an old server may send no status.
    for status in [json!({ "observedGeneration": 2 }), Value::Null] {
        let mut bare = object.clone();
        bare["status"] = status;
        assert_eq!(argo(&tools.health, &bare), "Progressing");
    }
}

#[test]
fn the_other_kinds_are_read_by_the_same_script() {
    let tools = Tools::shipped();
    let say = |standing: Standing| {
        let mut conditions = vec![];
        set_standing(&mut conditions, &standing, (3, "2026-11-21T12:00:00Z".parse().unwrap()));
        let status = json!({ "observedGeneration": 3, "conditions": conditions });
        let object = json!({ "metadata": { "generation": 3 }, "status": status });
        (kstatus(&object), argo(&tools.health, &object))
    };
    let why = String::new;
    assert_eq!(say(Standing::Moving(Reason::Inspecting, why())), ("InProgress", "Progressing".into()));
    assert_eq!(say(Standing::Well(Reason::Reachable, why())), ("Current", "Healthy".into()));
    assert_eq!(say(Standing::Stuck(Reason::IdentityUncertain, why())), ("Failed", "Degraded".into()));
}

#[test]
fn the_config_map_carries_the_script() {
    let patch: Value = serde_yaml::from_str(&file("deploy/argocd/argocd-cm.yaml")).unwrap();
    let data = patch["data"].as_object().unwrap();
    let script = file("deploy/argocd/health.lua");
    let kinds = ["Release", "DatabaseInstance", "BackupStorage", "DatabaseBackup"];
    let keys = kinds.map(|kind| format!("resource.customizations.health.switchback.dev_{kind}"));
    assert_eq!(data.keys().cloned().collect::<BTreeSet<_>>(), BTreeSet::from(keys));
    assert!(data.values().all(|carried| *carried == json!(script)), "deploy/argocd/argocd-cm.yaml is not health.lua");
}

//! What a migration's own command says of what is due: asked twice, believed only when it says one or the other.

use serde_json::{Value, json};
use switchback::{
    api::{MigrationProgress, Outcome, ProofLevel, Reason, ReleaseSpec, Step},
    protocol::MigrationState,
    release::{manifests::Kind, plan::Situation},
};

use crate::{
    config::with_config,
    database::{PendingEnd, with_pending},
    policies::policy,
    world::World,
};

impl World {
    /// A world in which 1.0.0 serves, and every later version has a command that says what is due.
    pub fn serving_with_pending() -> Self {
        let mut world = Self::serving_with_database();
        world.shape = |spec| spec.database = with_pending(&spec.version).database;
        world
    }
}

/// A world in which 1.0.0 serves and 2.0.0 is asked for, whose command will say this.
fn asked(says: PendingEnd) -> World {
    asked_for(with_pending("2.0.0"), says)
}

fn asked_for(spec: ReleaseSpec, says: PendingEnd) -> World {
    let mut world = World::serving_with_database();
    world.database.asked_what_is_due = says;
    world.change(spec);
    world
}

fn steps(world: &World) -> Vec<&str> {
    world.record().plan.as_ref().unwrap().steps.iter().map(|step| step.step.as_str()).collect()
}

fn does(world: &World, step: Step) -> String {
    let steps = &world.record().plan.as_ref().unwrap().steps;
    steps.iter().find(|planned| planned.step == step).unwrap().does.clone()
}

fn ran(world: &World) -> u32 {
    world.database.ran.get(with_pending("2.0.0").revision().digits()).copied().unwrap_or(0)
}

/// The Jobs that asked, by the step in which they did.
fn asks(world: &World) -> Vec<&str> {
    let made = world.writes.iter().filter(|write| write.contains("create") && write.contains("-pending"));
    made.map(|write| if write.contains("-inspect-") { "Inspect" } else { "Preflight" }).collect()
}

#[test]
fn nothing_due_is_neither_rehearsed_nor_migrated_and_its_backup_is_stored_only() {
    let mut world = asked(PendingEnd::Nothing);
    world.run_to(Step::Approve);
    assert_eq!(steps(&world), ["Preflight", "Backup", "Deploy", "Verify", "Switch", "Watch", "Retire"]);
    let backup = does(&world, Step::Backup);
    assert!(backup.contains("reads sizes and checksums back"), "{backup}");
    let told = "Nothing of its migration is due, says `migrate pending`: it is neither rehearsed nor run.";
    assert!(backup.ends_with(told), "{backup}");
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), ran(&world)), (Some("2.0.0"), 0));
    assert_eq!(asks(&world), ["Inspect", "Preflight"]);
    assert_eq!(world.database.asked.values().last(), Some(&ProofLevel::Stored));
    assert!(!world.writes.iter().any(|write| write.contains("-migrate-") || write.contains("-rehearse")));
    assert!(world.jobs.is_empty());
}

#[test]
fn what_is_due_is_rehearsed_and_migrated_once() {
    let mut world = asked(PendingEnd::Due);
    world.run_to(Step::Approve);
    assert!(does(&world, Step::Migrate).contains("(due, says `migrate pending`)"), "{}", does(&world, Step::Migrate));
    assert!(does(&world, Step::Preflight).contains("Asks `migrate pending` once more"));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!((world.active(), ran(&world)), (Some("2.0.0"), 1), "I1");
    assert_eq!(world.record().migration.as_ref().unwrap().state, MigrationProgress::Applied);
    // What the ledger knows as applied is asked of nobody.
    world.writes.clear();
    world.ask_for("3.0.0");
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    world.change(with_pending("2.0.0"));
    world.run_to(Step::Approve);
    assert_eq!(asks(&world), Vec::<&str>::new());
    assert!(does(&world, Step::Backup).ends_with("says the ledger: it is neither rehearsed nor run."));
}

#[test]
fn an_answer_that_is_not_known_stops_the_release_before_it_begins() {
    for (says, reason) in [(PendingEnd::Unknown, Reason::PendingUnknown), (PendingEnd::PodLost, Reason::JobLost)] {
        let mut world = asked(says);
        let backups = world.database.backups.len();
        world.run_to_rest();
        assert_eq!(world.condition("Stalled"), Some(("True", reason.as_str())), "{says:?}");
        assert_eq!((world.active(), world.ended()), (Some("1.0.0"), Some(Outcome::Failed)), "{says:?}");
        assert_eq!((world.database.backups.len(), ran(&world)), (backups, 0), "{says:?}");
        // A command that is mended is another content, and asked at once.
        world.database.asked_what_is_due = PendingEnd::Nothing;
        let mut mended = with_pending("2.0.0");
        mended.database.as_mut().unwrap().migration.as_mut().unwrap().pending = vec!["migrate".into(), "status".into()];
        world.change(mended);
        world.run_to(Step::Approve);
    }
}

#[test]
fn a_command_that_never_ends_is_not_waited_for_longer_than_inspect_may_take() {
    let mut world = asked(PendingEnd::Hangs);
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "DatabaseNotReady")));
    let told = world.message("Stalled");
    assert!(told.contains("not known within 5m") && told.contains("Asking `migrate pending`"), "{told}");
    assert!(world.jobs.is_empty());
}

#[test]
fn what_becomes_due_after_the_approval_needs_another_one() {
    for (first, then) in [(PendingEnd::Nothing, PendingEnd::Due), (PendingEnd::Due, PendingEnd::Nothing)] {
        let mut world = asked(first);
        world.run_to(Step::Approve);
        let before = world.record().plan.clone().unwrap();
        world.database.asked_what_is_due = then;
        let approval = world.approve("anna");
        for _ in 0..20 {
            world.turn();
        }
        assert_eq!(world.step(), Step::Approve, "{then:?}");
        let plan = world.record().plan.clone().unwrap();
        assert_ne!(plan.digest, before.digest);
        assert!(world.became(&approval).is_some(), "the approval is used up");
        world.approve("anna");
        world.run_to_rest();
        assert_eq!((world.active(), ran(&world)), (Some("2.0.0"), u32::from(then == PendingEnd::Due)), "{then:?}");
    }
}

#[test]
fn what_began_and_has_no_end_runs_again_so_that_it_gets_one() {
    let mut spec = with_pending("2.0.0");
    spec.database.as_mut().unwrap().migration.as_mut().unwrap().idempotent = Some(true);
    let mut world = World::serving_with_database();
    world.database.ledger.insert(spec.revision().digits().to_owned(), MigrationState::Started);
    world.database.asked_what_is_due = PendingEnd::Nothing;
    world.change(spec);
    world.run_to(Step::Approve);
    assert!(steps(&world).contains(&"Migrate"));
    assert_eq!(asks(&world), Vec::<&str>::new());
}

#[test]
fn threat_t01_the_command_gets_the_database_and_no_storage() {
    let mut world = asked(PendingEnd::Due);
    world.run_to(Step::Approve);
    let (_, template) = world.templates.iter().find(|(name, _)| name.ends_with("-pending")).unwrap();
    let container = &template["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["args"][0]), (&json!("shop:2.0.0"), &json!("pending")));
    let parameters: Value = serde_json::from_str(container["args"][2].as_str().unwrap()).unwrap();
    assert_eq!(parameters["argv"], json!(["migrate", "pending"]));
    assert_eq!(parameters["database"]["expect"]["marker"]["epoch"], 1, "it must be the database that is known");
    let secrets: Vec<String> = template["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|volume| volume.to_string().contains("secret"))
        .map(|volume| volume["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(secrets, ["switchback-database"]);
    assert_eq!(template["spec"]["automountServiceAccountToken"], false);
}

#[test]
fn input_21_a_pod_that_the_api_server_refuses_is_told_as_that() {
    let mut world = asked(PendingEnd::Nothing);
    world.refusal = Some((Kind::Pod, 403, "pods is forbidden: violates PodSecurity \"restricted:latest\"".into()));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "PodSecurityViolation")));
    assert!(world.message("Stalled").contains("-pending"), "{}", world.message("Stalled"));
    assert_eq!(asks(&world), Vec::<&str>::new());
}

#[test]
fn an_image_that_a_policy_refuses_does_not_run() {
    let mut world = asked(PendingEnd::Nothing);
    world.policies = vec![policy("digests", json!({ "images": { "digestRequired": true } }))];
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "DigestRequired")));
    assert_eq!(asks(&world), Vec::<&str>::new());
    // It is asked when it may run, and the plan is another one by then.
    world.policies.clear();
    world.run_to(Step::Inspect);
    world.run_to(Step::Approve);
    assert_eq!(asks(&world), ["Inspect"]);
    assert!(!steps(&world).contains(&"Migrate"));
}

#[test]
fn what_reads_config_of_its_own_revision_cannot_be_asked_before_that_is_there() {
    let mut spec = with_pending("2.0.0");
    with_config(&mut spec);
    let mut world = asked_for(spec, PendingEnd::Nothing);
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "PendingUnknown")));
    assert!(world.message("Stalled").contains("reads files of spec.config"), "{}", world.message("Stalled"));
    assert_eq!(asks(&world), Vec::<&str>::new());
    // A pod of its own that reads none is no trouble.
    let mut spec = with_pending("2.0.0");
    with_config(&mut spec);
    let pod = json!({ "spec": { "containers": [{ "name": "tool", "image": "tool:2" }] } });
    let migration = json!({
        "pod": pod, "command": ["migrate", "up"], "pending": ["migrate", "pending"], "change": "Expand",
    });
    spec.database.as_mut().unwrap().migration = serde_json::from_value(migration).unwrap();
    world.change(spec);
    world.run_to(Step::Approve);
    assert_eq!(asks(&world), ["Inspect"]);
}

#[test]
fn the_command_is_part_of_revision_and_approval_only_when_it_is_set() {
    let with = with_pending("2.0.0");
    let mut without = with.clone();
    without.database.as_mut().unwrap().migration.as_mut().unwrap().pending.clear();
    assert_ne!(with.revision(), without.revision());
    // As it was named before there was such a field.
    assert_eq!(without.revision().to_string(), "v1-2016275ba3");
    let written = serde_json::to_value(&without).unwrap();
    assert!(written.pointer("/database/migration/pending").is_none(), "{written}");
}

#[test]
fn a_contract_with_nothing_due_waits_for_nobody() {
    let contract = |version: &str| {
        let mut spec = with_pending(version);
        crate::contract::contract(&mut spec);
        spec
    };
    let mut world = asked_for(contract("2.0.0"), PendingEnd::Nothing);
    world.run_to(Step::Approve);
    assert!(!steps(&world).contains(&"Contract"), "{:?}", steps(&world));
    world.approve("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("2.0.0"));
    assert!(world.record().contract.is_none() && world.condition("ContractPending").is_none());
    // One that is due waits; what is asked for once more when it begins decides.
    world.database.asked_what_is_due = PendingEnd::Due;
    world.change(contract("3.0.0"));
    world.run_to(Step::Approve);
    world.approve("anna");
    world.run_to_rest();
    assert!(world.condition("ContractPending").is_some());
    world.database.asked_what_is_due = PendingEnd::Nothing;
    world.approve_contract("anna");
    world.run_to_rest();
    assert_eq!(world.active(), Some("3.0.0"));
    assert!(world.condition("ContractPending").is_none());
    assert_eq!(world.database.ran.get(contract("3.0.0").revision().digits()), None);
}

#[test]
fn a_job_that_no_watch_has_shown_yet_is_not_taken_for_somebody_elses() {
    let mut world = asked(PendingEnd::Due);
    while !world.jobs.keys().any(|name| name.ends_with("-pending")) {
        world.look(usize::MAX);
        if !world.jobs.keys().any(|name| name.ends_with("-pending")) {
            world.settle();
        }
    }
    let mut seen = world.observed();
    seen.jobs.retain(|job| !job.name.ends_with("-pending"));
    let (seen, plan) = world.plan_of(seen);
    assert_eq!((plan.record.step, &plan.record.history), (Step::Inspect, &seen.record().history));
    assert!(matches!(&plan.situation, Situation::Working(Reason::Inspecting, _)), "{:?}", plan.situation);
    // The one of somebody else still stops it.
    let mut world = asked(PendingEnd::Due);
    world.foreign.push((Kind::Job, "shop-2-inspect-0-pending".into()));
    world.run_to_rest();
    assert_eq!(world.condition("Stalled"), Some(("True", "NameTaken")));
}

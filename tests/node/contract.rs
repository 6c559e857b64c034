//! Contract migrations on a real node: users read and the version that serves works on the table all the while.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchback::{
    api::{ContractProgress, Decision, MigrationProgress, Outcome, ProofLevel, Release, Step, labels},
    clock,
};
use tokio::sync::Mutex;

use crate::{
    audited::requests_within,
    database_scene::{backups, bring_up, by, held, psql, report, until_recorded},
    harness::{Scene, active, condition, merge, message, names_of, proof, record},
    stopped::kill_at_every_step,
    support::in_namespace,
};

/// How long nothing may happen while it waits.
const QUIET: Duration = Duration::from_secs(15);
/// How long a run of it may take, from its approval.
const STARTED: Duration = Duration::from_secs(120);
const COLUMNS: &str = "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns \
    WHERE table_name = 'orders'";
const LEDGER: &str = "SELECT string_agg(state, ',' ORDER BY began) FROM switchback.ledger";

/// The application, whose every answer is read from the orders.
fn version(version: &str, schema: &str, more: &[(&str, &str)]) -> Value {
    let known = [("VERSION", version), ("SCHEMA", schema), ("DATABASE_SECRET_DIR", "/db"), ("DRAIN_SECONDS", "3")];
    let env: Vec<Value> =
        known.iter().chain(more).map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!([{
        "name": "web",
        "replicas": 2,
        "services": [{ "name": "shop", "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
        "template": { "spec": {
            "terminationGracePeriodSeconds": 40,
            "containers": [{
                "name": "web",
                "image": "localhost/demo-app:dev",
                "env": env,
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1 },
                "volumeMounts": [{ "name": "db", "mountPath": "/db", "readOnly": true }],
            }],
            "volumes": [{ "name": "db", "secret": { "secretName": "shop-db" } }],
        }},
    }])
}

/// What a Release says of its database when the application's own tool migrates it.
fn by_command(change: &str, more: Value) -> Value {
    let mut migration =
        json!({ "workload": "web", "command": ["/demo-app", "migrate", "up"], "idempotent": true, "change": change });
    merge(&mut migration, more);
    by(migration)
}

/// This version, as it must get ready on the migrated copy.
fn on_the_copy(schema: &str) -> Value {
    let probe =
        |times| json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": times });
    json!({ "rehearse": { "contract": { "spec": { "containers": [{
        "name": "web",
        "image": "localhost/demo-app:dev",
        "env": [{ "name": "SCHEMA", "value": schema }, { "name": "DRAIN_SECONDS", "value": "0" }],
        "readinessProbe": probe(3),
        "startupProbe": probe(20),
    }]}}}})
}

/// Asks for a version. 1.0.0 reads a column that the Contract migration of schema 3 drops; the later ones do not.
async fn ask_for(scene: &Scene<'_>, what: &str, schema: &str, (env, mut more): (&[(&str, &str)], Value)) -> Release {
    merge(&mut more, json!({ "workloads": version(what, schema, env) }));
    scene.ask_for(what, &[], more).await
}

async fn release(scene: &Scene<'_>, what: &str, schema: &str, content: (&[(&str, &str)], Value)) -> Release {
    ask_for(scene, what, schema, content).await;
    scene.approve().await;
    let over = scene.until_over().await;
    assert_eq!(active(&over), Some(what), "{}", report(scene).await);
    over
}

/// Waits until the Contract migration of a version waits with a plan.
async fn until_it_waits(scene: &Scene<'_>, version: &str) -> Release {
    scene
        .until("a Contract migration waits", |release| {
            let contract = record(release).contract;
            let waits = |contract: &switchback::api::ContractRecord| {
                contract.version == version && contract.is_open() && contract.plan.is_some()
            };
            record(release).step == Step::Idle && contract.as_ref().is_some_and(waits)
        })
        .await
}

fn contract_digest(release: &Release) -> String {
    record(release).contract.unwrap().plan.unwrap().digest
}

async fn approve_contract(scene: &Scene<'_>, release: &Release, digest: &str) -> Decision {
    scene.decide(release, json!({ "approve": { "digest": digest, "gate": "Contract" } })).await.unwrap()
}

/// Waits until the run that was approved has ended.
async fn until_it_ended(scene: &Scene<'_>, state: ContractProgress) -> Release {
    let what = format!("the Contract migration is {}", <&str>::from(state));
    let ended = scene
        .until(&what, |release| {
            let record = record(release);
            let now = record.contract.map(|contract| contract.state);
            assert!(now != Some(ContractProgress::Failed) || state == ContractProgress::Failed, "{:?}", release.status);
            record.step == Step::Idle && now == Some(state)
        })
        .await;
    assert_eq!(condition(&ended, "Ready"), ("True".into(), "Released".into()));
    ended
}

/// Notes the last moment, in seconds, at which a pod of a version was still there.
async fn last_seen(scene: &Scene<'_>, digits: &str, last: Arc<Mutex<f64>>) {
    let api: Api<Pod> = scene.namespace.api(&scene.namespace.cluster.admin);
    let selector = ListParams::default().labels(&format!("{}={digits}", labels::REVISION));
    loop {
        let pods = api.list(&selector).await.unwrap().items;
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            matches!(phase, Some("Succeeded" | "Failed"))
        };
        if pods.iter().any(|pod| pod.labels().contains_key(labels::WORKLOAD) && !ended(pod)) {
            *last.lock().await = clock::now().as_millisecond() as f64 / 1000.0;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_waits_at_rest_and_runs_by_its_own_approval_killed_at_every_step() {
    in_namespace("contract", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        let first = release(&scene, "1.0.0", "2", (&[], by_command("Expand", json!({})))).await;
        let former = record(&first).active.unwrap().revision;
        let load = scene.load().await;

        // The release comes first, on the schema as it is.
        ask_for(&scene, "2.0.0", "3", (&[], by_command("Contract", on_the_copy("3")))).await;
        let waiting = scene.until_step(Step::Approve).await;
        let plan = record(&waiting).plan.unwrap();
        let steps: Vec<Step> = plan.steps.iter().map(|planned| planned.step).collect();
        assert!(!steps.contains(&Step::Migrate) && steps.last() == Some(&Step::Contract), "{steps:?}");
        let of_release = scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", report(&scene).await);

        until_recorded(&scene).await;

        // Then it waits, holds nothing and costs nothing.
        let waits = until_it_waits(&scene, "2.0.0").await;
        assert_eq!(condition(&waits, "Ready"), ("True".into(), "Released".into()));
        assert_eq!(condition(&waits, "ContractPending"), ("True".into(), "ContractPending".into()));
        for absent in ["Reconciling", "Stalled"] {
            assert_eq!(condition(&waits, absent), (String::new(), String::new()));
        }
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        assert_eq!(held(&scene).await, Vec::<String>::new());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let asked = requests_within(namespace, QUIET).await;
        assert!(asked.is_empty(), "{asked:#?}");

        // An approval of the release is none of it, whatever it names.
        let digest = contract_digest(&waits);
        let replayed =
            scene.decide(&waits, json!({ "approve": { "digest": digest, "gate": "Release" } })).await.unwrap();
        assert_eq!(scene.became(&replayed).await, ("Refused".into(), "TooLate".into()));
        let again =
            scene.decide(&waits, json!({ "approve": { "digest": plan.digest, "gate": "Contract" } })).await.unwrap();
        assert_eq!(scene.became(&again).await, ("Refused".into(), "OtherDigest".into()));
        assert_eq!(scene.became(&of_release).await, ("Used".into(), "Used".into()));

        // Somebody has brought the former version up again by hand: it must be gone before the first statement.
        let deployments: Api<Deployment> = namespace.api(&namespace.cluster.admin);
        let kept = format!("shop-web-{}", former.digits());
        let scale = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
        deployments.patch(&kept, &PatchParams::default(), &scale).await.unwrap();
        let last = Arc::new(Mutex::new(0.0));
        let approved = approve_contract(&scene, &waits, &digest).await;
        let (kills, applied) = {
            let watch = last_seen(&scene, former.digits(), Arc::clone(&last));
            let run = async {
                scene.until("it begins", |release| record(release).step != Step::Idle).await;
                let kills = kill_at_every_step(&scene).await;
                (kills, until_it_ended(&scene, ContractProgress::Applied).await)
            };
            tokio::select! {
                () = watch => unreachable!("it watches for ever"),
                done = tokio::time::timeout(STARTED, run) => match done {
                    Ok(done) => done,
                    Err(_) => panic!("it does not end: {}", report(&scene).await),
                },
            }
        };
        assert!(kills >= 8, "only {kills} kills");
        assert_eq!(scene.became(&approved).await, ("Used".into(), "Used".into()));
        let counted = load.end("contract-migration").await;
        assert!(counted.by_version.contains_key("1.0.0") && counted.by_version.contains_key("2.0.0"));

        // I1, I2, I6: one row, after the proof of a backup of its own, and after the last pod of the former version.
        let after = record(&applied);
        assert_eq!((psql(&scene, COLUMNS).await, after.attempts), ("delivery_slot,id,item,placed".into(), 3));
        let (backup, migration) = (after.backup.unwrap(), after.migration.unwrap());
        assert_eq!(
            (psql(&scene, LEDGER).await, migration.state),
            ("Applied,Applied".into(), MigrationProgress::Applied)
        );
        let row =
            format!("SELECT extract(epoch FROM began) FROM switchback.ledger WHERE backup_uid = '{}'", backup.uid);
        let began: f64 = psql(&scene, &row).await.parse().unwrap();
        let all = backups(&scene).await;
        let proven = all.iter().find(|found| found.metadata.uid.as_ref() == Some(&backup.uid)).unwrap();
        let proof_of = proven.status.clone().unwrap().proof.unwrap();
        assert_eq!((proof_of.level, all.len(), held(&scene).await.len()), (ProofLevel::Readable, 3, 0));
        assert!(began > proof_of.at.0.as_millisecond() as f64 / 1000.0, "I2: {began} {proof_of:?}");
        let rehearsal = after.rehearsal.unwrap();
        assert!(rehearsal.backup == backup.uid && rehearsal.findings.changes == 1, "{rehearsal:?}");
        let last = *last.lock().await;
        assert!(
            last > 0.0 && began > last,
            "the first statement came at {began}, and a former pod was there at {last}"
        );
        proof("contract", &json!({ "began": began, "lastFormerPod": last, "kills": kills }).to_string());

        // What served before is withdrawn, and no way back is claimed.
        assert!(!names_of(&scene, "apps/v1", "Deployment").await.contains(&kept));
        assert_eq!((after.previous, after.withdrawn.unwrap().revisions), (None, vec![former.clone()]));
        assert_eq!(condition(&applied, "ContractPending"), (String::new(), String::new()));
        for back in [json!({ "rollback": {} }), json!({ "rollback": { "to": former } })] {
            let back = scene.decide(&applied, back).await.unwrap();
            assert_eq!(scene.became(&back).await, ("Refused".into(), "Withdrawn".into()));
        }
        ask_for(&scene, "1.0.0", "2", (&[], by_command("Expand", json!({})))).await;
        let asked = scene.until_step(Step::Approve).await;
        let risks = record(&asked).plan.unwrap().risks;
        assert!(risks.iter().any(|risk| risk.contains("before the Contract migration of 2.0.0")), "{risks:?}");
        let left = names_of(&scene, "batch/v1", "Job").await;
        assert!(!left.iter().any(|job| job.contains("-migrate-") || job.contains("-rehearse")), "{left:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_that_fails_leaves_what_serves_serving_and_a_fix_begins_as_ever() {
    in_namespace("contract-fails", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        release(&scene, "1.0.0", "2", (&[], by_command("Expand", json!({})))).await;
        let load = scene.load().await;
        let unrehearsed = || by_command("Contract", json!({ "rehearse": { "enabled": false } }));
        release(&scene, "2.0.0", "3", (&[("MIGRATE_FAIL_IN", "3")], unrehearsed())).await;
        let waits = until_it_waits(&scene, "2.0.0").await;
        let digest = contract_digest(&waits);
        approve_contract(&scene, &waits, &digest).await;
        let failed = until_it_ended(&scene, ContractProgress::Failed).await;
        assert_eq!(active(&failed), Some("2.0.0"));
        assert_eq!(condition(&failed, "ContractPending"), ("True".into(), "MigrationFailed".into()));
        let told = message(&failed, "ContractPending");
        assert!(told.contains("--gate contract"), "{told}");
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        assert_eq!(psql(&scene, LEDGER).await, "Applied,Failed");
        // Who approved that run has approved no other.
        let late = approve_contract(&scene, &failed, &digest).await;
        assert_eq!(scene.became(&late).await, ("Refused".into(), "OtherDigest".into()));

        // A fix begins as ever, and its plan says what becomes of the one that failed.
        ask_for(&scene, "2.0.1", "3", (&[], unrehearsed())).await;
        let waiting = scene.until_step(Step::Approve).await;
        let risks = record(&waiting).plan.unwrap().risks;
        let told = |risk: &String| risk.contains("Contract migration of 2.0.0 ended without success (MigrationFailed)");
        assert!(risks.iter().any(told), "{risks:?}");
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("2.0.1"), Some(Outcome::Succeeded)));
        let waits = until_it_waits(&scene, "2.0.1").await;
        approve_contract(&scene, &waits, &contract_digest(&waits)).await;
        let applied = until_it_ended(&scene, ContractProgress::Applied).await;
        assert_eq!(active(&applied), Some("2.0.1"));
        assert_eq!(psql(&scene, COLUMNS).await, "delivery_slot,id,item,placed");
        assert_eq!(psql(&scene, LEDGER).await, "Applied,Failed,Applied");
        load.end("contract-fails").await;
        assert_eq!(held(&scene).await, Vec::<String>::new());
    })
    .await;
}

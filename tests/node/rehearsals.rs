//! Rehearsals on a real node: a pod whose containers run one after the other, with a real copy of the data.

use serde_json::{Value, json};
use switchback::api::{Outcome, ProofLevel, Reason, ReleasePolicy, Step, UndoProgress};

use crate::{
    database_scene::{ORDERS, bring_up, by, make_sql, psql, report},
    harness::{Scene, active, condition, merge, message, proof, record},
    support::{SOON, in_namespace, within},
};

/// The old version as it serves, and how long it may take to get ready.
fn old_version(schema: &str) -> Value {
    json!({ "spec": { "containers": [{
        "name": "web",
        "image": "localhost/demo-app:dev",
        "env": [{ "name": "SCHEMA", "value": schema }, { "name": "DRAIN_SECONDS", "value": "0" }],
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1 },
        "startupProbe": { "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 20 },
    }]}})
}

pub fn by_command(more: Value) -> Value {
    let mut migration = json!({ "workload": "web", "command": ["/demo-app", "migrate", "up"], "idempotent": true });
    merge(&mut migration, more);
    by(migration)
}

pub async fn serving(scene: &Scene<'_>) {
    bring_up(scene).await;
    scene.ask_for("1.0.0", &[("SCHEMA", "1")], by_command(json!({}))).await;
    scene.approve().await;
    let over = scene.until_over().await;
    assert_eq!(active(&over), Some("1.0.0"), "{}", report(scene).await);
}

pub const COLUMNS: &str = "SELECT string_agg(column_name, ',' ORDER BY column_name) FROM information_schema.columns \
    WHERE table_name = 'orders'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_gets_ready_on_the_migrated_copy_and_down_takes_it_back() {
    in_namespace("rehearse", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let rehearse =
            json!({ "rehearse": { "contract": old_version("1") }, "down": ["/demo-app", "migrate", "down"] });
        scene.ask_for("2.0.0", &[("SCHEMA", "2")], by_command(rehearse)).await;
        let waiting = scene.until_step(Step::Approve).await;
        let steps = record(&waiting).plan.unwrap().steps;
        let does = &steps.iter().find(|planned| planned.step == Step::Rehearse).unwrap().does;
        assert!(does.contains("must get ready") && does.contains("`/demo-app migrate down` takes it back"), "{does}");
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", report(&scene).await);
        let rehearsal = record(&over).rehearsal.unwrap();
        assert!(rehearsal.findings.down.is_some() && rehearsal.findings.changes == 1, "{rehearsal:?}");
        // The lab enforces no NetworkPolicy.
        assert!(rehearsal.findings.reaches_production);
        proof("rehearsal-contract", &serde_json::to_string(&rehearsal).unwrap());
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        // A policy makes that a failure, before anything is migrated.
        let isolated = json!({ "database": { "rehearsalReachesProduction": "Forbidden" } });
        let body = json!({ "metadata": { "name": "isolated" }, "spec": isolated });
        namespace.make::<ReleasePolicy>(&namespace.cluster.admin, &body).await.unwrap();
        scene.ask_for("3.0.0", &[("SCHEMA", "3")], by_command(json!({}))).await;
        scene.approve().await;
        let over = scene.until_over().await;
        let reason = Reason::RehearsalReachesProduction.as_str();
        assert_eq!(condition(&over, "Stalled"), ("True".into(), reason.into()), "{}", report(&scene).await);
        assert_eq!((active(&over), psql(&scene, COLUMNS).await.contains("address")), (Some("2.0.0"), true));
    })
    .await;
}

/// An image that has PostgreSQL's own client, which reads a passfile.
const PSQL: &str = "localhost/postgres-tools-15:dev";

/// A pod of its own that connects by itself, with the database's Secret as a folder; of that the rehearsal gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_in_a_pod_of_its_own_that_connects_by_itself_is_rehearsed_without_its_secret() {
    in_namespace("rehearse-pod", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let pod = json!({ "spec": {
            "containers": [{
                "name": "migrate",
                "image": PSQL,
                "volumeMounts": [{ "name": "database", "mountPath": "/database", "readOnly": true }],
            }],
            "volumes": [{ "name": "database", "secret": { "secretName": "shop-db" } }],
        }});
        let command = ["psql", "-v", "ON_ERROR_STOP=1", "-c", "ALTER TABLE orders ADD COLUMN delivery_slot text"];
        let migration = json!({ "pod": pod, "command": command, "direct": true });
        scene.ask_for("2.0.0", &[("SCHEMA", "2")], by(migration)).await;
        let waiting = scene.until_step(Step::Approve).await;
        let risks = record(&waiting).plan.unwrap().risks;
        assert!(risks.iter().any(|risk| risk.contains("connects by itself (direct)")), "{risks:?}");
        scene.approve().await;
        scene.until_step(Step::Rehearse).await;
        let api: kube::Api<k8s_openapi::api::core::v1::Pod> = namespace.api(&namespace.cluster.admin);
        let of_rehearsal = kube::api::ListParams::default().labels("switchback.dev/verb=rehearse");
        let pod = within(SOON * 2, "the rehearsal's pod is there", async || {
            api.list(&of_rehearsal).await.unwrap().items.pop()
        })
        .await;
        // The label is the one by which docs/rehearsals.md keeps it away. Of the containers of users none has a Secret.
        let spec = pod.spec.unwrap();
        let secrets: Vec<&str> = {
            let volumes = spec.volumes.iter().flatten();
            let of_secrets = volumes.filter(|volume| volume.secret.is_some() || volume.projected.is_some());
            of_secrets.map(|volume| volume.name.as_str()).collect()
        };
        let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
        let theirs: Vec<_> = containers().filter(|container| container.image.as_deref() == Some(PSQL)).collect();
        assert!(!theirs.is_empty(), "{spec:?}");
        for mount in theirs.iter().flat_map(|container| container.volume_mounts.iter().flatten()) {
            assert!(!secrets.contains(&mount.name.as_str()) && mount.mount_path != "/database", "{mount:?}");
        }
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", report(&scene).await);
        let rehearsal = record(&over).rehearsal.unwrap();
        assert_eq!(rehearsal.findings.changes, 1, "{rehearsal:?}");
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        let ledger = "SELECT string_agg(state, ',' ORDER BY began) FROM switchback.ledger";
        assert_eq!(psql(&scene, ledger).await, "Applied,Applied");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_finds_nothing_due_spares_rehearsal_and_migration() {
    in_namespace("pending", async |namespace| {
        let scene = Scene::new(namespace).await;
        let asking = || by_command(json!({ "pending": ["/demo-app", "migrate", "pending"] }));
        bring_up(&scene).await;
        // Due: nothing is there yet.
        scene.ask_for("1.0.0", &[("SCHEMA", "1")], asking()).await;
        let waiting = scene.until_step(Step::Approve).await;
        let steps = record(&waiting).plan.unwrap().steps;
        assert!(
            steps.iter().any(|planned| planned.does.contains("due, says `/demo-app migrate pending`")),
            "{steps:?}"
        );
        assert_eq!(psql(&scene, "SELECT count(*) FROM pg_class WHERE relname = 'demo_migrations'").await, "0");
        scene.approve().await;
        assert_eq!(active(&scene.until_over().await), Some("1.0.0"), "{}", report(&scene).await);
        // Another version on the same schema.
        let load = scene.load().await;
        scene.ask_for("1.1.0", &[("SCHEMA", "1")], asking()).await;
        let waiting = scene.until_step(Step::Approve).await;
        let steps = record(&waiting).plan.unwrap().steps;
        assert!(!steps.iter().any(|planned| [Step::Rehearse, Step::Migrate].contains(&planned.step)), "{steps:?}");
        let backup = steps.iter().find(|planned| planned.step == Step::Backup).unwrap();
        assert!(backup.does.contains("Nothing of its migration is due"), "{}", backup.does);
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("1.1.0"), "{}", report(&scene).await);
        assert_eq!(record(&over).backup.unwrap().proof, ProofLevel::Stored);
        assert_eq!(psql(&scene, "SELECT count(*) FROM switchback.ledger").await, "1", "only that of 1.0.0");
        load.end("pending").await;
        // One that cannot tell: it says what schema it wants, and there is no such version.
        scene.ask_for("1.2.0", &[("SCHEMA", "one")], asking()).await;
        let over = scene.until_over().await;
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "PendingUnknown".into()), "{}", report(&scene).await);
        assert!(message(&over, "Stalled").contains("exit code 2"), "{}", message(&over, "Stalled"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_36_an_old_version_that_cannot_live_with_the_schema_stops_the_release() {
    in_namespace("contract", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        let rehearse = json!({ "rehearse": { "contract": old_version("1") } });
        scene.ask_for("3.0.0", &[("SCHEMA", "3")], by_command(rehearse)).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(
            condition(&over, "Stalled"),
            ("True".into(), "ContractTestFailed".into()),
            "{}",
            report(&scene).await
        );
        assert!(message(&over, "Stalled").contains("container contract-0 ended"), "{}", message(&over, "Stalled"));
        assert_eq!(psql(&scene, COLUMNS).await, "address,id,item,placed");
        let counted = load.end("contract").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_on_the_copy_never_runs_on_the_database() {
    in_namespace("rehearse-fails", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        make_sql(&scene, "shop-1", &[("001-orders.sql", ORDERS)]).await;
        scene.serve_first(by(json!({ "sql": { "configMap": "shop-1" } }))).await;
        let wrong = "CREATE TABLE carts (id bigint);\nALTER TABLE cart ADD COLUMN x int;";
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-wrong.sql", wrong)]).await;
        scene.ask_for("2.0.0", &[], by(json!({ "sql": { "configMap": "shop-2" } }))).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "RehearsalFailed".into()), "{}", report(&scene).await);
        let told = message(&over, "Stalled");
        assert!(told.contains("002-wrong.sql line 2: ALTER TABLE cart"), "{told}");
        assert_eq!(psql(&scene, "SELECT count(*) FROM switchback.ledger").await, "1", "only that of 1.0.0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_goes_back_takes_its_migration_back_after_traffic() {
    in_namespace("undone", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        let mut more = by_command(json!({ "down": ["/demo-app", "migrate", "down"] }));
        merge(&mut more, json!({ "rollback": { "database": "Down" } }));
        scene.ask_for("2.0.0", &[("SCHEMA", "2"), ("UNREADY_WHEN_SERVING", "2")], more).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let undo = record(&over).migration.unwrap().undo.unwrap();
        assert_eq!(undo.state, UndoProgress::Undone, "{}", report(&scene).await);
        assert_eq!(psql(&scene, COLUMNS).await, "address,id,item,placed");
        let ledger = "SELECT string_agg(state, ',' ORDER BY began) FROM switchback.ledger";
        assert_eq!(psql(&scene, ledger).await, "Applied,Undone");
        load.end("undone").await;
    })
    .await;
}

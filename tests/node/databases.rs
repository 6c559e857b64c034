//! Releases with a database: a real PostgreSQL, a real S3 server, every request counted.

use std::time::Duration;

use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    networking::v1::NetworkPolicy,
};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use switchback::api::{
    BackupStorage, DatabaseBackup, DatabaseInstance, MigrationProgress, Outcome, ProofLevel, Step,
    labels::{IN_USE, RELEASE_UID},
};

use crate::{
    canary::Witness,
    database_scene::{
        ORDERS, SLOT, apply, backups, bring_up, by, by_sql, held, make_sql, make_storage, psql, report,
        until_backed_up, until_recorded,
    },
    harness::{Scene, active, condition, merge, message, names_of, proof, record},
    support::{SOON, in_namespace, within},
};

/// What the plan that waits says of who may reach the database.
async fn reach(scene: &Scene<'_>) -> Vec<String> {
    let waiting = scene.until_step(Step::Approve).await;
    record(&waiting).plan.unwrap().risks.into_iter().filter(|risk| risk.contains("NetworkPolicy")).collect()
}

/// A database and version 1.0.0 on it.
async fn serving(scene: &Scene<'_>) {
    bring_up(scene).await;
    make_sql(scene, "shop-1", &[("001-orders.sql", ORDERS)]).await;
    scene.serve_first(by_sql("shop-1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_t19_a_release_with_a_migration_backs_up_proves_migrates_loses_no_request_and_tells_no_secret() {
    in_namespace("migrate", async |namespace| {
        let scene = Scene::new(namespace).await;
        let witness = Witness::of(&scene);
        serving(&scene).await;
        // Somebody else's password on the server, which a dump of roles could hold.
        let clerk = format!("of-the-clerk-of-{}", namespace.name);
        apply::<Secret>(&scene, "clerk", json!({ "stringData": { "password": clerk } })).await;
        psql(&scene, &format!("CREATE ROLE clerk LOGIN PASSWORD '{clerk}'; GRANT SELECT ON orders TO clerk")).await;
        let load = scene.load().await;
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT)]).await;
        scene.ask_for("2.0.0", &[], by_sql("shop-2")).await;
        let waiting = scene.until_step(Step::Approve).await;
        let steps = record(&waiting).plan.unwrap().steps;
        let said = |step| steps.iter().find(|planned| planned.step == step).unwrap().does.clone();
        assert!(said(Step::Backup).contains("PostgreSQL 15."), "{}", said(Step::Backup));
        assert!(said(Step::Migrate).contains("1 file due: 002-slot.sql"), "{}", said(Step::Migrate));
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", report(&scene).await);
        let counted = load.end("good-migration").await;
        assert!(counted.by_version.contains_key("1.0.0") && counted.by_version.contains_key("2.0.0"));
        // I1: one row of the ledger; I2: it began after the proof of the backup that it names.
        let record = record(&over);
        assert_eq!(record.migration.as_ref().unwrap().state, MigrationProgress::Applied);
        let (backup, uid) = (record.backup.unwrap(), over.metadata.uid.clone().unwrap());
        let row = format!("release_uid = '{uid}' AND backup_uid = '{}'", backup.uid);
        assert_eq!(
            psql(&scene, &format!("SELECT count(*), min(state) FROM switchback.ledger WHERE {row}")).await,
            "1|Applied"
        );
        let all = backups(&scene).await;
        let proven = all.iter().find(|found| found.metadata.uid.as_ref() == Some(&backup.uid)).unwrap();
        let status = proven.status.clone().unwrap();
        let proven_at = status.proof.as_ref().unwrap().at.0;
        let began = psql(&scene, &format!("SELECT extract(epoch FROM began) FROM switchback.ledger WHERE {row}")).await;
        assert!(began.parse::<f64>().unwrap() > proven_at.as_millisecond() as f64 / 1000.0, "I2: {began} {proven_at}");
        // The rehearsal has restored it.
        assert_eq!(status.proof.as_ref().unwrap().level, ProofLevel::Readable);
        let rehearsal = record.rehearsal.unwrap();
        assert_eq!(rehearsal.backup, backup.uid);
        assert!(rehearsal.at.0 < record.migration.unwrap().ended_at.unwrap().0);
        assert_eq!((rehearsal.findings.changes, rehearsal.findings.files.len()), (1, 1), "{rehearsal:?}");
        assert_eq!(status.rows, Some(500));
        proof("rehearsal", &serde_json::to_string(&rehearsal).unwrap());
        proof("backup", &serde_json::to_string(&status).unwrap());
        assert_eq!(psql(&scene, "SELECT count(delivery_slot), count(*) FROM orders").await, "0|500");
        // Nobody waited for it: what became of the release stands beside its backup.
        let written = until_recorded(&scene).await;
        let entry = self::record(&written).history.pop().unwrap();
        assert_eq!(entry.backup.as_ref(), Some(&backup.name));
        assert!(entry.digest.is_some() && entry.decisions.iter().any(|by| by.kind == "approve"), "{entry:?}");
        proof("history", &serde_json::to_string(&entry).unwrap());
        // Both backups stay, nobody holds them, and nothing else is left.
        assert_eq!((all.len(), held(&scene).await.len()), (2, 0));
        let jobs = names_of(&scene, "batch/v1", "Job").await;
        assert!(!jobs.iter().any(|job| job.contains("migrate") || job.contains("preflight")), "{jobs:?}");
        let (told, searched) = witness.found().await;
        assert!(told.is_empty() && searched > 100, "{searched} places, of which tell: {told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_32_a_failing_migration_never_touches_what_serves_and_its_statement_is_named() {
    in_namespace("migrate-fails", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        let wrong = "CREATE TABLE carts (id bigint);\nALTER TABLE cart ADD COLUMN x int;";
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT), ("003-wrong.sql", wrong)])
            .await;
        let migration = json!({ "sql": { "configMap": "shop-2" }, "rehearse": { "enabled": false } });
        scene.ask_for("2.0.0", &[], by(migration)).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "MigrationFailed".into()));
        let told = message(&over, "Stalled");
        assert!(told.contains("003-wrong.sql") && told.contains("ALTER TABLE cart"), "{told}");
        let counted = load.end("migration-fails").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0"]);
        // The ledger is truthful: the second file is in, the third is not and left nothing.
        let ledger = "SELECT string_agg(state, ',' ORDER BY began) FROM switchback.ledger";
        assert_eq!(psql(&scene, ledger).await, "Applied,Failed");
        assert_eq!(psql(&scene, "SELECT count(*) FROM switchback.ledger_files").await, "2");
        assert_eq!(psql(&scene, "SELECT to_regclass('public.carts') IS NULL").await, "t");
        assert_eq!(names_of(&scene, "apps/v1", "Deployment").await.len(), 3, "the application, postgres and s3");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backup_nothing_is_migrated() {
    in_namespace("no-backup", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT)]).await;
        make_storage(&scene, "nowhere", "no-such-bucket").await;
        let mut database = by_sql("shop-2");
        database["database"]["backup"] = json!({ "storage": ["nowhere"] });
        scene.ask_for("2.0.0", &[], database).await;
        let over = scene.until_over().await;
        assert_eq!(
            condition(&over, "Stalled"),
            ("True".into(), "DestinationNotWritable".into()),
            "{}",
            report(&scene).await
        );
        // One that goes after the approval: found by the second look.
        make_sql(&scene, "shop-3", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT)]).await;
        scene.ask_for("3.0.0", &[], by_sql("shop-3")).await;
        scene.until_step(Step::Approve).await;
        let scale = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> = namespace.api(&namespace.cluster.admin);
        deployments.patch("s3", &PatchParams::default(), &scale).await.unwrap();
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        load.end("no-backup").await;
        assert_eq!(psql(&scene, "SELECT count(*) FROM switchback.ledger").await, "1", "only that of 1.0.0");
        assert_eq!(backups(&scene).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_the_workload_migrates_through_the_agents_port() {
    in_namespace("command", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        let command = json!({ "workload": "web", "command": ["/demo-app", "migrate", "up"], "idempotent": true });
        scene.ask_for("1.0.0", &[("SCHEMA", "1")], by(command.clone())).await;
        // A13: nothing says who may reach the database.
        let bare = "Database shop: no NetworkPolicy covers its pods behind Service postgres";
        let told = reach(&scene).await;
        assert!(told.iter().any(|risk| risk.starts_with(bare)), "{told:?}");
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("1.0.0"), "{}", report(&scene).await);
        assert_eq!(psql(&scene, "SELECT to_regclass('public.orders') IS NOT NULL").await, "t");
        // A pod of its own, which fails: its words are told, and 1.0.0 serves on.
        let pod = json!({ "spec": { "containers": [{
            "name": "migrate", "image": "localhost/demo-app:dev",
            "env": [{ "name": "SCHEMA", "value": "2" }, { "name": "MIGRATE_FAIL_IN", "value": "2" }],
        }]}});
        let migration =
            json!({ "pod": pod, "command": ["/demo-app", "migrate", "up"], "rehearse": { "enabled": false } });
        let peers = json!([{ "from": [{ "podSelector": {} }] }]);
        let policy = json!({ "podSelector": { "matchLabels": { "app": "postgres" } }, "ingress": peers });
        apply::<NetworkPolicy>(&scene, "postgres", json!({ "spec": policy })).await;
        scene.ask_for("2.0.0", &[("SCHEMA", "1")], by(migration)).await;
        assert_eq!(reach(&scene).await, Vec::<String>::new());
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::Failed)));
        assert_eq!(condition(&over, "Stalled"), ("True".into(), "MigrationFailed".into()), "{}", report(&scene).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgery_sql_that_was_edited_after_the_approval_does_not_run() {
    in_namespace("edited", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        apply::<k8s_openapi::api::core::v1::ConfigMap>(
            &scene,
            "shop-2",
            json!({ "data": { "001-orders.sql": ORDERS, "002.sql": SLOT } }),
        )
        .await;
        scene.ask_for("2.0.0", &[], by_sql("shop-2")).await;
        scene.until_step(Step::Approve).await;
        let drop = "DROP TABLE orders;";
        apply::<k8s_openapi::api::core::v1::ConfigMap>(
            &scene,
            "shop-2",
            json!({ "data": { "001-orders.sql": ORDERS, "002.sql": drop } }),
        )
        .await;
        scene.approve().await;
        let stale =
            scene.until("the approval is void", |release| condition(release, "Ready").1 == "ApprovalStale").await;
        assert_eq!(record(&stale).step, Step::Approve);
        assert_eq!(psql(&scene, "SELECT count(*) FROM orders").await, "500");
        assert_eq!(backups(&scene).await.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_step_a_release_with_a_migration_ends_the_same() {
    in_namespace("kill-migrate", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        let slow = "SELECT pg_sleep(2); ALTER TABLE orders ADD COLUMN delivery_slot text;";
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", slow)]).await;
        scene.ask_for("2.0.0", &[], by_sql("shop-2")).await;
        scene.approve().await;
        let kills = crate::stopped::kill_at_every_step(&scene).await;
        let over = scene.until_over().await;
        assert!(kills >= 14, "only {kills} kills");
        assert_eq!((active(&over), record(&over).attempts), (Some("2.0.0"), 2), "{}", report(&scene).await);
        load.end("killed-migration").await;
        assert_eq!(psql(&scene, "SELECT count(*), count(DISTINCT revision) FROM switchback.ledger").await, "2|2");
        assert_eq!((backups(&scene).await.len(), held(&scene).await.len()), (2, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_06_and_11_a_migration_that_runs_is_let_end_and_then_the_release_goes() {
    in_namespace("delete-migrate", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let slow = "SELECT pg_sleep(6); ALTER TABLE orders ADD COLUMN delivery_slot text;";
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", slow)]).await;
        let migration = json!({ "sql": { "configMap": "shop-2" }, "rehearse": { "enabled": false } });
        scene.ask_for("2.0.0", &[], by(migration)).await;
        scene.approve().await;
        within(SOON * 4, "the migration runs", async || {
            let began = psql(&scene, "SELECT count(*) FROM switchback.ledger WHERE state = 'Started'").await;
            (began == "1").then_some(())
        })
        .await;
        // What the way back rests on outlives a deletion for as long as the Release needs it.
        let [needed] = held(&scene).await.try_into().unwrap();
        let api: kube::Api<DatabaseBackup> = namespace.api(&namespace.cluster.admin);
        api.delete(&needed, &DeleteParams::default()).await.unwrap();
        within(SOON, "the backup says that it is in use", async || {
            let status = api.get(&needed).await.unwrap().status?;
            status.conditions.iter().any(|condition| condition.type_ == "InUse").then_some(())
        })
        .await;
        scene.releases().delete("shop", &DeleteParams::background()).await.unwrap();
        within(Duration::from_secs(90), "the Release is gone", async || {
            names_of(&scene, "switchback.dev/v1alpha1", "Release").await.is_empty().then_some(())
        })
        .await;
        assert_eq!(psql(&scene, "SELECT count(*) FROM switchback.ledger WHERE state = 'Applied'").await, "2");
        assert_eq!(held(&scene).await.len(), 0);
        within(SOON, "the other backup alone stays", async || (backups(&scene).await.len() == 1).then_some(())).await;
    })
    .await;
}

/// Tells our kinds in a namespace of the servers of another one.
async fn use_servers_of(servers: &Scene<'_>, scene: &Scene<'_>) {
    let theirs: kube::Api<Secret> = servers.namespace.api(&servers.namespace.cluster.admin);
    for name in ["shop-db", "backup-store"] {
        let secret = theirs.get(name).await.unwrap();
        apply::<Secret>(scene, name, json!({ "data": secret.data })).await;
    }
    let s3 = json!({
        "bucket": "backups", "endpoint": format!("http://s3.{}.svc:7070", servers.namespace.name),
        "region": "us-east-1", "secret": "backup-store",
    });
    apply::<BackupStorage>(scene, "offsite", json!({ "spec": { "s3": s3 } })).await;
    let spec = json!({
        "environment": "Staging", "postgres": { "secret": "shop-db" }, "backups": { "storage": ["offsite"] },
    });
    apply::<DatabaseInstance>(scene, "shop", json!({ "spec": spec })).await;
}

/// Nothing can hold a namespace: what runs in it is told to end. What counts is the database, which is elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_59_a_namespace_deleted_while_a_migration_runs_goes_and_leaves_the_database_whole() {
    in_namespace("elsewhere", async |elsewhere| {
        let servers = Scene::without_controller(elsewhere).await;
        bring_up(&servers).await;
        psql(&servers, &format!("SET ROLE shop; {ORDERS}")).await;
        in_namespace("deleted-migrate", async |namespace| {
            let scene = Scene::new(namespace).await;
            use_servers_of(&servers, &scene).await;
            let slow = format!("{SLOT} INSERT INTO orders (address) VALUES ('half way'); SELECT pg_sleep(50);");
            make_sql(&scene, "shop-2", &[("001-slot.sql", slow.as_str())]).await;
            let migration = json!({ "sql": { "configMap": "shop-2" }, "rehearse": { "enabled": false } });
            scene.ask_for("1.0.0", &[], by(migration)).await;
            scene.approve().await;
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop'";
            let asleep = format!("{sessions} AND wait_event = 'PgSleep'");
            within(SOON * 4, "the migration runs", async || (psql(&servers, &asleep).await == "1").then_some(())).await;
            let namespaces: kube::Api<Namespace> = kube::Api::all(namespace.cluster.admin.clone());
            namespaces.delete(&namespace.name, &DeleteParams::background()).await.unwrap();
            let gone = tokio::time::timeout(SOON * 3, async {
                while namespaces.get_opt(&namespace.name).await.unwrap().is_some() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
            if gone.await.is_err() {
                panic!("it stays: {:?}\n{}", namespaces.get(&namespace.name).await, report(&scene).await);
            }
            // Nothing works on, nothing of it is left, and whoever comes next finds that written down.
            assert_eq!(psql(&servers, sessions).await, "0");
            assert_eq!(psql(&servers, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await, "0");
            let orders = "SELECT count(*), count(*) FILTER (WHERE address = 'half way') FROM orders";
            assert_eq!(psql(&servers, orders).await, "500|0");
            let ledger = "SELECT string_agg(state, ',') FROM switchback.ledger";
            assert_eq!(psql(&servers, ledger).await, "Failed");
            let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders'";
            assert_eq!(psql(&servers, columns).await, "2");
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_there_already_is_used_and_one_from_before_the_last_migration_is_not() {
    in_namespace("reuse", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        // Version 1's own is younger than an hour too, and holds what was there before its migration.
        apply::<DatabaseBackup>(&scene, "by-hand", json!({ "spec": { "database": "shop", "proof": "Readable" } }))
            .await;
        let by_hand = until_backed_up(&scene, "by-hand").await;
        let before = backups(&scene).await.len();
        make_sql(&scene, "shop-2", &[("001-orders.sql", ORDERS), ("002-slot.sql", SLOT)]).await;
        let mut spec = by_sql("shop-2");
        spec["database"]["backup"] = json!({ "reuse": "1h" });
        scene.ask_for("2.0.0", &[], spec).await;
        scene.approve().await;
        scene.until_step(Step::Rehearse).await;
        assert_eq!(held(&scene).await, ["by-hand"]);
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.0"), "{}", report(&scene).await);
        let record = record(&over);
        assert_eq!(record.backup.map(|backup| backup.uid), by_hand.metadata.uid);
        assert_eq!(record.rehearsal.map(|rehearsal| rehearsal.backup), by_hand.metadata.uid);
        assert_eq!(record.migration.unwrap().state, MigrationProgress::Applied);
        let written = until_recorded(&scene).await;
        assert_eq!(written.status.unwrap().record.history.last().unwrap().backup.as_deref(), Some("by-hand"));
        let named = "SELECT count(*) FROM switchback.ledger WHERE backup_uid = ";
        let named = psql(&scene, &format!("{named}'{}'", by_hand.metadata.uid.unwrap())).await;
        assert_eq!((named.as_str(), backups(&scene).await.len(), held(&scene).await.len()), ("1", before, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_by_hand_needs_a_marked_database_and_is_proven_on_a_volume_too() {
    in_namespace("by-hand", async |namespace| {
        let scene = Scene::new(namespace).await;
        bring_up(&scene).await;
        psql(&scene, "SET ROLE shop; CREATE TABLE orders AS SELECT n FROM generate_series(1, 1000) AS n").await;
        let instances: kube::Api<DatabaseInstance> = namespace.api(&namespace.cluster.admin);
        let seen = within(SOON * 2, "the database is known", async || {
            instances.get("shop").await.unwrap().status.unwrap_or_default().identity
        })
        .await;
        // Nobody has accepted it yet.
        apply::<DatabaseBackup>(&scene, "early", json!({ "spec": { "database": "shop" } })).await;
        let claim = json!({
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "lab", "resources": { "requests": { "storage": "1Gi" } } },
        });
        apply::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(&scene, "disk", claim).await;
        apply::<switchback::api::BackupStorage>(&scene, "disk", json!({ "spec": { "volume": { "claim": "disk", "path": "backups" } } })).await;
        let word = format!("{}/{}/{}/none", seen.system_identifier, seen.oid, seen.name);
        let patch = Patch::Merge(json!({ "spec": { "adoptIdentity": word } }));
        instances.patch("shop", &PatchParams::default(), &patch).await.unwrap();
        within(SOON * 2, "the database is marked", async || {
            instances.get("shop").await.unwrap().status.unwrap_or_default().identity?.marker
        })
        .await;
        let spec = json!({ "spec": { "database": "shop", "storage": ["offsite", "disk"], "proof": "Restored" } });
        apply::<DatabaseBackup>(&scene, "by-hand", spec).await;
        let done = until_backed_up(&scene, "by-hand").await;
        let status = done.status.unwrap();
        assert_eq!(status.phase, "Completed", "{}", report(&scene).await);
        assert_eq!((status.copies.len(), status.rows), (2, Some(1000)));
        assert_eq!(status.proof.unwrap().level, ProofLevel::Restored);

        // One whose Release was removed by force: nobody else takes the finalizer off.
        let left = json!({
            "metadata": { "labels": { RELEASE_UID: "of-a-release-that-is-gone" }, "finalizers": [IN_USE] },
            "spec": { "database": "shop-of-nobody" },
        });
        apply::<DatabaseBackup>(&scene, "left", left).await;
        let api: kube::Api<DatabaseBackup> = namespace.api(&namespace.cluster.admin);
        api.delete("left", &DeleteParams::default()).await.unwrap();
        within(SOON, "it goes", async || api.get_opt("left").await.unwrap().is_none().then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sql_check_asks_the_database_from_a_pod_of_its_own_before_the_switch_and_while_it_is_watched() {
    in_namespace("sql-check", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let load = scene.load().await;
        let asks = |at_least: &str| {
            let mut more = by_sql("shop-1");
            let checks = json!({ "watch": { "for": "90s", "tolerate": "0s" }, "checks": [
                { "name": "orders", "phase": "Verify", "sql": { "query": "SELECT count(*) FROM orders", "min": at_least } },
                { "name": "nowhere", "phase": "Watch", "sql": {
                    "query": "SELECT count(*) FROM orders WHERE address = ''", "max": "0", "every": "1s",
                } },
            ] });
            merge(&mut more, checks);
            more
        };
        // The database does not hold what the new version asks for: nothing has moved.
        scene.ask_for("2.0.0", &[], asks("501")).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), condition(&over, "Stalled").1), (Some("1.0.0"), "ChecksFailed".into()), "{}", report(&scene).await);
        assert!(message(&over, "Ready").contains("orders: "), "{}", message(&over, "Ready"));
        // It does; then somebody writes what must not be there, and traffic goes back.
        scene.ask_for("2.1.0", &[], asks("500")).await;
        scene.approve().await;
        scene.until_step(Step::Watch).await;
        psql(&scene, "INSERT INTO orders (address) VALUES ('')").await;
        let over = scene.until_over().await;
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)), "{}", report(&scene).await);
        assert!(message(&over, "Ready").contains("nowhere: "), "{}", message(&over, "Ready"));
        let counted = load.end("sql-check").await;
        assert_eq!(counted.by_version.keys().collect::<Vec<_>>(), ["1.0.0", "2.1.0"]);
        assert_eq!(psql(&scene, "SELECT count(*) FROM orders").await, "501", "a check wrote something");
    })
    .await;
}

//! The data of a backup that come back on a real node: restored beside on the server that serves, while users are served and
//! the controller is killed.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;
use switchback::api::{DatabaseInstance, Outcome, Release, RestoreProgress, RestoreRecord, Step};

use crate::{
    canary::Witness,
    database_scene::{apply, held, psql, report},
    harness::{Scene, active, condition, merge, message, names_of, proof, record},
    rehearsals::{COLUMNS, by_command, serving},
    support::{in_namespace, within},
};

/// How long a controller lives here: long enough to do one thing or two.
const LIFE: Duration = Duration::from_millis(700);
/// How long a restore may take on a busy machine.
const RESTORED: Duration = Duration::from_secs(180);
/// What the administrator of a server writes once, as docs/way-back-of-the-data.md has it.
const KEEPER: &str = "CREATE ROLE shop_admin LOGIN CREATEDB PASSWORD 'kept-where-only-a-restore-may-look'; \
    GRANT shop, pg_signal_backend, pg_read_all_stats TO shop_admin";

/// Tells our kinds of what a restore needs: a role for it, and how much the server may hold.
async fn let_restore(scene: &Scene<'_>) {
    psql(scene, KEEPER).await;
    let login = json!({ "stringData": { "username": "shop_admin", "password": "kept-where-only-a-restore-may-look" } });
    apply::<Secret>(scene, "shop-keeper", login).await;
    let spec = json!({
        "environment": "Staging", "capacity": "20Gi",
        "postgres": { "secret": "shop-db", "admin": "shop-keeper" },
        "backups": { "storage": ["offsite"] },
    });
    apply::<DatabaseInstance>(scene, "shop", json!({ "spec": spec })).await;
}

fn restore(release: &Release) -> Option<RestoreRecord> {
    record(release).migration.and_then(|migration| migration.restore)
}

/// Releases a version that loses its readiness as soon as it serves, and waits until people are asked about the data.
async fn asked(scene: &Scene<'_>) -> Release {
    let mut more = by_command(json!({}));
    merge(&mut more, json!({ "rollback": { "database": "Restore" } }));
    scene.ask_for("2.0.0", &[("SCHEMA", "2"), ("UNREADY_WHEN_SERVING", "2")], more).await;
    scene.approve().await;
    let waiting = async {
        scene
            .until("what would be lost waits for an approval", |release| {
                condition(release, "Reconciling").1 == "DataLossPending"
            })
            .await
    };
    match tokio::time::timeout(RESTORED, waiting).await {
        Ok(waiting) => waiting,
        Err(_) => panic!("nobody is asked: {}", report(scene).await),
    }
}

async fn instance(scene: &Scene<'_>) -> DatabaseInstance {
    let api: Api<DatabaseInstance> = scene.namespace.api(&scene.namespace.cluster.admin);
    api.get("shop").await.unwrap()
}

/// Kills the controller over and over until the attempt has ended.
async fn kill_until_over(scene: &Scene<'_>) -> usize {
    let mut kills = 0;
    while record(&scene.read().await).step != Step::Idle {
        tokio::time::sleep(LIFE).await;
        scene.kill();
        scene.start();
        kills += 1;
    }
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threat_t19_a_release_that_goes_back_brings_its_data_back_when_people_have_said_so_and_tells_no_secret() {
    in_namespace("restored", async |namespace| {
        let scene = Scene::new(namespace).await;
        let witness = Witness::of(&scene);
        serving(&scene).await;
        let_restore(&scene).await;
        let load = scene.load().await;
        let waiting = asked(&scene).await;
        let told = message(&waiting, "Reconciling");
        assert!(told.contains("1.0.0 serves users on the migrated schema"), "{told}");
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed", "nothing runs unasked");
        let before = instance(&scene).await.status.unwrap().identity.unwrap();

        // What is written now is lost as well, and stays in the former database.
        psql(&scene, "INSERT INTO orders (item, address) VALUES ('late tea', 'late street')").await;
        let digest = restore(&waiting).unwrap().plan.unwrap().digest;
        let of_release =
            scene.decide(&waiting, json!({ "approve": { "digest": digest, "gate": "Release" } })).await.unwrap();
        assert_eq!(scene.became(&of_release).await, ("Refused".into(), "TooLate".into()));
        let approve = json!({ "approve": { "digest": digest, "gate": "DataLoss" } });
        let approved = scene.decide(&waiting, approve).await.unwrap();
        let run = async { (kill_until_over(&scene).await, scene.until_over().await) };
        let Ok((kills, over)) = tokio::time::timeout(RESTORED, run).await else {
            panic!("it does not end: {}", report(&scene).await)
        };
        assert_eq!(scene.became(&approved).await, ("Used".into(), "Used".into()));
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        let restore = restore(&over).unwrap();
        assert_eq!(restore.state, RestoreProgress::Restored, "{}", report(&scene).await);
        assert_eq!((restore.approved_by.as_slice(), restore.safety.len()), (["anna".to_owned()].as_slice(), 1));
        assert!(kills >= 5, "only {kills} kills");

        // The database is what the backup says, and the former one is closed and whole.
        assert_eq!(psql(&scene, COLUMNS).await, "address,id,item,placed");
        let late = "SELECT count(*) FROM orders WHERE address = 'late street'";
        assert_eq!(psql(&scene, late).await, "0");
        let closed = "SELECT string_agg(datname, ',') FROM pg_database WHERE NOT datallowconn AND datname LIKE 'shop%'";
        let former = restore.before.clone().unwrap();
        assert_eq!(psql(&scene, closed).await, former);
        assert!(restore.loss.as_ref().unwrap().rows >= 1, "{restore:?}");
        proof("restored", &json!({ "kills": kills, "loss": restore.loss, "before": former }).to_string());
        load.end("restored-load").await;

        // Who it is now is known, and the next release goes on from there.
        let certain = |instance: &DatabaseInstance| {
            let status = instance.status.clone().unwrap_or_default();
            let holds = status.conditions.iter().find(|condition| condition.type_ == "IdentityCertain");
            holds.is_some_and(|condition| condition.status == "True")
                && status.identity.is_some_and(|known| known.oid != before.oid && known.marker != before.marker)
        };
        let known = within(RESTORED, "who the database is now is certain", async || {
            Some(instance(&scene).await).filter(certain)
        })
        .await;
        let oid = psql(&scene, "SELECT oid FROM pg_database WHERE datname = 'shop'").await;
        assert_eq!(known.status.unwrap().identity.unwrap().oid.to_string(), oid);
        let left = names_of(&scene, "batch/v1", "Job").await;
        assert!(!left.iter().any(|job| job.contains("-loss-") || job.contains("-restore-")), "{left:?}");
        assert_eq!(held(&scene).await, Vec::<String>::new());
        scene.ask_for("2.0.1", &[("SCHEMA", "2")], by_command(json!({}))).await;
        scene.approve().await;
        let over = scene.until_over().await;
        assert_eq!(active(&over), Some("2.0.1"), "{}", report(&scene).await);
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        let (told, searched) = witness.found().await;
        assert!(told.is_empty() && searched > 100, "{searched} places, of which tell: {told:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_nobody_lets_go_stay() {
    in_namespace("kept", async |namespace| {
        let scene = Scene::new(namespace).await;
        serving(&scene).await;
        let_restore(&scene).await;
        let load = scene.load().await;
        let waiting = asked(&scene).await;
        load.end("kept").await;
        let before = instance(&scene).await.status.unwrap().identity;
        let reject = scene.decide(&waiting, json!({ "reject": { "gate": "DataLoss" } })).await.unwrap();
        let over = scene.until_over().await;
        assert_eq!(scene.became(&reject).await, ("Used".into(), "Used".into()));
        assert_eq!((active(&over), record(&over).outcome), (Some("1.0.0"), Some(Outcome::RolledBack)));
        assert_eq!(restore(&over).unwrap().state, RestoreProgress::Kept, "{}", report(&scene).await);
        assert!(message(&over, "Stalled").contains("anna rejected that"), "{}", message(&over, "Stalled"));
        assert_eq!(psql(&scene, COLUMNS).await, "address,delivery_slot,id,item,placed");
        assert_eq!(psql(&scene, "SELECT count(*) FROM pg_database WHERE datname LIKE 'shop%'").await, "1");
        assert_eq!(instance(&scene).await.status.unwrap().identity, before);
    })
    .await;
}

//! The Jobs of the agent, as they are sent to the API server.

use serde_json::{Value, json};
use switchback::{
    agent_job::{AgentJob, Image, Owner, Role, Work},
    api::{Environment, JobSettings, PodTemplate, PostgresSettings},
    backup,
    databases::Action,
    protocol::{DatabaseTarget, MigrateParameters, MigrationWork},
};

use crate::backup::{running, seen};

fn postgres() -> PostgresSettings {
    let settings = json!({ "secret": "shop-app", "keys": { "dbname": "database" }, "caSecret": "shop-ca", "migrate": "shop-owner" });
    serde_json::from_value(settings).unwrap()
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap()
}

#[test]
fn job_of_a_backup_that_is_restored() {
    let plan = backup::plan::plan(&seen(|seen| running(seen, 1, false)));
    let [Action::Create { body, .. }] = plan.actions.as_slice() else { panic!("{:?}", plan.actions) };
    insta::assert_snapshot!(yaml(body));
}

#[test]
fn job_of_a_migration_in_the_users_image() {
    let pod = PodTemplate(json!({ "spec": {
        "serviceAccountName": "shop",
        "topologySpreadConstraints": [{}],
        "volumes": [{ "name": "settings", "configMap": { "name": "shop" } }],
        "initContainers": [{ "name": "wait", "image": "wait:1" }],
        "containers": [
            { "name": "proxy", "image": "proxy:1" },
            { "name": "web", "image": "shop:2.4.0", "command": ["serve"], "env": [{ "name": "LOG", "value": "debug" }],
              "readinessProbe": {}, "ports": [{ "containerPort": 8080 }],
              "volumeMounts": [{ "name": "settings", "mountPath": "/etc/shop" }] },
        ],
    } }));
    let postgres = postgres();
    let work = Work::Migrate(MigrateParameters {
        database: DatabaseTarget {
            name: "shop".into(),
            secret: "/secrets/database".into(),
            environment: Environment::Production,
            expect: None,
            endpoint: None,
        },
        release_uid: "release".into(),
        revision: "v1-0123456789".into(),
        backup_uid: "backup".into(),
        work: MigrationWork::Command { argv: vec!["migrate".into(), "up".into()], direct: false },
        idempotent: true,
        again: false,
        timeout: "15m".parse().unwrap(),
        lock_timeout: "2s".parse().unwrap(),
    });
    let settings = JobSettings {
        image_pull_secrets: vec!["pull".into()],
        node_selector: [("disk".to_owned(), "fast".to_owned())].into(),
        ..JobSettings::default()
    };
    let job = AgentJob {
        name: "shop-3-migrate",
        namespace: "shop",
        labels: [("switchback.dev/release-uid", "release".to_owned())].into(),
        owners: vec![Owner { kind: "Release", name: "shop", uid: "release" }.reference()],
        work: &work,
        agent_image: "agent:1",
        image: Image::User { pod: &pod, container: "web" },
        database: Some((&postgres, Role::Migrate)),
        storages: vec![],
        migrations: Some("shop-migrations"),
        scratch: None,
        settings: &settings,
    };
    insta::assert_snapshot!(yaml(&job.manifest()));
}

#[test]
fn a_volume_is_mounted_where_the_agent_is_told_and_the_tools_are_those_of_the_server() {
    let volume = |body: &mut Value| body["spec"] = json!({ "volume": { "claim": "backups", "path": "shop/daily" } });
    let plan = backup::plan::plan(&seen(|seen| {
        seen.storages = crate::backup::storage(volume);
        seen.spec.proof = Some(switchback::api::ProofLevel::Readable);
        running(seen, 1, false);
    }));
    let [Action::Create { body, .. }] = plan.actions.as_slice() else { panic!("{:?}", plan.actions) };
    let pod = &body["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "tools-15:1");
    assert!(
        pod["volumes"]
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "switchback-storage-0", "persistentVolumeClaim": { "claimName": "backups" } }))
    );
    assert!(
        pod["containers"][0]["volumeMounts"]
            .as_array()
            .unwrap()
            .contains(&json!({ "name": "switchback-storage-0", "mountPath": "/storage/offsite" }))
    );
    let parameters: Value = serde_json::from_str(pod["containers"][0]["args"][2].as_str().unwrap()).unwrap();
    assert_eq!(parameters["storages"][0]["place"], json!({ "volume": { "path": "/storage/offsite/shop/daily" } }));
    // No scratch server where nothing is restored.
    assert_eq!(pod["initContainers"].as_array().unwrap().len(), 1);
}

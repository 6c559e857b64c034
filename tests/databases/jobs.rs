//! The Jobs of the agent, as they are sent to the API server.

use serde_json::{Value, json};
use switchback::{
    agent_job::{AgentJob, Image, Owner, Rehearsal, Role, Scratch, Work},
    api::{Environment, JobSettings, PodTemplate, PostgresSettings, RehearsalVariable, ScratchSettings},
    backup,
    databases::Action,
    protocol::{DatabaseTarget, MigrateParameters, MigrationWork, RestoreDataParameters},
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
        schema: String::new(),
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
        also: &[],
        storages: vec![],
        migrations: Some("shop-migrations"),
        scratch: None,
        rehearsal: None,
        settings: &settings,
    };
    insta::assert_snapshot!(yaml(&job.manifest()));
}

#[test]
fn a_job_that_asks_what_is_due_only_reads_and_is_the_users_pod() {
    let pod = PodTemplate(
        json!({ "spec": { "containers": [{ "name": "web", "image": "shop:2.4.0", "command": ["serve"] }] } }),
    );
    let postgres = postgres();
    let parameters = json!({
        "database": { "name": "shop", "secret": "/secrets/database", "environment": "Production" },
        "argv": ["migrate", "pending"], "timeout": "2m", "lockTimeout": "2s",
    });
    let work = Work::Pending(serde_json::from_value(parameters).unwrap());
    let job = AgentJob {
        name: "shop-3-inspect-0-pending",
        namespace: "shop",
        labels: [("switchback.dev/release-uid", "release".to_owned())].into(),
        owners: vec![Owner { kind: "Release", name: "shop", uid: "release" }.reference()],
        work: &work,
        agent_image: "agent:1",
        image: Image::User { pod: &pod, container: "web" },
        database: Some((&postgres, Role::Migrate)),
        also: &[],
        storages: vec![],
        migrations: None,
        scratch: None,
        rehearsal: None,
        settings: &JobSettings::default(),
    };
    insta::assert_snapshot!(yaml(&job.manifest()));
}

#[test]
fn a_job_that_restores_has_the_files_of_three_roles_and_is_neither_tried_again_nor_ended_by_kubernetes() {
    let postgres =
        PostgresSettings { backup: Some("shop-reader".into()), admin: Some("shop-keeper".into()), ..postgres() };
    let s3 = json!({ "bucket": "backups", "secret": "backup-store" });
    let storage = serde_json::from_value(json!({ "s3": s3 })).unwrap();
    let target = json!({ "name": "offsite", "place": { "s3": s3 } });
    let parameters = json!({
        "database": { "name": "shop", "secret": "/secrets/database", "environment": "Production" },
        "reader": { "secret": Role::Backup.folder() }, "admin": { "secret": Role::Admin.folder() },
        "maintenance": "postgres", "storage": target, "capacityBytes": 1_u64 << 40, "id": "3f0c1a2b7",
        "copy": { "storage": "offsite", "manifest": "a/manifest.json", "sha256": "aa" }, "backupUid": "backup",
        "safety": { "storages": [target], "backupUid": "decision", "attempt": 1, "proof": "Readable" }, "timeout": "6h",
    });
    let parameters: RestoreDataParameters = serde_json::from_value(parameters).unwrap();
    let work = Work::RestoreData(Box::new(parameters));
    let job = AgentJob {
        name: "shop-7-restore-1",
        namespace: "shop",
        labels: [("switchback.dev/release-uid", "release".to_owned())].into(),
        owners: vec![Owner { kind: "Release", name: "shop", uid: "release" }.reference()],
        work: &work,
        agent_image: "agent:1",
        image: Image::Tools("tools-15:1"),
        database: Some((&postgres, Role::Migrate)),
        also: &[Role::Backup, Role::Admin],
        storages: vec![("offsite", &storage)],
        migrations: None,
        scratch: None,
        rehearsal: None,
        settings: &JobSettings::default(),
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

/// A pod of users with everything that could lead somewhere: none of it may be in a rehearsal.
fn with_secrets(image: &str) -> PodTemplate {
    PodTemplate(json!({ "spec": {
        "serviceAccountName": "shop", "hostNetwork": true, "shareProcessNamespace": true,
        "securityContext": { "runAsUser": 1000, "fsGroup": 1000 },
        "imagePullSecrets": [{ "name": "pull" }],
        "volumes": [
            { "name": "password", "secret": { "secretName": "canary" } },
            { "name": "mixed", "projected": { "sources": [{ "configMap": { "name": "web" } }, { "secret": { "name": "canary" } }] } },
            { "name": "token", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } },
            { "name": "uploads", "persistentVolumeClaim": { "claimName": "uploads" } },
            { "name": "node", "hostPath": { "path": "/run" } },
            { "name": "vault", "csi": { "driver": "secrets-store.csi.k8s.io" } },
            { "name": "settings", "configMap": { "name": "web" } },
            { "name": "tmp", "emptyDir": {} },
        ],
        "containers": [{
            "name": "web", "image": image,
            "env": [
                { "name": "MODE", "value": "production" },
                { "name": "DATABASE_URL", "valueFrom": { "secretKeyRef": { "name": "canary", "key": "url" } } },
                { "name": "PGHOST", "value": "db.prod" },
                { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "canary", "key": "token" } } },
                { "name": "REGION", "valueFrom": { "configMapKeyRef": { "name": "web", "key": "region" } } },
            ],
            "envFrom": [{ "secretRef": { "name": "canary" } }, { "configMapRef": { "name": "web" } }],
            "volumeMounts": [
                { "name": "password", "mountPath": "/secret" }, { "name": "mixed", "mountPath": "/mixed" },
                { "name": "token", "mountPath": "/token" }, { "name": "uploads", "mountPath": "/uploads" },
                { "name": "node", "mountPath": "/node" }, { "name": "vault", "mountPath": "/vault" },
                { "name": "settings", "mountPath": "/settings" }, { "name": "tmp", "mountPath": "/tmp" },
            ],
            "ports": [{ "name": "http", "containerPort": 8080, "hostPort": 8080 }],
            "readinessProbe": { "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 2, "successThreshold": 3 },
            "livenessProbe": { "httpGet": { "path": "/live", "port": "http" } },
            "lifecycle": { "preStop": { "sleep": { "seconds": 10 } } },
        }],
    } }))
}

fn rehearsal(image: Image<'_>, rehearsal: Rehearsal<'_>, migrations: Option<&str>) -> Value {
    let parameters = json!({
        "storage": { "name": "offsite", "place": { "s3": { "bucket": "backups", "secret": "/secrets/storage/offsite" } } },
        "copy": { "storage": "offsite", "manifest": "marker/time-backup/1/manifest.json", "sha256": "bb" },
        "migration": {
            "database": { "name": "the copy of shop", "secret": "/run/scratch/database", "environment": "Production" },
            "releaseUid": "release", "revision": "v1-0123456789", "backupUid": "backup",
            "work": { "command": { "argv": ["migrate", "up"] } }, "idempotent": true, "timeout": "15m", "lockTimeout": "2s",
        },
        "production": "db.prod:5432",
    });
    let work = Work::Rehearse(Box::new(serde_json::from_value(parameters).unwrap()), "6h".parse().unwrap());
    let storage = serde_json::from_value(json!({ "s3": { "bucket": "backups", "secret": "backup-store" } })).unwrap();
    let job = AgentJob {
        name: "shop-3-rehearse",
        namespace: "shop",
        labels: [("switchback.dev/release-uid", "release".to_owned())].into(),
        owners: vec![Owner { kind: "Release", name: "shop", uid: "release" }.reference()],
        work: &work,
        agent_image: "agent:1",
        image,
        database: None,
        also: &[],
        storages: vec![("offsite", &storage)],
        migrations,
        scratch: Some(Scratch { image: "tools-15:1", settings: &ScratchSettings::default(), database_bytes: 1 << 30 }),
        rehearsal: Some(rehearsal),
        settings: &JobSettings::default(),
    };
    job.manifest()
}

#[test]
fn a_rehearsal_has_no_secret_but_the_storages_where_no_code_of_users_runs() {
    let (pod, old) = (with_secrets("shop:2"), with_secrets("shop:1"));
    let env: Vec<RehearsalVariable> = serde_json::from_value(
        json!([{ "name": "TOKEN", "value": "of nothing" }, { "name": "MODE", "value": "test" }]),
    )
    .unwrap();
    let all = Rehearsal { env: &env, contract: Some(&old), down: true };
    let job = rehearsal(Image::User { pod: &pod, container: "web" }, all, None);
    let text = job.to_string();
    for secret in
        ["canary", "uploads", "hostPath", "csi", "serviceAccountToken", "hostNetwork", "db.prod\"", "hostPort"]
    {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(job.pointer("/spec/template/spec/serviceAccountName").is_none());
    let containers = |part: &str| job["spec"]["template"]["spec"][part].as_array().unwrap().clone();
    for container in containers("initContainers").into_iter().chain(containers("containers")) {
        let mounts = container["volumeMounts"].to_string();
        assert_eq!(mounts.contains("/secrets/"), container["name"] == "restore", "{container}");
    }
    insta::assert_snapshot!(yaml(&job));
}

#[test]
fn files_of_sql_are_rehearsed_in_the_agents_own_image() {
    let none = Rehearsal { env: &[], contract: None, down: false };
    let job = rehearsal(Image::Agent, none, Some("shop-migrations"));
    let pod = &job["spec"]["template"]["spec"];
    let names: Vec<&str> =
        pod["initContainers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["inject", "scratch", "restore", "rehearse"]);
    let mounts = pod["initContainers"][3]["volumeMounts"].to_string();
    assert!(mounts.contains("/migrations") && mounts.contains("/run/scratch"), "{mounts}");
    assert_eq!(pod["initContainers"][3]["image"], "agent:1");
    assert_eq!(job["spec"]["suspend"], false);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 6 * 3600 + 900);
}

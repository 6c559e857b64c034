//! What became of a release, beside the backup that it took: in a real S3 server and on a volume.

use std::fs;

use serde_json::{Value, json};
use switchback::{
    agent::report,
    api::Reason,
    protocol::{ReportParameters, StorageTarget},
};

use crate::{
    support::s3::S3,
    world::{SHOP, World, files, s3_target},
};

const RELEASE: &str = "7d0c1d2a-6c1f-4f7e-9a57-0d3c3a1f0005";

/// A backup in both, and what is asked for of it.
async fn backed_up(world: &World, s3: &S3) -> (Vec<StorageTarget>, ReportParameters) {
    let storages = vec![s3_target(s3), world.volume()];
    let result = world.backup(&world.parameters(&storages)).await.unwrap();
    let parameters = ReportParameters {
        storages: storages.clone(),
        manifest: result.copies[0].manifest.clone(),
        release: RELEASE.into(),
        attempt: 3,
        report: json!({ "attempt": { "outcome": "Succeeded", "decisions": [{ "kind": "approve", "actor": "anna" }] } }),
    };
    (storages, parameters)
}

/// Every report that is stored somewhere.
fn stored(world: &World, s3: &S3) -> Vec<Value> {
    let all = [files(&s3.objects), files(&world.path("volume"))].concat();
    let reports =
        all.iter().filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("release-")));
    reports.map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_stands_beside_the_manifest_in_each_storage_and_never_changes() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let (_, parameters) = backed_up(&world, &s3).await;
    let keys = report::run(&parameters).await.unwrap().keys;
    assert_eq!(keys[0], parameters.manifest.replace("manifest.json", &format!("release-{RELEASE}-3.json")));
    assert!(keys[0].starts_with("team-a/") && !keys[1].starts_with("team-a/"), "{keys:?}");
    assert_eq!(stored(&world, &s3), [parameters.report.clone(), parameters.report.clone()]);
    // A Job whose word was lost comes again.
    assert_eq!(report::run(&parameters).await.unwrap().keys, keys);
    let other = ReportParameters { report: json!({ "attempt": { "outcome": "Failed" } }), ..parameters.clone() };
    let refusal = report::run(&other).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::DestinationNotWritable, "{refusal:?}");
    assert_eq!(stored(&world, &s3), [parameters.report.clone(), parameters.report.clone()]);
    // Another attempt, and another Release, may have rested on the same backup.
    let next = ReportParameters { attempt: 4, ..other.clone() };
    let elsewhere = ReportParameters { release: "7d0c1d2a-6c1f-4f7e-9a57-0d3c3a1f0009".into(), ..other };
    for parameters in [&next, &elsewhere] {
        report::run(parameters).await.unwrap();
    }
    assert_eq!(stored(&world, &s3).len(), 6);
    let refusal = report::run(&ReportParameters { release: "../x".into(), ..parameters }).await.unwrap_err();
    assert!(refusal.message.contains("no UUID"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_gone_gets_no_report_and_one_storage_does_not_keep_the_other() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let (_, parameters) = backed_up(&world, &s3).await;
    for file in files(&s3.objects).iter().filter(|file| file.ends_with("manifest.json")) {
        fs::remove_file(file).unwrap();
    }
    let refusal = report::run(&parameters).await.unwrap_err();
    assert!(refusal.message.contains("s3") && refusal.message.contains("manifest.json"), "{refusal:?}");
    let left = [files(&s3.objects), files(&world.path("volume"))].concat();
    let reports: Vec<_> =
        left.iter().filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("release-")).collect();
    assert!(reports.len() == 1 && reports[0].starts_with(world.path("volume")), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_t16_a_key_that_is_no_manifests_leads_nowhere() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let (_, parameters) = backed_up(&world, &s3).await;
    let name = parameters.manifest.trim_start_matches("team-a/");
    for manifest in [
        String::new(),
        "team-a/../manifest.json".to_owned(),
        "team-b/x/manifest.json".to_owned(),
        format!("team-b/{name}"),
        parameters.manifest.replace("manifest.json", "data-0000"),
    ] {
        let asked = ReportParameters { manifest: manifest.clone(), ..parameters.clone() };
        report::run(&asked).await.unwrap_err();
    }
    assert!(stored(&world, &s3).is_empty());
}

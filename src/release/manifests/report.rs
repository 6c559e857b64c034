//! The Job that writes what became of an attempt beside the backup that it rested on; pure.

use serde_json::{Value, json};

use super::{
    super::observed::{InstanceSeen, ReleaseSeen, Settings, StorageSeen},
    Manifest, child_name,
    database::DatabaseJob,
};
use crate::{
    agent_job::{Work, targets},
    api::{ReleaseReport, ReleaseSpec},
    protocol::ReportParameters,
};

/// Returns the name of the Job.
#[must_use]
pub fn report_name(release: &ReleaseSeen, attempt: i64) -> String {
    child_name(&[&release.name, &attempt.to_string(), "report"])
}

/// Returns the Job. Who the Release is, the text does not say: status is about one alone.
#[must_use]
pub fn report_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (report, instance): (&ReleaseReport, &InstanceSeen),
    storages: &[&StorageSeen],
) -> Option<Manifest> {
    let mut text: Value = serde_json::from_str(&report.text).ok()?;
    let whose = json!({ "namespace": release.namespace, "name": release.name, "uid": release.uid });
    text.as_object_mut()?.insert("release".to_owned(), whose);
    let work = Work::Report(ReportParameters {
        storages: storages.iter().map(|storage| targets::storage(&storage.name, &storage.spec)).collect(),
        manifest: report.manifest.clone(),
        release: release.uid.clone(),
        attempt: u32::try_from(report.attempt).ok()?,
        report: text,
    });
    let name = report_name(release, report.attempt);
    let mounted = storages.iter().map(|storage| (storage.name.as_str(), storage.spec.as_ref())).collect();
    let job = DatabaseJob { role: None, storages: mounted, ..DatabaseJob::new(&name, instance, &work) };
    Some(job.manifest((release, settings), spec, None))
}

//! What approvals cover beside the content: how it is released, the database, as whom Jobs run, by which rules, and beside what; pure.

use serde_json::{Map, Value, json};

use super::super::{super::observed::Observed, policies::Policies};
use crate::api::{DatabaseRecord, Record, ReleaseDatabase, ReleaseSpec, Workload};

/// Returns what an approval covers of a database.
pub(super) fn database(database: &ReleaseDatabase, looked: Option<&DatabaseRecord>) -> Value {
    let looked = looked.map(|looked| {
        // What lint makes of it is no part of what runs.
        let pending = looked.pending.as_ref();
        let pending = pending.map(|due| json!({ "checksum": due.checksum, "files": due.files, "names": due.names }));
        json!({
            "uid": looked.uid, "who": looked.fingerprint, "environment": looked.environment,
            "storages": looked.storages, "pending": pending,
        })
    });
    json!({ "asked": database, "looked": looked })
}

/// Adds what of a spec is no part of its revision and decides how it is released; only what is set, so that an upgrade voids
/// no approval.
pub(super) fn parts(spec: &ReleaseSpec, covered: &mut Map<String, Value>) {
    if !spec.hooks.is_empty() {
        covered.insert("hooks".to_owned(), json!(spec.hooks));
    }
    let handover = |workload: &Workload| Some(json!({ "name": workload.name, "handover": workload.handover? }));
    let handovers: Vec<Value> = spec.workloads.iter().filter_map(handover).collect();
    if !handovers.is_empty() {
        covered.insert("handovers".to_owned(), handovers.into());
    }
    let scaled = |workload: &Workload| Some((workload.name.clone(), json!(workload.autoscaling.as_ref()?)));
    let scaled: Map<String, Value> = spec.workloads.iter().filter_map(scaled).collect();
    if !scaled.is_empty() {
        covered.insert("autoscaling".to_owned(), scaled.into());
    }
}

/// Adds as whom Jobs run, and by which rules.
pub(super) fn settings(seen: &Observed, spec: &ReleaseSpec, covered: &mut Map<String, Value>) {
    let jobs = spec.jobs.or(&seen.settings.jobs);
    if !jobs.is_default() {
        covered.insert("jobs".to_owned(), json!(jobs));
    }
    if !seen.policies.is_empty() {
        covered.insert("policies".to_owned(), Policies(&seen.policies).covered());
    }
}

/// Adds beside what the candidate is released: whoever approved it when something well served has not approved it beside
/// something broken, to which nobody can go back.
pub(super) fn circumstances(record: &Record, covered: &mut Map<String, Value>) {
    if record.candidate.as_ref().is_some_and(|candidate| candidate.beside_broken) {
        covered.insert("besideBroken".to_owned(), true.into());
    }
}

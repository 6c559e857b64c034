//! What the plan says of what is taken over, in words; pure.

use serde_json::{Value, json};

use super::super::super::manifests;
use crate::api::{AdoptionRecord, Record, ReleaseSpec, RevisionId};

/// Returns what an approval covers of what is taken over, as long as traffic may go back there.
pub(super) fn covered(record: &Record) -> Option<Value> {
    let serves = |revision: &RevisionId| record.active.as_ref().is_none_or(|active| active.revision == *revision);
    let adoption = record.adoption.as_ref().filter(|adoption| serves(&adoption.revision))?;
    let workloads = adoption.workloads.iter().map(|adopted| {
        json!({
            "workload": adopted.workload, "deployment": adopted.deployment_uid, "service": adopted.service_uid,
            "selector": adopted.selector, "key": adopted.key,
        })
    });
    Some(json!({ "revision": adoption.revision, "workloads": workloads.collect::<Vec<_>>() }))
}

/// Returns what this release takes over.
fn due<'a>(spec: &ReleaseSpec, record: &'a Record) -> Option<&'a AdoptionRecord> {
    let asked = spec.workloads.iter().any(|workload| workload.adopt.is_some());
    record
        .adoption
        .as_ref()
        .filter(|adoption| asked && record.active.as_ref().is_none_or(|active| active.revision == adoption.revision))
}

/// Says what is taken over, and that nothing moves thereby.
pub(super) fn preflight(spec: &ReleaseSpec, record: &Record) -> Option<String> {
    let adoption = due(spec, record)?;
    let taken: Vec<String> = adoption
        .workloads
        .iter()
        .map(|adopted| format!("Deployment {} with Service {}", adopted.deployment, adopted.service))
        .collect();
    Some(format!(
        "Takes over {} as {}: adds labels and owners, and claims the selector as it is. No pod is touched and no traffic \
         moves.",
        taken.join(", "),
        adoption.version
    ))
}

/// Says what is different about a release that takes something over.
pub(super) fn risks(spec: &ReleaseSpec, record: &Record, revision: &RevisionId) -> Vec<String> {
    let Some(adoption) = due(spec, record) else { return vec![] };
    let digits = revision.digits();
    let apart = adoption.workloads.iter().filter_map(|adopted| {
        let (key, value) = adopted.selector.get_key_value(adopted.key.as_ref()?)?;
        Some(format!(
            "Workload {}: pods of this release carry {key}={} instead of {value}, so that Service {} does not select them \
             before they are verified. What else selects by {key}={value} (NetworkPolicies, monitors, budgets, affinities) does \
             not hold for them; from the next release on pods carry what the spec says.",
            adopted.workload,
            manifests::apart(value, digits),
            adopted.service
        ))
    });
    let others = adoption.workloads.iter().map(|adopted| {
        format!(
            "Whatever applies Deployment {} and Service {} today (Argo CD, Flux, Helm) must leave spec.selector of the Service \
             alone from the switch on, and prune neither: docs/adoption.md says how. Deployment {} is scaled to zero after \
             the watch window and removed after rollback.keepPrevious ({}).",
            adopted.deployment, adopted.service, adopted.deployment, spec.rollback.keep_previous
        )
    });
    apart.chain(others).collect()
}

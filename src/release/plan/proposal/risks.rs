//! What could go wrong and can be read from the spec, in words; pure.

use serde_json::Value;

use super::{MOST_RISKS, adoption, config, contract, database, line, scaling, workers};
use crate::api::{PodTemplate, ProofLevel, Record, ReleaseSpec, RevisionId, Workload, is_semantic};

/// Lists what could go wrong and can be read from the spec.
pub(super) fn of(
    (spec, revision): (&ReleaseSpec, &RevisionId),
    record: &Record,
    proof: Option<ProofLevel>,
) -> Vec<String> {
    let mut risks = adoption::risks(spec, record, revision);
    let workloads = spec.workloads.iter().flat_map(|workload| {
        let mut found = Vec::new();
        found.extend(scaling::risks(workload));
        let of_worker = workers::risk(spec, record, workload);
        let of_pod = pod_risks(workload);
        found.extend(of_pod.into_iter().chain(of_worker).map(|risk| format!("Workload {}: {risk}", workload.name)));
        found
    });
    risks.extend(workloads);
    risks.extend(config::risks(spec));
    risks.extend(database::risks(spec, record.database.as_ref(), proof));
    risks.extend(contract::waiting(spec, record).into_iter().chain(contract::withdrawn(record, spec)));
    if !spec.rollback.automatic {
        risks.push(
            "rollback.automatic is false: when it is not well users stay on it until somebody takes them back.".into(),
        );
    }
    if !is_semantic(&spec.version) {
        risks.push(format!("Version {:?} is no semantic version.", spec.version));
    }
    let left_out = risks.len().saturating_sub(MOST_RISKS);
    if left_out > 0 {
        risks.truncate(MOST_RISKS - 1);
        risks.push(format!("And {} more like these.", left_out + 1));
    }
    risks.iter().map(|risk| line(risk)).collect()
}

fn pod_risks(workload: &Workload) -> Vec<String> {
    let template = &workload.template;
    let mut risks = Vec::new();
    for container in template.containers() {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if container.get("readinessProbe").is_none() {
            risks.push(format!("container {name} has no readiness probe: it counts as ready as soon as it runs."));
        }
        if container.pointer("/lifecycle/preStop").is_none() && workload.handed_over().is_none() {
            risks.push(format!(
                "container {name} has no preStop hook: unless it drains on SIGTERM by itself, requests are lost when its pods end."
            ));
        }
        let host_port = container
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|port| port.get("hostPort").is_some());
        if host_port {
            risks.push(format!("container {name} has a hostPort: two versions may not fit on one node."));
        }
    }
    risks.extend(grace_risk(template));
    risks.extend(template.images().filter(|(_, image)| !image.contains('@')).map(|(name, image)| {
        format!("container {name}: {image} is a tag, which can be moved after the approval; a digest cannot.")
    }));
    risks
}

fn grace_risk(template: &PodTemplate) -> Option<String> {
    let grace = template.grace_seconds();
    let longest = template
        .0
        .pointer("/spec/containers")
        .and_then(Value::as_array)?
        .iter()
        .filter_map(|container| container.pointer("/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64))
        .max()
        .unwrap_or(0);
    (grace <= longest).then(|| {
        format!("the grace period of {grace}s is not longer than the preStop sleep of {longest}s: pods are killed while they drain.")
    })
}

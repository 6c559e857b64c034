//! What could go wrong and can be read from the spec, in words; pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{adoption, config, contract, database, scaling, workers};
use crate::api::{
    Duration, PodTemplate, ProofLevel, Record, ReleaseSpec, RevisionId, WatchSettings, Workload, is_semantic,
};

/// How often Kubernetes probes where nothing is said, in seconds.
const PROBE_PERIOD_SECONDS: u64 = 10;
/// How many failures in a row count where nothing is said.
const PROBE_FAILURES: u64 = 3;
/// What is prompt, however little is tolerated: hardly anybody probes more often.
const PROMPT: Duration = Duration::from_secs(5);

/// Lists what could go wrong and can be read from the spec; what weighs most stands first.
pub(super) fn of(
    (spec, revision): (&ReleaseSpec, &RevisionId),
    record: &Record,
    proof: Option<ProofLevel>,
) -> Vec<String> {
    let mut risks = database::risks(spec, record.database.as_ref(), proof);
    risks.extend(contract::waiting(spec, record).into_iter().chain(contract::withdrawn(record, spec)));
    if !spec.rollback.automatic {
        risks.push(
            "rollback.automatic is false: when it is not well users stay on it until somebody takes them back.".into(),
        );
    }
    risks.extend(adoption::risks(spec, record, revision));
    risks.extend(config::risks(spec));
    let named = |workload: &Workload, risk: String| format!("Workload {}: {risk}", workload.name);
    for workload in &spec.workloads {
        risks.extend(scaling::risks(workload));
        risks.extend(workers::risk(spec, record, workload).map(|risk| named(workload, risk)));
    }
    if !is_semantic(&spec.version) {
        risks.push(format!("Version {:?} is no semantic version.", spec.version));
    }
    for workload in &spec.workloads {
        risks.extend(pod_risks(workload, &spec.watch).into_iter().map(|risk| named(workload, risk)));
    }
    risks.extend(of_jobs(spec));
    risks
}

fn pod_risks(workload: &Workload, watch: &WatchSettings) -> Vec<String> {
    let template = &workload.template;
    let mut risks = Vec::new();
    for container in template.containers() {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        match container.get("readinessProbe") {
            None => {
                risks.push(format!("container {name} has no readiness probe: it counts as ready as soon as it runs."));
            }
            Some(probe) => risks.extend(probe_risks((name, container), probe, watch)),
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
    risks.extend(template.images().filter_map(|(name, image)| Some(format!("container {name}: {}", tag_risk(image)?))));
    risks
}

/// Says that an image can be moved.
pub(super) fn tag_risk(image: &str) -> Option<String> {
    (!image.contains('@')).then(|| format!("{image} is a tag, which can be moved after the approval; a digest cannot."))
}

/// Says that of the images that only Jobs run.
fn of_jobs(spec: &ReleaseSpec) -> Vec<String> {
    let of_workloads = spec.workloads.iter().flat_map(|workload| workload.template.images());
    let of_workloads: BTreeSet<&str> = of_workloads.map(|(_, image)| image).collect();
    let all: BTreeSet<&str> = spec.all_images().map(|(_, image)| image).collect();
    all.difference(&of_workloads).filter_map(|image| Some(format!("Jobs: {}", tag_risk(image)?))).collect()
}

fn probe_risks((name, container): (&str, &Value), probe: &Value, watch: &WatchSettings) -> Vec<String> {
    let port = ["/httpGet/port", "/tcpSocket/port"].iter().find_map(|place| probe.pointer(place)?.as_str());
    // A number needs no declaration.
    let port = port.filter(|port| port.parse::<u16>().is_err());
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = ports.filter_map(|port| port.get("name")?.as_str()).collect();
    let missing = port.filter(|port| !names.contains(port)).map(|port| {
        format!(
            "container {name} never gets ready: its readiness probe asks port {port:?}, and no port of it is called so."
        )
    });
    let number =
        |key: &str, default| probe.get(key).and_then(Value::as_u64).filter(|number| *number > 0).unwrap_or(default);
    let (period, failures) =
        (number("periodSeconds", PROBE_PERIOD_SECONDS), number("failureThreshold", PROBE_FAILURES));
    let notices = Duration::from_secs(period.saturating_mul(failures));
    let slow = (notices > watch.tolerate.max(PROMPT)).then(|| {
        format!(
            "container {name} may have stopped answering for {notices} before its readiness probe says so ({failures} x \
             {period}s), while {} is what the watch tolerates: traffic goes back that much later.",
            watch.tolerate
        )
    });
    missing.into_iter().chain(slow).collect()
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

//! What the plan says of workers, in words; pure.

use super::super::{handover, verify};
use crate::api::{Record, ReleaseSpec, WorkerRecord, Workload};

/// Says, of a workload that comes up only in `Switch`, that it does.
pub(super) fn waits(record: &Record, workload: &Workload) -> &'static str {
    if handover::starts_late(record, workload) { ", which starts at the switch" } else { "" }
}

/// Says how workers are handed over before traffic moves; `None` when none of them has to wait for another.
pub(super) fn hand_over(spec: &ReleaseSpec, record: &Record) -> Option<String> {
    let former: Vec<&str> = record
        .workers
        .iter()
        .filter(|worker| worker.active.is_some() && stops(spec, worker))
        .map(|worker| worker.workload.as_str())
        .collect();
    // One with Services stops too where only the new version asks for it.
    let stopped = |workload: &&Workload| !former.contains(&workload.name.as_str()) && serves(record, workload);
    let asks = spec.services().map(|(workload, _)| workload).filter(|it| it.handed_over().is_some());
    let mut also: Vec<&str> = asks.filter(stopped).map(|workload| workload.name.as_str()).collect();
    also.dedup();
    let former: Vec<&str> = former.iter().copied().chain(also).collect();
    let late: Vec<&str> = spec
        .workloads
        .iter()
        .filter(|workload| handover::starts_late(record, workload))
        .map(|workload| workload.name.as_str())
        .collect();
    let version = record.active.as_ref().map_or("", |active| active.version.as_str());
    let (former, late, limit) = (former.join(", "), late.join(", "), spec.deadlines.handover);
    match (former.is_empty(), late.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("Starts {late} and waits until all pods are ready, within {limit}.")),
        (false, true) => {
            Some(format!("Stops {former} of {version} and waits until the pods are gone, within {limit}."))
        }
        (false, false) => Some(format!(
            "Stops {former} of {version}, waits until the pods are gone, then starts {late} of {} and waits until all pods \
             are ready, within {limit}: nobody does their work meanwhile.",
            spec.version
        )),
    }
}

/// Says which Services answer nobody for a while, and for how long at most; `None` where none is ever away.
pub(super) fn away(spec: &ReleaseSpec, record: &Record) -> Option<String> {
    record.active.as_ref()?;
    let names: Vec<&str> = handover::late_services(record, spec).collect();
    let most = spec.deadlines.handover + verify::late_limit(record, spec) + spec.deadlines.switch;
    (!names.is_empty()).then(|| {
        format!(
            "Until they are moved, Services {} answer nobody: as long as the one takes to stop and the other to start and \
             to pass, at most {most}.",
            names.join(", ")
        )
    })
}

/// Returns whether a Service of a workload points at the active revision.
fn serves(record: &Record, workload: &Workload) -> bool {
    record.traffic.iter().any(|traffic| traffic.revision.is_some() && workload.has_service(&traffic.service))
}

/// Returns whether a worker of the active revision stops before anything of the candidate's starts.
fn stops(spec: &ReleaseSpec, worker: &WorkerRecord) -> bool {
    let successor = spec.workloads.iter().find(|workload| workload.name == worker.workload);
    let own = WorkerRecord { candidate: None, ..worker.clone() };
    own.stops_first()
        || successor.is_some_and(|successor| successor.handed_over() == Some(crate::api::Handover::StopThenStart))
}

/// Says what a worker's template makes likely to go wrong.
pub(super) fn risk(spec: &ReleaseSpec, record: &Record, workload: &Workload) -> Option<String> {
    let grace = workload.template.grace_seconds();
    let limit = spec.deadlines.handover.as_std().as_secs();
    let late = handover::starts_late(record, workload) && grace >= limit;
    late.then(|| {
        format!(
            "its pods may take {grace}s to end, and the whole handover has {limit}s (deadlines.handover): the release \
             after this one may not come through."
        )
    })
}

//! Pods of the candidate that the cluster evicts while it is watched: a node that is drained says nothing of the version, so
//! they leave the number that has to be ready for `watch.disruptionGrace`; pure.
//!
//! They are gone before that is over, so they are noted in the record. One pod has to be ready all the same: whatever the
//! cause, users must meet somebody.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{super::observed::Observed, later};
use crate::api::{DisruptedPod, Record, ReleaseSpec};

/// How many are noted: as the schema has it. Those beyond count as pods that are not ready.
const MOST: usize = 32;

/// Notes the pods that are being evicted, and forgets those whose time is over.
pub(super) fn note(seen: &Observed, record: &mut Record, content: &ReleaseSpec) {
    record.disrupted.retain(|pod| until(pod, content) > seen.now);
    let revision = content.revision();
    // Counted are the pods that readiness is judged by, and no others.
    for pod in seen.pods_of(&revision) {
        let Some(at) = pod.disrupted else { continue };
        let noted = DisruptedPod { pod: pod.name.clone(), workload: pod.workload.clone(), at: MicroTime(at) };
        let known = record.disrupted.iter().any(|known| known.pod == noted.pod);
        if !known && until(&noted, content) > seen.now && record.disrupted.len() < MOST {
            record.disrupted.push(noted);
        }
    }
}

/// Returns the record with the numbers of pods that have to be ready now: mostly those that it has.
pub(super) fn expected<'a>(record: &'a Record, content: &ReleaseSpec) -> Cow<'a, Record> {
    if record.disrupted.is_empty() {
        return Cow::Borrowed(record);
    }
    let mut record = record.clone();
    let evicted = |workload: &str| {
        let of_it = record.disrupted.iter().filter(|pod| pod.workload == workload).count();
        i32::try_from(of_it).unwrap_or(i32::MAX)
    };
    let left = |pods: i32, workload: &str| pods.saturating_sub(evicted(workload)).max(pods.min(1));
    let mut traffic = std::mem::take(&mut record.traffic);
    for traffic in &mut traffic {
        let Some((workload, _)) = content.service(&traffic.service) else { continue };
        traffic.pods = left(traffic.pods, &workload.name);
    }
    let mut workers = std::mem::take(&mut record.workers);
    for worker in &mut workers {
        if let Some(side) = &mut worker.candidate {
            side.pods = left(side.pods, &worker.workload);
        }
    }
    Cow::Owned(Record { traffic, workers, ..record })
}

/// Returns when the first of them counts again.
pub(super) fn next(record: &Record, content: &ReleaseSpec) -> Option<Timestamp> {
    record.disrupted.iter().map(|pod| until(pod, content)).min()
}

/// Says that some do not count.
pub(super) fn words(record: &Record) -> String {
    match record.disrupted.len() {
        0 => String::new(),
        evicted => format!(" ({evicted} evicted by the cluster not counted)"),
    }
}

fn until(pod: &DisruptedPod, content: &ReleaseSpec) -> Timestamp {
    later(pod.at.0, content.watch.disruption_grace)
}

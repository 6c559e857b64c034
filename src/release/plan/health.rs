//! How well a revision is, and whether its traffic has to go back; pure.

use std::collections::BTreeSet;

use super::{
    super::observed::{DeploymentSeen, Observed},
    contested, found,
};
use crate::api::{ActiveRevision, Reason, Record, RevisionId, WatchSettings, WorkerPods, WorkerRecord};

/// From this size on one pod may always be missing: a node that is drained must not roll a release back.
const SLACK_FROM: i32 = 3;
/// What kubelets say that a container waits in when its image cannot be had.
const NO_IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// How many of the expected pods are ready, in words of the watch settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// As many as asked for.
    Enough,
    /// Fewer than `readyPercent`.
    Low,
    /// Fewer than `immediateBelow`.
    Critical,
}

/// Judges a count of ready pods.
#[must_use]
pub fn judge(ready: i32, expected: i32, watch: &WatchSettings) -> Readiness {
    let (ready, expected) = (i64::from(ready.clamp(0, expected.max(0))), i64::from(expected.max(0)));
    if ready * 100 < expected * i64::from(watch.immediate_below) {
        return Readiness::Critical;
    }
    let mut needed = (expected * i64::from(watch.ready_percent) + 99) / 100;
    if expected >= i64::from(SLACK_FROM) {
        needed = needed.min(expected - 1);
    }
    if ready < needed { Readiness::Low } else { Readiness::Enough }
}

/// The worst Service or worker of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worst {
    /// Its readiness.
    pub readiness: Readiness,
    /// What was counted, in words.
    pub message: String,
}

/// Judges every Service that points at a revision and every worker of it that works; `None` when there is none.
#[must_use]
pub fn of_revision(seen: &Observed, record: &Record, revision: &RevisionId, watch: &WatchSettings) -> Option<Worst> {
    // What has Services is counted behind them.
    let workers =
        workers(record, revision).filter(|(_, side)| !side.serving).map(|(worker, WorkerPods { pods, .. })| {
            let ready = seen.ready_pods(&worker.workload, revision);
            Worst {
                readiness: judge(ready, pods, watch),
                message: format!("{ready} of {pods} pods of worker {} are ready", worker.workload),
            }
        });
    record
        .traffic
        .iter()
        .filter(|traffic| traffic.revision.as_ref() == Some(revision))
        .map(|traffic| {
            let ready = behind(seen, record, &traffic.service, revision);
            Worst {
                readiness: judge(ready, traffic.pods, watch),
                message: format!("{ready} of {} pods behind Service {} are ready", traffic.pods, traffic.service),
            }
        })
        .chain(workers)
        .max_by_key(|worst| worst.readiness)
}

/// Counts the ready pods behind a Service. Slices have the labels of their Service: those of one that somebody took the labels
/// off show nothing, which is not the same as nobody being ready, so the pods speak for themselves.
fn behind(seen: &Observed, record: &Record, service: &str, revision: &RevisionId) -> i32 {
    let shown = seen.slices.iter().any(|slice| slice.service == service);
    let workload = contested::workload_of(seen, record, (service, revision)).filter(|_| !shown);
    workload.map_or_else(|| seen.ready_endpoints(service, revision), |workload| seen.ready_pods(&workload, revision))
}

/// Returns the workers of a revision that work, with how many pods each has to have.
fn workers<'a>(record: &'a Record, revision: &RevisionId) -> impl Iterator<Item = (&'a WorkerRecord, WorkerPods)> {
    let is_active = record.active.as_ref().is_some_and(|active| active.revision == *revision);
    record.workers.iter().filter_map(move |worker| {
        let side = if is_active { worker.active } else { worker.candidate.filter(|_| worker.handed_over_at.is_some()) };
        Some((worker, side?))
    })
}

/// Returns whether going back would help: the former version could serve, and has more ready pods of a workload
/// than the candidate. Workers that were stopped worked until then. It needs no frozen content: nothing that can be lost
/// may stand in the way.
#[must_use]
pub fn back_is_better(seen: &Observed, record: &Record, blue: &RevisionId, green: &RevisionId) -> bool {
    let lacking = |(worker, side): (&WorkerRecord, WorkerPods)| {
        worker.active.is_some() && worker.stops_first() && seen.ready_pods(&worker.workload, green) < side.pods
    };
    back_is_possible(seen, record, blue)
        && (workloads(seen, blue).any(|workload| seen.ready_pods(workload, blue) > seen.ready_pods(workload, green))
            || workers(record, green).any(lacking))
}

/// Returns whether the former version could serve: of what takes traffic it has a ready pod of each workload, but for those of
/// which the candidate has none either: nobody loses them. Workers are not asked: one that is unwell, or stopped, must not keep
/// users from a version that serves them. Nor is what was stopped for the candidate: it starts again on the way back.
#[must_use]
pub fn back_is_possible(seen: &Observed, record: &Record, blue: &RevisionId) -> bool {
    let green = record.candidate.as_ref().map(|candidate| &candidate.revision);
    // One that the candidate does not have is another there, by another name behind the same Service.
    let has_nobody = |workload: &str| {
        green.is_some_and(|green| seen.deployment(workload, green).is_some() && seen.ready_pods(workload, green) == 0)
    };
    let lacking = lacking(seen, record, blue);
    workloads(seen, blue).count() > lacking.len() && lacking.into_iter().all(has_nobody)
}

/// Returns the workloads of the former version that take traffic and have no ready pod.
fn lacking<'a>(seen: &'a Observed, record: &Record, blue: &RevisionId) -> Vec<&'a str> {
    let is_worker = |name: &str| record.workers.iter().any(|worker| worker.active.is_some() && worker.workload == name);
    workloads(seen, blue).filter(|name| !is_worker(name) && seen.ready_pods(name, blue) == 0).collect()
}

/// Says that traffic shall go back to a version that could not take it.
#[must_use]
pub fn both_unhealthy(seen: &Observed, record: &Record, active: &ActiveRevision) -> (Reason, String) {
    let nobody = nobody(seen, record, active);
    (Reason::BothUnhealthy, format!("Traffic shall go back, but {nobody}: traffic stays until it has."))
}

/// Says of which workloads the former version has no ready pods.
#[must_use]
pub fn nobody(seen: &Observed, record: &Record, active: &ActiveRevision) -> String {
    let names = lacking(seen, record, &active.revision).join(", ");
    let of = if names.is_empty() { String::new() } else { format!(" of {names}") };
    format!("{} has no ready pods{of}", active.version)
}

/// Returns the workloads of a revision, by its Deployments, and by the pods of those that somebody took the labels off.
fn workloads<'a>(seen: &'a Observed, revision: &RevisionId) -> impl Iterator<Item = &'a str> {
    let of_it = |deployment: &&DeploymentSeen| deployment.ours && deployment.revision == revision.digits();
    let deployments = seen.deployments.iter().filter(of_it).map(|deployment| deployment.workload.as_str());
    let pods = seen.pods_of(revision).map(|pod| pod.workload.as_str());
    deployments.chain(pods).collect::<BTreeSet<_>>().into_iter()
}

/// Judges what serves, of the Release or to be taken over by it; returns it with what it is called.
#[must_use]
pub fn of_what_serves<'a>(seen: &Observed, record: &'a Record) -> Option<(&'a str, Worst)> {
    match (&record.active, &record.adoption) {
        (Some(active), _) => {
            let worst = of_revision(seen, record, &active.revision, &seen.release.spec.watch)?;
            Some((&active.version, worst))
        }
        (None, Some(adoption)) => Some((&adoption.version, found::worst(seen, record)?)),
        (None, None) => None,
    }
}

/// Returns whether what serves is broken: fewer pods of it are ready than any version under watch may have.
#[must_use]
pub fn is_broken(seen: &Observed, record: &Record) -> bool {
    of_what_serves(seen, record).is_some_and(|(_, worst)| worst.readiness == Readiness::Critical)
}

/// Returns what keeps pods of a revision from being ready, in brackets after a space; nothing when that is not known.
#[must_use]
pub fn because(seen: &Observed, revision: &RevisionId) -> String {
    cause(seen, revision).map(|cause| format!(" ({cause})")).unwrap_or_default()
}

/// Returns what keeps pods of a revision from being ready, as their containers say.
#[must_use]
pub fn cause(seen: &Observed, revision: &RevisionId) -> Option<String> {
    let of_deployment =
        seen.deployments.iter().filter(|deployment| deployment.revision == revision.digits()).find_map(|deployment| {
            deployment.problem.as_ref().map(|problem| format!("Deployment {}: {problem}", deployment.name))
        });
    let of_pod = || {
        seen.pods
            .iter()
            .filter(|pod| pod.revision == revision.digits() && pod.job.is_none() && !pod.ready)
            .find_map(|pod| pod.problem.as_ref().map(|problem| format!("pod {}: {problem}", pod.name)))
    };
    of_deployment.or_else(of_pod)
}

/// Returns whether what keeps a pod from being ready is that an image of it cannot be had.
#[must_use]
pub fn lacks_image(cause: &str) -> bool {
    NO_IMAGE.iter().any(|reason| cause.contains(&format!(" is in {reason}: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_02_readiness_is_judged_by_share_with_a_pod_of_slack_from_three_on() {
        let watch = WatchSettings::default();
        let table = [
            (1, 1, Readiness::Enough),
            (0, 1, Readiness::Critical),
            (1, 2, Readiness::Low),
            (0, 2, Readiness::Critical),
            (2, 3, Readiness::Enough),
            (1, 3, Readiness::Critical),
            (9, 10, Readiness::Enough),
            (8, 10, Readiness::Low),
            (5, 10, Readiness::Low),
            (4, 10, Readiness::Critical),
            (12, 10, Readiness::Enough),
            (0, 0, Readiness::Enough),
        ];
        for (ready, expected, readiness) in table {
            assert_eq!(judge(ready, expected, &watch), readiness, "{ready} of {expected}");
        }
    }
}

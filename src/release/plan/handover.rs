//! Handover: workers pass from one revision to the other, and back; so do workloads whose Services may be away; pure.
//!
//! Where either revision asks for it, the pods of one side are gone before those of the other start: a queue that takes
//! one reader has one. A worker that was renamed reads the same queue, so all of them stop before any of them starts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, DeploymentSeen, Observed},
    },
    Action, deploy, fence,
    going::Going,
    later,
};
use crate::api::{
    Duration, Handover, Record, ReleaseSpec, RevisionId, WorkerPods, WorkerRecord, Workload, labels::Role,
};

/// When to ask again for what no watch shows: a ReplicaSet that has not come to its end.
const AGAIN: Duration = Duration::from_secs(1);

/// How far a handover is.
pub(super) enum Progress {
    /// Whoever should work works, and nobody else.
    Done,
    /// Something is to be done, known or waited for.
    Going(Going),
}

/// Returns whether a workload comes up only once the former revision's workers are gone.
pub(super) fn starts_late(record: &Record, workload: &Workload) -> bool {
    let former = record.workers.iter().filter(|worker| worker.workload == workload.name);
    let former = former.filter_map(|worker| worker.active).map(|side| side.handover);
    former.chain(workload.handed_over()).any(|side| side == Handover::StopThenStart)
}

/// Returns the Services of workloads that come up only then: they answer nobody until it is proven.
pub(super) fn late_services<'a>(record: &Record, content: &'a ReleaseSpec) -> impl Iterator<Item = &'a str> {
    let late = content.services().filter(|(workload, _)| starts_late(record, workload));
    late.map(|(_, service)| service.name.as_str())
}

/// Returns whether a workload with Services that started late was seen ready.
pub(super) fn has_started(record: &Record, workload: &Workload) -> bool {
    let worker = record.workers.iter().find(|worker| worker.workload == workload.name);
    !workload.services.is_empty() && worker.is_some_and(|worker| worker.handed_over_at.is_some())
}

/// Returns how long a switch may take for the sake of its workers.
pub(super) fn limit(record: &Record, content: &ReleaseSpec) -> Option<Duration> {
    let late = content.workloads.iter().any(|workload| starts_late(record, workload));
    let stops = record.workers.iter().any(WorkerRecord::stops_first);
    (late || stops).then_some(content.deadlines.handover)
}

/// Remembers how many pods each worker has, and needs, before any of them is stopped.
pub(super) fn remember(seen: &Observed, content: &ReleaseSpec, record: &mut Record) {
    let needed: Vec<(String, WorkerPods)> = content
        .workloads
        .iter()
        .filter_map(|workload| {
            let late = starts_late(record, workload).then_some(Handover::Overlap);
            let (pods, serving) = (deploy::size(seen, record, workload), !workload.services.is_empty());
            Some((workload.name.clone(), WorkerPods { pods, handover: workload.handed_over().or(late)?, serving }))
        })
        .collect();
    let blue = record.active.as_ref().map(|active| active.revision.clone());
    let live = |workload: &str| seen.deployment(workload, blue.as_ref()?).map(|deployment| deployment.replicas);
    for worker in &mut record.workers {
        (worker.candidate, worker.handed_over_at) = (None, None);
        if let (Some(side), Some(live)) = (&mut worker.active, live(&worker.workload)) {
            side.pods = live;
        }
    }
    for (workload, side) in needed {
        match record.workers.iter_mut().find(|worker| worker.workload == workload) {
            Some(worker) => worker.candidate = Some(side),
            None => {
                // Only the candidate says that two versions must not meet: the former one stops all the same.
                let former = live(&workload).filter(|_| side.serving);
                let active = former.map(|pods| WorkerPods { pods, handover: Handover::Overlap, serving: true });
                record.workers.push(WorkerRecord { workload, active, candidate: Some(side), handed_over_at: None });
            }
        }
    }
}

/// Hands the workers over to the candidate: stops, waits until they are gone, starts, waits until they are ready.
pub(super) fn forward(seen: &Observed, record: &mut Record) -> Progress {
    let Some(green) = record.candidate.as_ref().map(|candidate| candidate.revision.clone()) else {
        return Progress::Done;
    };
    if record.workers.iter().all(|worker| worker.handed_over_at.is_some()) {
        return Progress::Done;
    }
    let former: Vec<&str> = late(record, |worker| worker.active.is_some()).collect();
    if let Some(active) = &record.active {
        let whose = (&active.revision, active.version.as_str());
        let running = former.iter().filter_map(|name| seen.deployment(name, &active.revision));
        let fences = fence::deployments(seen, record, running.filter(|deployment| deployment.replicas > 0));
        if !fences.is_empty() {
            let waiting = "what another leader may still write is made to fail first".to_owned();
            return Progress::Going(Going::acts(fences, waiting));
        }
        if let Some(going) = stop(seen, record, &former, whose).or_else(|| gone(seen, &former, whose)) {
            return going;
        }
    }
    let starting: Vec<Action> = record
        .workers
        .iter()
        .filter_map(|worker| Some((seen.deployment(&worker.workload, &green)?, worker.candidate?.pods)))
        .filter(|(deployment, pods)| deployment.replicas < *pods && !deployment.deleting)
        .map(|(deployment, pods)| Action::scale(deployment, pods))
        .collect();
    let unready = record.workers.iter().find_map(|worker| {
        let (name, pods) = (&worker.workload, worker.candidate?.pods);
        let deployment = seen.deployment(name, &green);
        let available =
            deployment.filter(|seen| seen.observed && seen.replicas >= pods).map_or(0, |seen| seen.available);
        (available < pods).then(|| format!("{available} of {pods} pods of {name} are available"))
    });
    match unready {
        Some(waiting) => Progress::Going(Going::acts(starting, waiting)),
        None => {
            record.workers.iter_mut().for_each(|worker| worker.handed_over_at = Some(MicroTime(seen.now)));
            Progress::Done
        }
    }
}

/// Hands the workers back to the active revision. What the candidate started is stopped, and then removed: a start that is
/// still under way meets nothing.
pub(super) fn back(seen: &Observed, record: &Record) -> Progress {
    let (Some(green), Some(blue)) = (&record.candidate, &record.active) else { return Progress::Done };
    let former = late(record, |worker| worker.active.is_some());
    let fences = fence::workers(seen, record, former.filter_map(|name| seen.deployment(name, &blue.revision)));
    if !fences.is_empty() {
        let waiting = "what another leader may still write is made to fail first".to_owned();
        return Progress::Going(Going::acts(fences, waiting));
    }
    let started: Vec<&str> = late(record, |worker| worker.candidate.is_some()).collect();
    let restart: Vec<(&DeploymentSeen, i32)> = record
        .workers
        .iter()
        .filter(|worker| worker.stops_first())
        .filter_map(|worker| Some((seen.deployment(&worker.workload, &blue.revision)?, worker.active?.pods)))
        .filter(|(deployment, pods)| deployment.replicas < *pods && !deployment.deleting)
        .collect();
    let is_up = |deployment: &&DeploymentSeen| deployment.replicas > 0 || deployment.existing > 0;
    let candidates: Vec<&DeploymentSeen> =
        started.iter().filter_map(|name| seen.deployment(name, &green.revision)).collect();
    if restart.is_empty() && !candidates.iter().any(is_up) {
        return Progress::Done;
    }
    let whose = (&green.revision, green.version.as_str());
    if let Some(going) = stop(seen, record, &started, whose).or_else(|| gone(seen, &started, whose)) {
        return going;
    }
    let waiting = format!("the workers of {} start again", blue.version);
    let removals: Vec<Action> = candidates
        .iter()
        .filter(|deployment| !deployment.deleting)
        .map(|deployment| Action::delete(Kind::Deployment, &deployment.name, &deployment.uid))
        .collect();
    if !candidates.is_empty() {
        return Progress::Going(Going::acts(removals, waiting));
    }
    let starts = restart.into_iter().map(|(deployment, pods)| Action::scale(deployment, pods)).collect();
    Progress::Going(Going::acts(starts, waiting))
}

/// Notes, at rest, the size of a workload and how it is handed over: neither is part of a revision.
pub(super) fn note(record: &mut Record, workload: &Workload) {
    let (pods, serving) = (workload.size(), !workload.services.is_empty());
    let side = workload.handed_over().map(|handover| WorkerPods { pods, handover, serving });
    match record.workers.iter().position(|worker| worker.workload == workload.name) {
        Some(_) if side.is_none() => record.workers.retain(|worker| worker.workload != workload.name),
        Some(known) => record.workers.get_mut(known).into_iter().for_each(|worker| worker.active = side),
        None if serving && side.is_some() => record.workers.push(WorkerRecord {
            workload: workload.name.clone(),
            active: side,
            candidate: None,
            handed_over_at: None,
        }),
        None => {}
    }
}

/// Makes the candidate's workers the active ones.
pub(super) fn take_over(record: &mut Record) {
    for worker in &mut record.workers {
        worker.active = worker.candidate;
    }
    forget(record);
}

/// Forgets the candidate's workers.
pub(super) fn forget(record: &mut Record) {
    for worker in &mut record.workers {
        (worker.candidate, worker.handed_over_at) = (None, None);
    }
    record.workers.retain(|worker| worker.active.is_some_and(|side| !side.is_switched()));
}

/// Returns the first workload with Services that has to run alone and of which the active revision has no ready pod.
pub(super) fn away<'a>(seen: &Observed, record: &'a Record) -> Option<&'a str> {
    let active = record.active.as_ref()?;
    let serving = record.workers.iter().filter(|worker| worker.active.is_some_and(|side| side.serving));
    let mut away = serving.filter(|worker| seen.ready_pods(&worker.workload, &active.revision) == 0);
    away.next().map(|worker| worker.workload.as_str())
}

/// Returns the workers whose sides must not meet, of those that a side has.
fn late(record: &Record, is_there: impl Fn(&WorkerRecord) -> bool) -> impl Iterator<Item = &str> {
    let workers = record.workers.iter().filter(|worker| worker.stops_first());
    workers.filter(move |worker| is_there(worker)).map(|worker| worker.workload.as_str())
}

/// Scales workers of a revision to zero; `None` when they are.
fn stop(
    seen: &Observed,
    record: &Record,
    workers: &[&str],
    (revision, version): (&RevisionId, &str),
) -> Option<Progress> {
    let is_active = record.active.as_ref().is_some_and(|active| active.revision == *revision);
    let may_be_away = |deployment: &DeploymentSeen| {
        let worker = record.workers.iter().find(|worker| worker.workload == deployment.workload);
        is_active && worker.and_then(|worker| worker.active).is_some_and(|side| side.serving)
    };
    let running = workers.iter().filter_map(|name| seen.deployment(name, revision));
    // Nothing else is scaled down while a Service of ours selects it: it may have been a worker only since.
    let is_selected = |deployment: &DeploymentSeen| {
        let active = seen.services.iter().filter(|service| service.ours && service.role == Some(Role::Active));
        let mut behind = active.filter(|service| service.workload() == Some(deployment.workload.as_str()));
        behind.any(|service| service.selects(revision))
    };
    let running: Vec<&DeploymentSeen> =
        running.filter(|it| it.replicas > 0 && (may_be_away(it) || !is_selected(it))).collect();
    let names: Vec<&str> = running.iter().map(|deployment| deployment.workload.as_str()).collect();
    let waiting = format!("{} of {version} stops", names.join(", "));
    let actions: Vec<Action> = running.into_iter().map(|deployment| Action::scale(deployment, 0)).collect();
    (!actions.is_empty()).then(|| Progress::Going(Going::acts(actions, waiting)))
}

/// Says which pods of stopped workers are still there; `None` when the API server says that none is.
fn gone(seen: &Observed, workers: &[&str], (revision, version): (&RevisionId, &str)) -> Option<Progress> {
    let there = |name: &&str| {
        let deployment = seen.deployment(name, revision);
        let counted = deployment.is_some_and(|seen| !seen.observed || seen.existing > 0);
        let pod = seen.pods.iter().find(|pod| pod.is_of(name, revision) && !pod.ended);
        pod.map(|pod| format!("pod {}", pod.name)).or_else(|| counted.then(|| format!("a pod of {name}")))
    };
    if let Some(pod) = workers.iter().find_map(there) {
        return Some(Progress::Going(Going::waits(format!("{pod} of {version} has not ended"))));
    }
    let selector = |name: &&str| manifests::selector(&seen.release, name, revision.digits());
    let asks: Vec<Ask> = workers.iter().map(|name| Ask::Left(manifests::label_selector(&selector(name)))).collect();
    let mut waiting = format!("whether anything of {version} still works");
    let mut again = None;
    let open = asks.iter().any(|ask| match seen.answer(ask) {
        None => true,
        Some(Answer::Left(Some(left))) => {
            waiting = format!("{left} of {version} has not ended");
            // A watch shows the end of a pod; nothing shows that of a ReplicaSet.
            again = Some(later(seen.now, AGAIN));
            true
        }
        Some(_) => false,
    });
    open.then_some(Progress::Going(Going { asks, waiting, again, ..Going::default() }))
}

//! Deploy: the candidate comes up beside what serves, at least as large; pure.

use super::{
    super::{manifests, observed::Observed},
    Action, Move, Plan, Situation, abort, active_content, belongings, candidate_content,
    ending::{self, Why},
    enter, handover, health, images, overdue, recorded, scaling, still_wanted,
};
use crate::api::{Outcome, Reason, Record, ReleaseSpec, Step, Workload};

pub(super) fn plan(seen: &Observed, record: Record) -> Move {
    if !still_wanted(seen, &record) {
        return ending::superseded(seen, record);
    }
    if let Some(turned) = abort::check(seen, &record) {
        return turned;
    }
    let Some(content) = candidate_content(seen, &record).cloned() else { return ending::content_lost(seen, record) };
    if let Some(turned) = images::check(seen, &record, &content) {
        return turned;
    }
    let mut plan = Plan::stay(record, Situation::Working(Reason::Deploying, String::new()));
    bring_up(seen, &content, &mut plan);
    let missing = missing(seen, &content, &plan.record);
    let Some(missing) = missing else {
        images::note(seen, &mut plan.record, &content);
        return enter(plan.record, Step::Verify, seen.now, Some(content.deadlines.verify));
    };
    if overdue(seen, &plan.record) {
        let cause = health::cause(seen, &content.revision());
        let reason = if cause.as_deref().is_some_and(health::lacks_image) {
            Reason::ImagePullFailed
        } else {
            Reason::GreenNotReady
        };
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let message =
            format!("{} was not ready within {}: {missing}{cause}.", content.version, content.deadlines.deploy);
        return ending::turn_back(plan.record, seen.now, Why { reason, message, outcome: Outcome::Failed });
    }
    // A cause is told as soon as it is seen: people should not have to wait for the deadline to learn of it.
    let cause = health::because(seen, &content.revision());
    // Counts are left to those who look at the pods: a status write for each pod would tell nothing more.
    let until = plan.record.deadline().map(|end| end.strftime("; it has until %H:%M:%S UTC").to_string());
    let message = format!("{} comes up{}{cause}.", content.version, until.unwrap_or_default());
    plan.situation = Situation::Working(Reason::Deploying, message);
    if !recorded(seen, &plan.record) {
        // Its deadline counts from the record, which must be there before anything is made.
        plan.actions.clear();
    }
    plan.into()
}

/// Adds what is not there yet.
fn bring_up(seen: &Observed, content: &ReleaseSpec, plan: &mut Plan) {
    let revision = content.revision();
    let owner = plan.record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
    let is_missing = |workload: &Workload| seen.deployment(&workload.name, &revision).is_none();
    if recorded(seen, &plan.record) && content.workloads.iter().any(is_missing) {
        match belongings::make(seen, content, owner, |workload| size(seen, &plan.record, workload).max(workload.most()))
        {
            Ok(actions) => plan.actions.extend(actions),
            Err(ask) => plan.asks.push(ask),
        }
    }
    for workload in &content.workloads {
        let size = if handover::starts_late(&plan.record, workload) { 0 } else { size(seen, &plan.record, workload) };
        if is_missing(workload) {
            let manifest = manifests::deployment(&seen.release, (content, workload), size, owner);
            plan.actions.push(Action::Create(Box::new(manifest)));
        }
        for service in &workload.services {
            if seen.service(&manifests::preview_name(&service.name)).is_none() {
                let manifest = manifests::preview_service(&seen.release, (workload, service), &revision, seen.anchor());
                plan.actions.push(Action::Create(Box::new(manifest)));
            }
        }
    }
    plan.actions.extend(grow(seen, content, &plan.record));
}

/// Lets what is there of the candidate grow to the size that it needs, and keeps autoscalers from making it smaller.
pub(super) fn grow(seen: &Observed, content: &ReleaseSpec, record: &Record) -> Vec<Action> {
    let revision = content.revision();
    let owner = record.candidate.as_ref().and_then(|candidate| seen.attempt(candidate.attempt));
    let grow = |workload: &Workload| {
        let size = size(seen, record, workload);
        let held = scaling::hold_candidate(seen, (content, workload), size, owner);
        let deployment = seen.deployment(&workload.name, &revision).filter(|deployment| {
            !handover::starts_late(record, workload) && deployment.replicas < size && !deployment.deleting
        });
        // In this order: an autoscaler would take away again what is below its own bound.
        held.into_iter().chain(deployment.map(|deployment| Action::scale(deployment, size)))
    };
    content.workloads.iter().flat_map(grow).collect()
}

/// Returns how many pods of a workload the candidate needs: as many as the spec asks for, and never fewer than
/// serve now, or than the switch that is under way has promised.
pub(super) fn size(seen: &Observed, record: &Record, workload: &Workload) -> i32 {
    let live = active_content(seen, record)
        .filter(|blue| blue.workloads.iter().any(|candidate| candidate.name == workload.name))
        .and_then(|blue| seen.deployment(&workload.name, &blue.revision()))
        .map_or(0, |deployment| deployment.replicas);
    let promised =
        record.traffic.iter().filter(|traffic| record.step == Step::Switch && workload.has_service(&traffic.service));
    workload.size().max(live).max(promised.map(|traffic| traffic.pods).max().unwrap_or(0))
}

/// Says what the candidate lacks; `None` when it is whole: every pod available, and as many ready endpoints
/// behind each preview Service. What starts late is not waited for, but for what users wait for once it was started.
pub(super) fn missing(seen: &Observed, content: &ReleaseSpec, record: &Record) -> Option<String> {
    let revision = content.revision();
    content.workloads.iter().find_map(|workload| {
        let size = size(seen, record, workload);
        let name = &workload.name;
        let Some(deployment) = seen.deployment(name, &revision) else {
            return Some(format!("Deployment of {name} is not there yet"));
        };
        if deployment.deleting {
            return Some(format!("Deployment {} is being deleted", deployment.name));
        }
        if handover::starts_late(record, workload) && !handover::has_started(record, workload) {
            // What it is looked at through later is made now.
            let mut previews = workload.services.iter().map(|service| manifests::preview_name(&service.name));
            let missing = previews.find(|preview| seen.service(preview).is_none());
            return missing.map(|preview| format!("Service {preview} is not there yet"));
        }
        if !deployment.observed || deployment.available < size || deployment.replicas < size {
            return Some(format!("{} of {size} pods of {name} are available", deployment.available.min(size)));
        }
        workload.services.iter().find_map(|service| {
            let preview = manifests::preview_name(&service.name);
            let ready = seen.ready_endpoints(&preview, &revision);
            (ready < size).then(|| format!("{ready} of {size} endpoints of Service {preview} are ready"))
        })
    })
}

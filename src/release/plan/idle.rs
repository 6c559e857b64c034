//! Idle: nothing is under way; pure.
//!
//! Begins an attempt when the spec names another revision than the active one, unless that revision has just
//! failed. Otherwise keeps what serves as it was released: size, Services, selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    super::{manifests, observed::Observed},
    Action, Move, Plan, Situation, active_content, enter,
    health::{self, Readiness},
};
use crate::api::{CandidateRevision, Reason, Record, Step};

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    let wanted = &seen.release.wanted;
    if record.failure.as_ref().is_some_and(|failure| failure.revision != *wanted) {
        record.failure = None;
    }
    let serves = record.active.as_ref().is_some_and(|active| active.revision == *wanted);
    if !serves && record.failure.is_none() {
        return begin(seen, record);
    }
    let situation = situation(seen, &record);
    let mut plan = Plan::stay(record, situation);
    keep(seen, &mut plan);
    remove_old(seen, &mut plan);
    plan.into()
}

/// Begins an attempt.
fn begin(seen: &Observed, mut record: Record) -> Move {
    let newest = seen.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0);
    // The record may have been lost with a restored cluster while the ControllerRevisions were not.
    record.attempts = record.attempts.max(newest) + 1;
    record.candidate = Some(CandidateRevision {
        revision: seen.release.wanted.clone(),
        version: seen.release.spec.version.clone(),
        attempt: record.attempts,
        since: MicroTime(seen.now),
    });
    record.plan = None;
    enter(record, Step::Inspect, seen.now, None)
}

fn situation(seen: &Observed, record: &Record) -> Situation {
    if let Some(failure) = &record.failure {
        return Situation::Failed(Reason::of_outcome(failure.outcome, &failure.reason), failure.message.clone());
    }
    let Some(active) = &record.active else { return Situation::Served };
    match health::of_traffic(seen, record, &active.revision, &seen.release.spec.watch) {
        Some(worst) if worst.readiness != Readiness::Enough => {
            let cause = health::cause(seen, &active.revision).map(|cause| format!(" ({cause})")).unwrap_or_default();
            Situation::ActiveUnhealthy(format!("{}{cause}.", worst.message))
        }
        Some(_) | None => Situation::Served,
    }
}

/// Keeps what serves as it was released: somebody may have scaled, deleted or repointed it.
pub(super) fn keep(seen: &Observed, plan: &mut Plan) {
    let Some(active) = plan.record.active.clone() else { return };
    let same = active.revision == seen.release.wanted;
    for workload in seen.release.spec.workloads.iter().filter(|_| same) {
        // A change of replicas alone is no release.
        let Some(deployment) = seen.deployment(&workload.name, &active.revision) else { continue };
        if deployment.replicas != workload.replicas && !deployment.deleting {
            plan.actions.push(Action::Scale {
                deployment: deployment.name.clone(),
                uid: deployment.uid.clone(),
                replicas: workload.replicas,
            });
        }
        for service in &workload.services {
            let traffic = plan.record.traffic.iter_mut().find(|traffic| traffic.service == service.name);
            if let Some(traffic) = traffic {
                traffic.pods = workload.replicas;
            }
        }
    }
    restore(seen, plan);
    point_back(seen, plan);
}

/// Creates again what somebody deleted of the active revision.
fn restore(seen: &Observed, plan: &mut Plan) {
    let Some(content) = active_content(seen, &plan.record) else { return };
    let Some(active) = &plan.record.active else { return };
    for workload in &content.workloads {
        if seen.deployment(&workload.name, &active.revision).is_none() {
            let owner = seen.attempt(active.attempt);
            let manifest = manifests::deployment(&seen.release, (content, workload), workload.replicas, owner);
            plan.actions.push(Action::Create(Box::new(manifest)));
        }
    }
    for (workload, service) in content.services() {
        if seen.service(&service.name).is_none() {
            let digits = active.revision.digits();
            let manifest = manifests::active_service(&seen.release, (workload, service), digits, seen.anchor());
            plan.actions.push(Action::Create(Box::new(manifest)));
        }
    }
}

/// Points Services back that somebody else pointed elsewhere.
pub(super) fn point_back(seen: &Observed, plan: &mut Plan) {
    for traffic in &plan.record.traffic {
        let Some(revision) = &traffic.revision else { continue };
        let Some(service) = seen.service(&traffic.service).filter(|service| !service.deleting) else { continue };
        let Some(workload) = workload_of(seen, &plan.record, &traffic.service) else { continue };
        let right = manifests::selector(&seen.release, &workload, revision.digits());
        if service.selector == right {
            continue;
        }
        let target = manifests::Target {
            workload: &workload,
            digits: revision.digits(),
            service: None,
            before: None,
            fence: None,
        };
        plan.contested = Some(format!(
            "Somebody else changed the selector of Service {}; it is put back to {revision}.",
            traffic.service
        ));
        plan.actions.push(Action::Point {
            service: service.name.clone(),
            patch: manifests::service_patch(&seen.release, service, target),
        });
    }
}

/// Returns the workload behind a Service, by the frozen contents or else by the spec.
fn workload_of(seen: &Observed, record: &Record, service: &str) -> Option<String> {
    let contents = [super::candidate_content(seen, record), active_content(seen, record), Some(&seen.release.spec)];
    contents.into_iter().flatten().find_map(|content| {
        content.services().find(|(_, candidate)| candidate.name == service).map(|(workload, _)| workload.name.clone())
    })
}

/// Removes what is kept no longer: Deployments of former revisions, and contents that history has forgotten.
fn remove_old(seen: &Observed, plan: &mut Plan) {
    let record = &mut plan.record;
    if let Some(previous) = record.previous.clone() {
        if previous.keep_until.0 <= seen.now {
            record.previous = None;
        } else {
            plan.recheck = Some(previous.keep_until.0);
        }
    }
    let kept = [
        record.active.as_ref().map(|active| active.revision.digits()),
        record.previous.as_ref().map(|previous| previous.revision.digits()),
    ];
    let is_kept = |digits: &str| kept.contains(&Some(digits));
    // Deleting waits for the look that has read the forgotten revision back.
    let settled = seen.record().previous == record.previous && seen.record().step == Step::Idle;
    if !settled {
        return;
    }
    for deployment in seen.deployments.iter().filter(|seen| seen.ours && !seen.deleting && !is_kept(&seen.revision)) {
        plan.actions.push(Action::Delete {
            kind: manifests::Kind::Deployment,
            name: deployment.name.clone(),
            uid: deployment.uid.clone(),
        });
    }
    let limit = usize::from(seen.release.spec.history_limit);
    if record.history.len() > limit {
        record.history.drain(..record.history.len() - limit);
    }
    forget_contents(seen, plan, &is_kept_revisions(plan));
}

fn is_kept_revisions(plan: &Plan) -> Vec<String> {
    let record = &plan.record;
    let active = record.active.iter().map(|active| active.revision.digits().to_owned());
    let previous = record.previous.iter().map(|previous| previous.revision.digits().to_owned());
    active.chain(previous).collect()
}

/// Deletes the contents of attempts that history has forgotten and that own nothing any more.
fn forget_contents(seen: &Observed, plan: &mut Plan, kept: &[String]) {
    let oldest = plan.record.history.first().map_or(0, |entry| entry.attempt);
    for attempt in &seen.attempts {
        let held = attempt.number >= oldest
            || kept.contains(&attempt.revision)
            || seen.deployments.iter().any(|deployment| deployment.revision == attempt.revision);
        if attempt.role == Some(crate::api::labels::Role::Attempt) && !held {
            plan.actions.push(Action::Delete {
                kind: manifests::Kind::ControllerRevision,
                name: attempt.name.clone(),
                uid: attempt.uid.clone(),
            });
        }
    }
}

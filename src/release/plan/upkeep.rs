//! Upkeep: what serves stays as it was released, whoever deletes or repoints it; pure.

use super::{
    super::{manifests, observed::Observed},
    Action, Plan, active_content, candidate_content,
};
use crate::api::{Record, ReleaseSpec};

/// Makes again what somebody deleted, and points Services back that somebody pointed elsewhere.
pub(super) fn keep(seen: &Observed, plan: &mut Plan) {
    restore_deployments(seen, plan);
    restore_services(seen, plan);
    point_back(seen, plan);
}

/// Makes Deployments again, at the size that the Services in front of them rely on.
fn restore_deployments(seen: &Observed, plan: &mut Plan) {
    for (content, attempt) in contents(seen, &plan.record) {
        let revision = content.revision();
        for workload in &content.workloads {
            if seen.deployment(&workload.name, &revision).is_none() {
                let pods = plan
                    .record
                    .traffic
                    .iter()
                    .filter(|traffic| workload.services.iter().any(|service| service.name == traffic.service));
                let size = pods.map(|traffic| traffic.pods).max().unwrap_or(0).max(workload.replicas);
                let owner = seen.attempt(attempt);
                let manifest = manifests::deployment(&seen.release, (content, workload), size, owner);
                plan.actions.push(Action::Create(Box::new(manifest)));
            }
        }
    }
}

/// Makes Services again, pointing where they were pointed.
fn restore_services(seen: &Observed, plan: &mut Plan) {
    for traffic in plan.record.traffic.iter().filter(|traffic| seen.service(&traffic.service).is_none()) {
        let Some(revision) = &traffic.revision else { continue };
        let contents = contents(seen, &plan.record);
        let of_revision = contents.iter().filter(|(content, _)| content.revision() == *revision);
        let pair =
            of_revision.flat_map(|(content, _)| content.services()).find(|(_, found)| found.name == traffic.service);
        if let Some(pair) = pair {
            let manifest = manifests::active_service(&seen.release, pair, revision.digits(), seen.anchor());
            plan.actions.push(Action::Create(Box::new(manifest)));
        }
    }
}

/// Returns the contents under way and active, with the attempts that hold them.
fn contents<'a>(seen: &'a Observed, record: &Record) -> Vec<(&'a ReleaseSpec, i64)> {
    let candidate = record.candidate.as_ref().map(|candidate| candidate.attempt);
    let active = record.active.as_ref().map(|active| active.attempt);
    candidate
        .into_iter()
        .chain(active)
        .filter_map(|attempt| Some((seen.contents.get(&attempt)?.as_ref(), attempt)))
        .collect()
}

/// Points Services back that somebody else pointed elsewhere.
pub(super) fn point_back(seen: &Observed, plan: &mut Plan) {
    for traffic in &plan.record.traffic {
        let Some(revision) = &traffic.revision else { continue };
        let Some(service) = seen.service(&traffic.service).filter(|service| !service.deleting) else { continue };
        let Some(workload) = workload_of(seen, &plan.record, &traffic.service) else { continue };
        if service.selector == manifests::selector(&seen.release, &workload, revision.digits()) {
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
    let contents = [candidate_content(seen, record), active_content(seen, record), Some(&seen.release.spec)];
    contents.into_iter().flatten().find_map(|content| {
        content.services().find(|(_, candidate)| candidate.name == service).map(|(workload, _)| workload.name.clone())
    })
}

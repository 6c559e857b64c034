//! Upkeep: what serves stays as it was released, whoever deletes or repoints it; pure.

use super::{
    super::{
        manifests,
        observed::{Answer, Ask, Observed},
    },
    Action, Plan, active_content, adopt, config, contested, ending, recorded, scaling,
};
use crate::api::{Handover, Record, ReleaseSpec, Step, Workload};

/// Keeps what serves, at every step, but not while Services are pointed forward or back.
pub(super) fn while_waiting(seen: &Observed, plan: &mut Plan) {
    if plan.act_first || plan.asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return;
    }
    // What has moved is noted only once the step is recorded; until then a Service that has would be put back.
    let points = |action: &Action| matches!(action, Action::Point { .. } | Action::Touch { .. });
    if plan.record.step == Step::Switch && (!recorded(seen, &plan.record) || plan.actions.iter().any(points)) {
        return;
    }
    if adopt::keep(seen, plan) {
        return;
    }
    // Services first: nothing is more urgent than where traffic goes.
    contested::put_back(seen, plan);
    restore_services(seen, plan);
    restore_deployments(seen, plan);
}

/// Makes Deployments again, at the size that the Services in front of them rely on.
fn restore_deployments(seen: &Observed, plan: &mut Plan) {
    let step = plan.record.step;
    let watched = step == Step::Watch || (step == Step::Switch && ending::moved(&plan.record));
    // Until traffic has moved the candidate is the business of the step that brings it up.
    let not_yet = plan.record.candidate.as_ref().map(|candidate| candidate.attempt).filter(|_| !watched);
    for (content, attempt) in contents(seen, &plan.record).into_iter().filter(|(_, attempt)| Some(*attempt) != not_yet)
    {
        let revision = content.revision();
        config::restore(seen, (content, attempt), plan);
        if content.workloads.iter().any(|workload| seen.deployment(&workload.name, &revision).is_none()) {
            plan.upkeep.extend(config::make(seen, content, seen.attempt(attempt)));
        }
        let handed_over = |workload: &Workload| {
            matches!(plan.record.step, Step::Switch | Step::SwitchBack)
                && plan.record.workers.iter().any(|worker| worker.workload == workload.name)
        };
        let kept: Vec<&Workload> = content.workloads.iter().filter(|workload| !handed_over(workload)).collect();
        for workload in kept {
            let size = size(&plan.record, workload, attempt);
            if watched {
                plan.upkeep.extend(hold(seen, &plan.record, (content, workload), (attempt, size)));
            }
            match seen.deployment(&workload.name, &revision) {
                // Whoever reads a queue alone does not start beside what is still ending.
                None if workload.handed_over() == Some(Handover::StopThenStart)
                    && seen.pods.iter().any(|pod| pod.is_of(&workload.name, &revision) && !pod.ended) => {}
                None => {
                    let owner = seen.attempt(attempt);
                    let manifest = manifests::deployment(&seen.release, (content, workload), size, owner);
                    plan.upkeep.push(Action::Create(Box::new(manifest)));
                }
                // What traffic may have to go back to stays at full size, whoever scales it down.
                Some(deployment) if watched && deployment.replicas < size && !deployment.deleting => {
                    plan.upkeep.push(Action::scale(deployment, size));
                }
                Some(_) => {}
            }
        }
    }
}

/// Keeps autoscalers from taking pods away while both versions may be needed.
fn hold(
    seen: &Observed,
    record: &Record,
    (content, workload): (&ReleaseSpec, &Workload),
    (attempt, size): (i64, i32),
) -> Option<Action> {
    if record.candidate.as_ref().is_some_and(|candidate| candidate.attempt == attempt) {
        return scaling::hold_candidate(seen, (content, workload), size, seen.attempt(attempt));
    }
    // What serves may have been given another autoscaler since its content was frozen, or none: that is kept at rest.
    seen.autoscaler(&workload.name, &content.revision()).and_then(|found| scaling::hold(found, size))
}

/// Returns how many pods of a workload an attempt's revision has to have, while it serves or may have to serve again.
fn size(record: &Record, workload: &Workload, attempt: i64) -> i32 {
    let is_active = record.active.as_ref().is_some_and(|active| active.attempt == attempt);
    if let Some(worker) = record.workers.iter().find(|worker| worker.workload == workload.name) {
        let side = if is_active { worker.active } else { worker.candidate };
        let stopped = is_active && worker.stops_first() && record.step == Step::Watch;
        return side.filter(|_| !stopped).map_or(0, |side| side.pods);
    }
    let traffic = record.traffic.iter().filter(|traffic| workload.has_service(&traffic.service));
    // Until the candidate is proven, the Services count its pods and remember those of what served before.
    let before = is_active && matches!(record.step, Step::Switch | Step::Watch);
    let pods = traffic.map(|traffic| traffic.pods_before.filter(|_| before).unwrap_or(traffic.pods));
    pods.max().unwrap_or_else(|| workload.size())
}

/// Makes Services again, pointing where they were pointed; one that is there and does not say that it is ours gets its labels
/// back.
fn restore_services(seen: &Observed, plan: &mut Plan) {
    let goes_back = plan.record.step == Step::SwitchBack;
    let candidate = plan.record.candidate.as_ref().map(|candidate| &candidate.revision).filter(|_| goes_back);
    // On the way back what is not seen was read: it may be somebody else's by now.
    let is_gone = |name: &str| {
        !goes_back || matches!(seen.answer(&Ask::LiveService(name.to_owned())), Some(Answer::Service(None)))
    };
    for traffic in plan.record.traffic.iter().filter(|traffic| seen.lacks(&traffic.service)) {
        let Some(revision) = &traffic.revision else { continue };
        if candidate == Some(revision) || !is_gone(&traffic.service) {
            continue;
        }
        let contents = contents(seen, &plan.record);
        let of_revision = contents.iter().filter(|(content, _)| content.revision() == *revision);
        let pair =
            of_revision.flat_map(|(content, _)| content.services()).find(|(_, found)| found.name == traffic.service);
        if let Some(pair) = pair {
            let manifest = manifests::active_service(&seen.release, pair, revision.digits(), seen.anchor());
            plan.upkeep.push(Action::Create(Box::new(manifest)));
        }
    }
}

/// Forgets the Services that the active revision does not have, at the end of an attempt.
pub(super) fn forget_traffic(seen: &Observed, record: &mut Record) {
    if record.active.is_none() {
        record.traffic.clear();
    } else if let Some(content) = active_content(seen, record).cloned() {
        record.traffic.retain(|traffic| content.service(&traffic.service).is_some());
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

//! Scaling: autoscalers of ours, one per revision and workload; pure.
//!
//! At rest an autoscaler has the bounds of the spec. While a release is under way it must not take pods away: what serves
//! may have to take all traffic back, and what is watched is judged by as many pods as it was switched to. So it is held at
//! no fewer than these, and put back when the release has ended. What the spec asked for stands on it all the time, so
//! putting it back needs no content.

use super::{
    super::{
        manifests::{self, Kind},
        observed::{AttemptSeen, AutoscalerSeen, Observed},
    },
    Action, Plan, active_content, belongings,
};
use crate::api::{ActiveRevision, Record, ReleaseSpec, RevisionId, Workload};

/// Makes the autoscaler of a candidate's workload, or keeps it from having fewer pods.
pub(super) fn hold_candidate(
    seen: &Observed,
    (content, workload): (&ReleaseSpec, &Workload),
    least: i32,
    owner: Option<&AttemptSeen>,
) -> Option<Action> {
    let Some(found) = seen.autoscaler(&workload.name, &content.revision()) else {
        let manifest = manifests::autoscaler(&seen.release, (content, workload), least, owner)?;
        return Some(Action::Create(Box::new(manifest)));
    };
    if found.deleting {
        return None;
    }
    // One that another attempt has left.
    let Some(asked) = &workload.autoscaling else { return Some(remove(found)) };
    if found.asked.as_deref() == Some(asked) {
        return hold(found, least);
    }
    let least = least.max(asked.min);
    Some(Action::autoscale(found, (least, asked.max.max(least)), Some(asked)))
}

/// Keeps an autoscaler from having fewer pods.
pub(super) fn hold(found: &AutoscalerSeen, least: i32) -> Option<Action> {
    let open = found.least < least && !found.deleting;
    open.then(|| Action::autoscale(found, (least, found.most.max(least)), None))
}

/// Keeps what serves from having fewer pods than it has.
pub(super) fn hold_active(seen: &Observed, record: &Record) -> Vec<Action> {
    let Some(active) = &record.active else { return vec![] };
    let live = |found: &AutoscalerSeen| {
        let deployment = seen.deployment(&found.workload, &active.revision);
        deployment.filter(|deployment| !deployment.deleting).map_or(0, |deployment| deployment.replicas)
    };
    of(seen, &active.revision).filter_map(|found| hold(found, live(found))).collect()
}

/// Gives the autoscalers of what serves the bounds of its spec again, at the end of a release: from then on as few pods as
/// that are enough.
pub(super) fn put_back(seen: &Observed, record: &mut Record) -> Vec<Action> {
    let Some(active) = record.active.clone() else { return vec![] };
    let content = active_content(seen, record).cloned();
    for found in of(seen, &active.revision) {
        let Some(least) = found.asked.as_ref().map(|asked| asked.min) else { continue };
        let workload = content.as_ref().and_then(|content| named(content, &found.workload));
        workload.into_iter().for_each(|workload| expect(record, workload, least));
    }
    of(seen, &active.revision).filter_map(bounds_of_spec).collect()
}

/// Gives an autoscaler the bounds that the spec asked for.
pub(super) fn bounds_of_spec(found: &AutoscalerSeen) -> Option<Action> {
    let asked = found.asked.as_ref().map(|asked| (asked.min, asked.max))?;
    (asked != (found.least, found.most)).then(|| Action::autoscale(found, asked, None))
}

/// Remembers how many pods a workload of the active revision has to have.
pub(super) fn expect(record: &mut Record, workload: &Workload, pods: i32) {
    let traffic = record.traffic.iter_mut().filter(|traffic| workload.has_service(&traffic.service));
    traffic.for_each(|traffic| traffic.pods = pods);
    let worker = record.workers.iter_mut().find(|worker| worker.workload == workload.name);
    worker.and_then(|worker| worker.active.as_mut()).into_iter().for_each(|side| side.pods = pods);
}

/// Keeps a workload of what serves at the size that the spec asks for. Where an autoscaler decides, its bounds are kept, and
/// the number of pods is its own.
pub(super) fn keep(
    seen: &Observed,
    (spec, workload): (&ReleaseSpec, &Workload),
    active: &ActiveRevision,
    plan: &mut Plan,
) {
    let Some(deployment) = seen.deployment(&workload.name, &active.revision).filter(|seen| !seen.deleting) else {
        return;
    };
    let (owner, found) = (seen.attempt(active.attempt), seen.autoscaler(&workload.name, &active.revision));
    let size = workload.size();
    let (from, resized) = match (&workload.autoscaling, found) {
        (None, found) => {
            plan.actions.extend(found.filter(|found| !found.deleting).map(remove));
            (deployment.replicas, deployment.replicas != size)
        }
        (Some(asked), Some(found)) => {
            let is_as_asked = found.asked.as_deref() == Some(asked);
            let bounds = (asked.min, asked.max);
            let is_right = is_as_asked && bounds == (found.least, found.most);
            if !is_right && !found.deleting {
                plan.actions.push(Action::autoscale(found, bounds, (!is_as_asked).then_some(asked)));
            }
            // An autoscaler leaves a Deployment alone that somebody has scaled to zero.
            (found.most, deployment.replicas < size)
        }
        (Some(_), None) => {
            let manifest = manifests::autoscaler(&seen.release, (spec, workload), size, owner);
            plan.actions.extend(manifest.map(|manifest| Action::Create(Box::new(manifest))));
            (deployment.replicas, deployment.replicas < size)
        }
    };
    match belongings::grow(seen, (spec, workload), (from, owner)) {
        Ok(budget) => plan.actions.extend(budget),
        Err(ask) => plan.asks.push(ask),
    }
    if resized {
        plan.actions.push(Action::scale(deployment, size));
    }
}

/// Removes the autoscalers of all revisions but what serves: of no pods there is nothing to scale.
pub(super) fn remove_others<'a>(
    seen: &'a Observed,
    active: Option<&'a RevisionId>,
) -> impl Iterator<Item = (&'a str, Action)> {
    let others = seen.own_autoscalers().filter(move |found| Some(&*found.revision) != active.map(RevisionId::digits));
    others.map(|found| (&*found.revision, remove(found)))
}

/// Lists the autoscalers of a revision, with whether they are on their way out.
pub(super) fn left<'a>(seen: &'a Observed, digits: &'a str) -> impl Iterator<Item = (Action, bool)> {
    let all = seen.autoscalers.iter().filter(move |found| found.ours && found.revision == digits);
    all.map(|found| (remove(found), found.deleting))
}

fn remove(found: &AutoscalerSeen) -> Action {
    Action::delete(Kind::HorizontalPodAutoscaler, &found.name, &found.uid)
}

fn of<'a>(seen: &'a Observed, revision: &'a RevisionId) -> impl Iterator<Item = &'a AutoscalerSeen> {
    seen.own_autoscalers().filter(|found| found.revision == revision.digits())
}

fn named<'a>(content: &'a ReleaseSpec, workload: &str) -> Option<&'a Workload> {
    content.workloads.iter().find(|candidate| candidate.name == workload)
}

//! Belongings: what comes and goes with the Deployments of a revision, and is watched by nobody; pure.

use std::collections::BTreeSet;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, AttemptSeen, Observed},
    },
    Action, config, elsewhere,
};
use crate::api::{ReleaseSpec, Workload};

/// From this size on a workload gets a budget: of a single pod the cluster could never take any away.
pub(super) const BUDGET_FROM: i32 = 2;

/// Makes what the pods of a content need before they come up: config, and budgets for workloads that have none of
/// somebody else's. Returns what must be asked first.
pub(super) fn make(
    seen: &Observed,
    content: &ReleaseSpec,
    owner: Option<&AttemptSeen>,
    size: impl Fn(&Workload) -> i32,
) -> Result<Vec<Action>, Ask> {
    let mut actions = config::make(seen, content, owner);
    for workload in content.workloads.iter().filter(|workload| size(workload) >= BUDGET_FROM) {
        actions.extend(budget(seen, (content, workload), owner)?);
    }
    Ok(actions)
}

/// Makes the budget of a workload, unless somebody else's holds for its pods: with two on one pod no eviction passes.
fn budget(
    seen: &Observed,
    (content, workload): (&ReleaseSpec, &Workload),
    owner: Option<&AttemptSeen>,
) -> Result<Option<Action>, Ask> {
    let labels = manifests::pod_labels(&seen.release, content, workload);
    let theirs = elsewhere::budgets(seen, &labels).ok_or(Ask::Selecting(Kind::PodDisruptionBudget))?;
    let manifest = theirs.is_empty().then(|| manifests::budget(&seen.release, (content, workload), owner));
    Ok(manifest.map(|manifest| Action::Create(Box::new(manifest))))
}

/// Makes the budget of a workload that grows to where it gets one.
pub(super) fn grow(
    seen: &Observed,
    (content, workload): (&ReleaseSpec, &Workload),
    (from, owner): (i32, Option<&AttemptSeen>),
) -> Result<Option<Action>, Ask> {
    if from >= BUDGET_FROM || workload.most() < BUDGET_FROM {
        return Ok(None);
    }
    budget(seen, (content, workload), owner)
}

/// Lists everything of these revisions that nobody watches.
pub(super) fn of<'a>(seen: &Observed, revisions: impl IntoIterator<Item = &'a str>) -> BTreeSet<(Kind, String)> {
    let revisions: BTreeSet<&str> = revisions.into_iter().collect();
    let attempts = seen.attempts.iter().filter(|attempt| revisions.contains(attempt.revision.as_str()));
    let config = attempts.flat_map(|attempt| {
        let names = attempt.config.iter();
        names.map(|name| manifests::config_name(&seen.release, name, &attempt.revision))
    });
    let deployments = seen.deployments.iter().filter(|deployment| revisions.contains(&*deployment.revision));
    let deployments = deployments.map(|deployment| deployment.name.clone());
    // Those whose Deployments were never made have none that could be seen.
    let contents = seen.contents.values().map(|content| (content, content.revision()));
    let contents = contents.filter(|(_, revision)| revisions.contains(revision.digits()));
    let planned = contents.flat_map(|(content, revision)| {
        let names = content.workloads.iter();
        names.map(move |workload| manifests::deployment_name(&seen.release, &workload.name, &revision))
    });
    let budgets = deployments.chain(planned).map(|name| (Kind::PodDisruptionBudget, name));
    config.map(|name| (Kind::ConfigMap, name)).chain(budgets).collect()
}

/// Removes everything of these revisions that nobody watches, or says what must be known before.
pub(super) fn remove<'a>(
    seen: &Observed,
    revisions: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Action>, Vec<Ask>> {
    let asks: Vec<Ask> = of(seen, revisions).into_iter().map(|(kind, name)| Ask::LiveObject(kind, name)).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Err(asks);
    }
    let found = asks.iter().filter_map(|ask| match (ask, seen.answer(ask)) {
        (Ask::LiveObject(kind, name), Some(Answer::Object(Some(found)))) if found.ours => {
            Some(Action::delete(*kind, name, &found.uid))
        }
        _ => None,
    });
    Ok(found.collect())
}

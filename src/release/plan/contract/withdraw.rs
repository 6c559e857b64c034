//! Withdraw: before a Contract migration nothing of any other version runs, or can come to run by itself; pure.
//!
//! Whether anything does is asked of the API server and not of what watches have shown, and asked again until the Job is
//! resumed: between an approval and the first statement may lie hours.

use super::super::{
    super::{
        manifests,
        observed::{Answer, Ask, DeploymentSeen, Observed},
    },
    Action, Move, Plan, Situation, belongings, ending, fence,
    going::Going,
    later, overdue, recorded, scaling,
};
use super::{gate, working};
use crate::api::{Duration, Reason, Record, RevisionId, labels::Role};

/// When to ask again for what no watch shows: a ReplicaSet that has not come to its end, a pod with none of our labels.
const AGAIN: Duration = Duration::from_secs(1);

/// What has to be over before a Contract migration may run.
pub(in super::super) struct Waits {
    reason: Reason,
    going: Going,
}

impl Waits {
    /// Returns what it is, in words.
    pub(in super::super) fn waiting(&self) -> &str {
        &self.going.waiting
    }

    /// Returns whether the API server has said all that is asked of it.
    pub(in super::super) fn is_known(&self, seen: &Observed) -> bool {
        self.going.asks.iter().all(|ask| seen.answer(ask).is_some())
    }

    /// Waits for it, as long as the step may take.
    pub(in super::super) fn wait(self, seen: &Observed, record: Record, situation: Situation) -> Move {
        if self.is_known(seen) && overdue(seen, &record) {
            let message = format!("It did not begin in time: {}. Nothing was migrated.", self.waiting());
            return ending::failed(seen, record, (self.reason, message));
        }
        let Going { actions, asks, again, waiting: _ } = self.going;
        let mut plan = Plan { actions, asks, ..Plan::stay(record, situation) };
        again.into_iter().for_each(|at| plan.look_again_at(at));
        plan.into()
    }
}

/// Gives up what is kept of the version before, and waits until nothing of it is left; `None` when nothing is.
pub(super) fn previous(seen: &Observed, record: &mut Record) -> Option<Move> {
    let kept = record.previous.take();
    if kept.is_some() || !recorded(seen, record) {
        // It goes once a look has read back that it is kept no longer.
        let what = kept.map_or_else(String::new, |kept| format!("{} is withdrawn for good.", kept.version));
        let situation = working(record, &what);
        return Some(Plan::stay(record.clone(), situation).into());
    }
    let waits = Waits { reason: Reason::EarlierVersionRuns, going: others(seen, record)? };
    let situation = working(record, &format!("Waiting: {}.", waits.waiting()));
    Some(waits.wait(seen, record.clone(), situation))
}

/// Returns what keeps a Contract migration from running at this moment: somebody may have started a former version by
/// hand, or what serves may have become unwell, so that people look for a way back.
pub(in super::super) fn may_not_run(seen: &Observed, record: &Record) -> Option<Waits> {
    if !super::is_under_way(record) {
        return None;
    }
    let unwell = gate::unwell(seen, record)
        .map(|problem| Waits { reason: Reason::ActiveUnhealthy, going: Going::waits(problem) });
    unwell.or_else(|| Some(Waits { reason: Reason::EarlierVersionRuns, going: others(seen, record)? }))
}

/// Removes what is left of other revisions; `None` when the API server says that nothing is.
fn others(seen: &Observed, record: &Record) -> Option<Going> {
    let active = record.active.as_ref().map(|active| &active.revision)?;
    let is_other = |digits: &str| digits != active.digits();
    let left: Vec<&DeploymentSeen> =
        seen.deployments.iter().filter(|deployment| deployment.ours && is_other(&deployment.revision)).collect();
    if let Some(elsewhere) = elsewhere(seen, record, (active, !left.is_empty())) {
        return Some(elsewhere);
    }
    let fences = fence::deployments(seen, record, left.iter().copied());
    if !fences.is_empty() {
        return Some(Going::acts(fences, "what another leader may still write is made to fail first".to_owned()));
    }
    if let Some(deployment) = left.first() {
        let waiting = format!("Deployment {} goes", deployment.name);
        return Some(match belongings::remove(seen, left.iter().map(|deployment| deployment.revision.as_str())) {
            Err(asks) => Going { asks, waiting, ..Going::default() },
            Ok(belongings) => {
                let autoscalers = scaling::remove_others(seen, Some(active)).map(|(_, removal)| removal);
                let goes = left.into_iter().filter(|deployment| !deployment.deleting).map(Action::remove);
                Going::acts(autoscalers.chain(belongings).chain(goes).collect(), waiting)
            }
        });
    }
    let mut pods = seen.pods.iter().filter(|pod| pod.job.is_none() && !pod.ended && is_other(&pod.revision));
    if let Some(pod) = pods.next() {
        return Some(Going::waits(format!("pod {} has not ended", pod.name)));
    }
    unseen(seen, record, active)
}

/// Returns a Service of ours that does not point at what serves; upkeep points it back. Nothing is removed while any may
/// select it, so each is read live before.
fn elsewhere(seen: &Observed, record: &Record, (active, removes): (&RevisionId, bool)) -> Option<Going> {
    let waits = |name: &str| Going::waits(format!("Service {name} does not point at what serves"));
    let is_other = |selected: Option<&str>| selected != Some(active.digits());
    let services = seen.services.iter().filter(|service| service.ours && service.role == Some(Role::Active));
    // One that is being deleted has no place in what serves.
    let mut services = services.filter(|service| !service.deleting);
    if let Some(elsewhere) = services.find(|service| is_other(service.selected())) {
        return Some(waits(&elsewhere.name));
    }
    // By name: labels can be taken off a Service that still selects.
    let asks = record.traffic.iter().filter(|_| removes).map(|traffic| Ask::LiveService(traffic.service.clone()));
    let asks: Vec<Ask> = asks.collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Some(Going { asks, waiting: "where Services point".to_owned(), ..Going::default() });
    }
    asks.iter().find_map(|ask| match seen.answer(ask) {
        Some(Answer::Service(Some(service))) if is_other(service.selected()) => Some(waits(&service.name)),
        _ => None,
    })
}

/// Returns what the API server knows of other versions and no watch has shown, or never shows.
fn unseen(seen: &Observed, record: &Record, active: &RevisionId) -> Option<Going> {
    let adopted = record.adoption.iter().flat_map(|adoption| &adoption.workloads).map(manifests::adopted_selector);
    let selectors = [manifests::others_selector(&seen.release, active.digits())].into_iter().chain(adopted);
    let asks: Vec<Ask> = selectors.map(Ask::Left).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Some(Going { asks, waiting: "whether anything else still runs".to_owned(), ..Going::default() });
    }
    let left = asks.iter().find_map(|ask| match seen.answer(ask) {
        Some(Answer::Left(Some(left))) => Some(format!("{left} has not ended")),
        _ => None,
    })?;
    Some(Going { again: Some(later(seen.now, AGAIN)), ..Going::waits(left) })
}

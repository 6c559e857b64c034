//! Withdraw: before a Contract migration nothing of any other version runs, or can come to run by itself; pure.

use std::collections::BTreeMap;

use super::super::{
    super::observed::{Answer, Ask, DeploymentSeen, Observed},
    Action, Move, Plan, Situation, belongings, fence,
    going::Going,
    later, recorded, scaling,
};
use super::working;
use crate::api::{
    Duration, Outcome, Reason, Record, RevisionId,
    labels::{self, Role},
};

/// When to ask again for what no watch shows: a ReplicaSet that has not come to its end.
const AGAIN: Duration = Duration::from_secs(1);

/// Gives up what is kept of the version before, and waits until nothing of it is left; `None` when nothing is.
pub(super) fn previous(seen: &Observed, record: &mut Record) -> Option<Move> {
    let kept = record.previous.take();
    if kept.is_some() || !recorded(seen, record) {
        // It goes once a look has read back that it is kept no longer.
        let what = kept.map_or_else(String::new, |kept| format!("{} is withdrawn for good.", kept.version));
        let situation = working(record, &what);
        return Some(Plan::stay(record.clone(), situation).into());
    }
    let going = others(seen, record)?;
    let situation = working(record, &format!("Waiting: {}.", going.waiting));
    Some(waits(record, situation, going))
}

/// Makes sure, before its Job is made, that it is still so: somebody may have started a former version by hand.
pub(in super::super) fn still_withdrawn(seen: &Observed, record: &Record) -> Option<Move> {
    let going = if super::is_under_way(record) { others(seen, record)? } else { return None };
    let told = format!("Nothing of another version may run: {}.", going.waiting);
    Some(waits(record, Situation::Working(Reason::Migrating, told), going))
}

fn waits(record: &Record, situation: Situation, going: Going) -> Move {
    let mut plan = Plan { actions: going.actions, asks: going.asks, ..Plan::stay(record.clone(), situation) };
    going.again.into_iter().for_each(|at| plan.look_again_at(at));
    plan.into()
}

/// Removes what is left of other revisions; `None` when the API server says that nothing is.
fn others(seen: &Observed, record: &Record) -> Option<Going> {
    let active = record.active.as_ref().map(|active| &active.revision)?;
    let is_other = |digits: &str| digits != active.digits();
    let mut services = seen.services.iter().filter(|service| service.ours && service.role == Some(Role::Active));
    // Upkeep points it back.
    if let Some(elsewhere) = services.find(|service| service.selected().is_some_and(is_other)) {
        return Some(Going::waits(format!("Service {} points at another version", elsewhere.name)));
    }
    let left: Vec<&DeploymentSeen> =
        seen.deployments.iter().filter(|deployment| deployment.ours && is_other(&deployment.revision)).collect();
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
    let ask = Ask::Left(everything_of(seen, before(record, active)?));
    match seen.answer(&ask) {
        None => {
            let waiting = "whether anything else still runs".to_owned();
            Some(Going { asks: vec![ask], waiting, ..Going::default() })
        }
        // A watch shows the end of a pod; nothing shows that of a ReplicaSet.
        Some(Answer::Left(Some(left))) => {
            let waiting = format!("{left} has not ended");
            Some(Going { asks: vec![ask], waiting, again: Some(later(seen.now, AGAIN)), ..Going::default() })
        }
        Some(_) => None,
    }
}

/// Returns the revision that served before the active one. Of earlier ones nothing was kept when it came.
fn before<'a>(record: &'a Record, active: &RevisionId) -> Option<&'a RevisionId> {
    let served = record.history.iter().rev().filter(|entry| entry.outcome == Outcome::Succeeded);
    served.map(|entry| &entry.revision).find(|revision| *revision != active)
}

/// Returns the selector of everything that belongs to a revision.
fn everything_of(seen: &Observed, revision: &RevisionId) -> BTreeMap<String, String> {
    [(labels::RELEASE_UID, seen.release.uid.as_str()), (labels::REVISION, revision.digits())]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

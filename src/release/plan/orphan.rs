//! Orphan: what serves is let go before its Release ends, and keeps serving without us; pure.
//!
//! What serves is what a Service selects, read live. Services come first: one that goes takes all traffic with it.

use std::collections::BTreeSet;

use super::{
    super::{
        manifests::Kind,
        observed::{Answer, Ask, Observed, ServiceSeen},
    },
    Action, belongings, scaling,
};
use crate::api::labels::{NO_REVISION, Role};

/// How far it is.
pub(super) enum Letting {
    /// This must be known first.
    Asking(Vec<Ask>),
    /// These objects still have owners.
    Owned(Vec<Action>),
    /// Nothing that serves has an owner of ours any more.
    Gone,
}

/// Lets go of what serves.
pub(super) fn let_go(seen: &Observed) -> Letting {
    // By their labels: in a foreground deletion the garbage collector has taken the Release off already.
    let services = seen.services.iter().filter(|service| service.role == Some(Role::Active));
    let asks: Vec<Ask> = services.map(|service| Ask::LiveService(service.name.clone())).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Letting::Asking(asks);
    }
    let live: Vec<&ServiceSeen> = asks.iter().filter_map(|ask| serving(seen.answer(ask))).collect();
    // Where nothing but workers serves, no Service says whose they are.
    let workers = seen.record().active.as_ref().filter(|_| asks.is_empty()).map(|active| active.revision.digits());
    let digits: BTreeSet<&str> = live.iter().filter_map(|service| service.selected()).chain(workers).collect();
    let objects: Vec<Ask> = objects(seen, &live, &digits).map(|(kind, name)| Ask::LiveObject(kind, name)).collect();
    if objects.iter().any(|ask| seen.answer(ask).is_none()) {
        return Letting::Asking(objects);
    }
    // Held where a release has just needed it, an autoscaler would stay so for ever.
    let kept = seen.own_autoscalers().filter(|found| digits.contains(&*found.revision));
    let bounds = kept.filter_map(scaling::bounds_of_spec);
    let owned: Vec<Action> = bounds.chain(objects.iter().filter_map(|ask| disown(seen, ask))).collect();
    if owned.is_empty() { Letting::Gone } else { Letting::Owned(owned) }
}

fn serving(answer: Option<&Answer>) -> Option<&ServiceSeen> {
    match answer {
        Some(Answer::Service(Some(service))) => {
            Some(service.as_ref()).filter(|service| service.selected().is_some_and(|digits| digits != NO_REVISION))
        }
        _ => None,
    }
}

/// Lists what serves.
fn objects<'a>(
    seen: &'a Observed,
    live: &'a [&ServiceSeen],
    digits: &'a BTreeSet<&str>,
) -> impl Iterator<Item = (Kind, String)> + 'a {
    let services = live.iter().map(|service| (Kind::Service, service.name.clone()));
    let deployments = seen.deployments.iter().filter(|deployment| digits.contains(&*deployment.revision));
    let deployments = deployments.map(|deployment| (Kind::Deployment, deployment.name.clone()));
    let autoscalers = seen.autoscalers.iter().filter(|found| digits.contains(&*found.revision));
    let autoscalers = autoscalers.map(|found| (Kind::HorizontalPodAutoscaler, found.name.clone()));
    services.chain(deployments).chain(autoscalers).chain(belongings::of(seen, digits.iter().copied()))
}

fn disown(seen: &Observed, ask: &Ask) -> Option<Action> {
    let (Ask::LiveObject(kind, name), Some(Answer::Object(Some(found)))) = (ask, seen.answer(ask)) else { return None };
    let is_ours = found.release == seen.release.uid && !found.owners.is_empty();
    is_ours.then(|| Action::Disown {
        kind: *kind,
        name: name.clone(),
        uid: found.uid.clone(),
        owners: found.owners.clone(),
    })
}

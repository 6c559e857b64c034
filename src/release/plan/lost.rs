//! Lost: Deployments of ours that no watch shows, because somebody took their labels off; pure.
//!
//! Their pods still say whose they are. Whatever was to be done with such a Deployment, also to let it end, waits for nothing
//! but its labels, and those are put back at every step.

use std::collections::BTreeSet;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, Observed, PodSeen},
    },
    Action, Plan,
};

/// Looks for them by the pods that they have, and puts their labels back.
pub(super) fn find(seen: &Observed, plan: &mut Plan) {
    // Nothing makes the way back wait.
    if plan.act_first {
        return;
    }
    // Making it anew puts the labels back as well.
    let is_made = |name: &str| {
        let makes = |action: &Action| matches!(action, Action::Create(made) if made.kind == Kind::Deployment && made.name == name);
        plan.upkeep.iter().any(makes)
    };
    let lost = seen.pods.iter().filter_map(|pod| unseen(seen, pod)).filter(|(name, ..)| !is_made(name));
    let lost: BTreeSet<_> = lost.collect();
    for (name, workload, digits) in lost {
        let ask = Ask::LiveObject(Kind::Deployment, name.to_owned());
        match seen.answer(&ask) {
            None => plan.asks.push(ask),
            Some(Answer::Object(Some(found))) if found.owners.contains(&seen.release.uid) => {
                let patch = manifests::deployment_labelled(&seen.release, (workload, digits), found);
                plan.upkeep.push(Action::Label { kind: Kind::Deployment, name: name.to_owned(), patch });
            }
            // It is gone, and its pods are about to go; or it is no longer ours.
            Some(_) => {}
        }
    }
}

/// Returns the Deployment that a pod was made for, with its workload and the digits of its revision, when it is one of ours
/// and is not seen.
fn unseen<'a>(seen: &Observed, pod: &'a PodSeen) -> Option<(&'a str, &'a str, &'a str)> {
    let name = pod.deployment.as_deref().filter(|_| !pod.ended && !pod.deleting && !pod.workload.is_empty())?;
    let ours = manifests::child_name(&[&seen.release.name, &pod.workload, &pod.revision]) == name;
    let seen_there = seen.deployments.iter().any(|deployment| {
        deployment.name == name && deployment.workload == pod.workload && deployment.revision == pod.revision
    });
    (ours && !seen_there).then_some((name, pod.workload.as_str(), pod.revision.as_str()))
}

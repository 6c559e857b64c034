//! Elsewhere: what of somebody else's would select the candidate's pods, or scales what the Release scales; pure.
//!
//! Such objects are listed while a plan is made, and where a budget is about to be made: nobody watches them.

use std::collections::BTreeMap;

use super::{
    super::{
        manifests::{self, Kind},
        observed::{Answer, Ask, Observed, SelectingSeen},
    },
    health::{self, Readiness},
    inspect::Inspection,
};
use crate::api::{Reason, Record, ReleaseSpec, Workload};

/// Kinds that are looked at.
const KINDS: [Kind; 4] = [Kind::Service, Kind::Deployment, Kind::PodDisruptionBudget, Kind::HorizontalPodAutoscaler];

/// Returns what must be asked for before it is known.
pub(super) fn asks(seen: &Observed) -> Vec<Ask> {
    KINDS.into_iter().map(Ask::Selecting).filter(|ask| seen.answer(ask).is_none()).collect()
}

/// Looks for what would take the candidate's pods for its own.
pub(super) fn look(seen: &Observed, spec: &ReleaseSpec) -> Inspection {
    let asks = asks(seen);
    if !asks.is_empty() {
        return Inspection::Asking(asks);
    }
    let found = spec.workloads.iter().find_map(|workload| {
        let labels = manifests::pod_labels(&seen.release, spec, workload);
        let selecting = |kind: Kind| foreign(seen, kind).find(|found| found.selects(&labels));
        selecting(Kind::Service)
            .map(|found| by_service(found, workload))
            .or_else(|| selecting(Kind::Deployment).map(|found| by_deployment(found, workload)))
    });
    let found = found.map(|message| (Reason::SelectedElsewhere, message)).or_else(|| scaled(seen, spec));
    found.map_or(Inspection::Fine, |(reason, message)| Inspection::Refused(reason, message))
}

fn by_service(found: &SelectingSeen, workload: &Workload) -> String {
    format!(
        "Service {} selects the pods of workload {} as well, by {}: it would send them traffic before they are verified. \
         Nothing was changed. Give it a narrower selector, or take these labels off the template.",
        found.name,
        workload.name,
        found.by()
    )
}

fn by_deployment(found: &SelectingSeen, workload: &Workload) -> String {
    format!(
        "Deployment {} selects the pods of workload {} as well, by {}: whatever counts or scales by that selector would \
         take them for its own. Nothing was changed. Take these labels off the template; a Deployment's own selector cannot \
         be changed.",
        found.name,
        workload.name,
        found.by()
    )
}

/// Finds an autoscaler of somebody else on a Deployment of the Release.
fn scaled(seen: &Observed, spec: &ReleaseSpec) -> Option<(Reason, String)> {
    let revision = spec.revision();
    let green = |name: &str| {
        spec.workloads
            .iter()
            .any(|workload| manifests::deployment_name(&seen.release, &workload.name, &revision) == name)
    };
    let is_ours = |name: &str| green(name) || seen.deployments.iter().any(|seen| seen.ours && seen.name == name);
    foreign(seen, Kind::HorizontalPodAutoscaler).find_map(|found| {
        let deployment = found.scales.as_deref().filter(|name| is_ours(name))?;
        let message = format!(
            "HorizontalPodAutoscaler {} scales Deployment {deployment}, which this Release makes and scales. Nothing was \
             changed. Delete it: it would speak for one revision only.",
            found.name
        );
        Some((Reason::ReplicasOwnedByAutoscaler, message))
    })
}

/// Returns the budgets of somebody else that hold for pods with these labels; `None` until that was asked.
pub(super) fn budgets<'a>(seen: &'a Observed, labels: &BTreeMap<String, String>) -> Option<Vec<&'a str>> {
    seen.answer(&Ask::Selecting(Kind::PodDisruptionBudget))?;
    let found = foreign(seen, Kind::PodDisruptionBudget).filter(|found| found.selects(labels));
    Some(found.map(|found| found.name.as_str()).collect())
}

/// Lists what stands around the release and could go wrong, as far as that is known.
pub(super) fn risks(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> Vec<String> {
    let risk = |workload: &Workload| {
        let names = budgets(seen, &manifests::pod_labels(&seen.release, spec, workload))?;
        (names.len() > 1).then(|| {
            format!(
                "Workload {}: {} PodDisruptionBudgets hold for its pods ({}), so that none of them can be evicted: a node \
                 that is drained waits for ever.",
                workload.name,
                names.len(),
                names.join(", ")
            )
        })
    };
    unwell(seen, record).into_iter().chain(spec.workloads.iter().filter_map(risk)).collect()
}

/// Says that what serves is unwell: the way back would lead there.
fn unwell(seen: &Observed, record: &Record) -> Option<String> {
    let (version, worst) = health::of_what_serves(seen, record)?;
    let said = record.candidate.as_ref().is_some_and(|candidate| candidate.beside_broken);
    match worst.readiness {
        Readiness::Critical => Some(format!(
            "{version}, which serves, is broken ({}): as long as it is, nobody can go back to it. It does not keep this release from \
             going on, which takes an approval that knows of it.",
            worst.message
        )),
        Readiness::Low => Some(format!(
            "{version}, which serves, is unwell ({}): as long as it is, going back to it helps nobody.",
            worst.message
        )),
        Readiness::Enough => {
            said.then(|| format!("{version}, which serves, was broken a while ago and is well again."))
        }
    }
}

/// Lists the objects of a kind that belong to no Release.
fn foreign(seen: &Observed, kind: Kind) -> impl Iterator<Item = &SelectingSeen> {
    let all: &[SelectingSeen] = match seen.answer(&Ask::Selecting(kind)) {
        Some(Answer::Selecting(all)) => all,
        _ => &[],
    };
    all.iter().filter(|found| !found.of_release)
}

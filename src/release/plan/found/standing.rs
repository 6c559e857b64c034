//! Standing: how well what is to be taken over is. Nobody watches it yet, so its Deployment is asked for; pure.

use super::{
    super::{
        super::{
            manifests::Kind,
            observed::{Answer, Ask, Observed, RunningSeen},
        },
        health::{self, Worst},
    },
    AdoptedWorkload, Record,
};

/// Returns the workloads that are to be taken over; none once they are.
fn due(record: &Record) -> impl Iterator<Item = &AdoptedWorkload> {
    let adoption = record.adoption.as_ref().filter(|_| record.active.is_none());
    adoption.into_iter().flat_map(|adoption| &adoption.workloads)
}

fn ask(adopted: &AdoptedWorkload) -> Ask {
    Ask::Running(Kind::Deployment, adopted.deployment.clone())
}

/// Returns what must be asked for before it is known.
pub(in super::super) fn asks(seen: &Observed, record: &Record) -> Vec<Ask> {
    due(record).map(ask).filter(|ask| seen.answer(ask).is_none()).collect()
}

/// Returns what runs, with what it was found with; what is gone, or another one, is found out when it is taken over.
fn running<'a>(seen: &'a Observed, record: &'a Record) -> impl Iterator<Item = (&'a AdoptedWorkload, &'a RunningSeen)> {
    due(record).filter_map(|adopted| match seen.answer(&ask(adopted)) {
        Some(Answer::Running(Some(live))) => Some((adopted, live.as_ref())),
        _ => None,
    })
}

/// Judges it as what serves is judged, as far as this look has asked for it.
pub(in super::super) fn worst(seen: &Observed, record: &Record) -> Option<Worst> {
    let judged = running(seen, record).map(|(adopted, live)| Worst {
        readiness: health::judge(live.ready, adopted.pods, &seen.release.spec.watch),
        message: format!("{} of {} pods of Deployment {} are ready", live.ready, adopted.pods, adopted.deployment),
    });
    judged.max_by_key(|worst| worst.readiness)
}

/// Says what else of it could go wrong, as far as this look has asked for it.
pub(in super::super) fn risks(seen: &Observed, record: &Record) -> Vec<String> {
    let risk = |(adopted, live): (&AdoptedWorkload, &RunningSeen)| {
        let paused = live.spec.get("paused").is_some_and(|paused| paused == true);
        (paused || !live.rolled_out).then(|| {
            format!(
                "Deployment {} is in the middle of a rollout, or paused: not all its pods are of one template.",
                adopted.deployment
            )
        })
    };
    running(seen, record).filter_map(risk).collect()
}

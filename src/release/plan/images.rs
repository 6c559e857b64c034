//! Images: a tag can be moved after the approval. Nobody here can resolve it, but nodes say what they run: the image that
//! the candidate came up with stays the one that was approved, and another one ends the release; pure.

use std::collections::BTreeMap;

use super::{
    super::observed::{Observed, PodSeen},
    Move,
    ending::{self, Why},
};
use crate::api::{Outcome, Reason, Record, ReleaseSpec, RevisionId, RunningImage};

/// Turns back when pods of the candidate run something else under the same tag than the first of them did.
pub(super) fn check(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<Move> {
    let message = moved(seen, record, content)?;
    let outcome = if ending::moved(record) { Outcome::RolledBack } else { Outcome::Failed };
    Some(ending::turn_back(record.clone(), seen.now, Why { reason: Reason::ApprovalStale, message, outcome }))
}

/// Remembers what the candidate came up with.
pub(super) fn note(seen: &Observed, record: &mut Record, content: &ReleaseSpec) {
    let Some(candidate) = &mut record.candidate else { return };
    let revision = &candidate.revision;
    let images = tagged(content).filter_map(|(workload, container, _)| {
        let (_, id) = running(seen, revision, workload, container).next()?;
        Some(RunningImage { workload: workload.to_owned(), container: container.to_owned(), id: id.to_owned() })
    });
    candidate.images = images.collect();
}

fn moved(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<String> {
    let candidate = record.candidate.as_ref()?;
    let (revision, noted) = (&candidate.revision, candidate.images.iter());
    let noted: BTreeMap<_, _> = noted.map(|image| ((&*image.workload, &*image.container), image.id.as_str())).collect();
    tagged(content).find_map(|(workload, container, image)| {
        let mut running = running(seen, revision, workload, container);
        let first = match noted.get(&(workload, container)) {
            Some(first) => *first,
            None => running.next()?.1,
        };
        let (pod, id) = running.find(|(_, id)| *id != first)?;
        Some(format!(
            "{image} was moved: pod {} runs {id}, and what came up first was {first}. What was approved is not what runs",
            pod.name
        ))
    })
}

/// Returns the containers whose images are named by a tag, with their workloads and images.
fn tagged(content: &ReleaseSpec) -> impl Iterator<Item = (&str, &str, &str)> {
    let all = content.workloads.iter().flat_map(|workload| {
        workload.template.images().map(move |(container, image)| (workload.name.as_str(), container, image))
    });
    all.filter(|(_, _, image)| !image.contains('@'))
}

/// Returns what the pods of a container run.
fn running<'a>(
    seen: &'a Observed,
    revision: &RevisionId,
    workload: &str,
    container: &'a str,
) -> impl Iterator<Item = (&'a PodSeen, &'a str)> {
    seen.own_pods(workload, revision).flat_map(move |pod| {
        let of_container = pod.images.iter().filter(move |(name, _)| name == container);
        of_container.map(move |(_, id)| (pod, id.as_str()))
    })
}

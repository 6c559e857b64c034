//! Images: a tag can be moved after the approval. Nobody here can resolve it, but nodes say what they run: the image that
//! was run first, by a Job of the migration or by the candidate's pods, stays the one that was approved, and another one ends
//! the release; pure.

use serde_json::Value;

use super::{
    super::observed::{Observed, PodSeen},
    Move,
    ending::{self, Why},
};
use crate::api::{CandidateRevision, MigrationSource, Outcome, Reason, Record, ReleaseSpec, RevisionId, RunningImage};

/// How many images are remembered: as the schema has it.
const MOST: usize = 512;

/// Turns back when pods of the candidate run something else under the same tag than the first of them did.
pub(super) fn check(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<Move> {
    let message = moved(seen, record, content)?;
    let outcome = if ending::moved(record) { Outcome::RolledBack } else { Outcome::Failed };
    Some(ending::turn_back(record.clone(), seen.now, Why { reason: Reason::ApprovalStale, message, outcome }))
}

/// Remembers what the candidate came up with.
pub(super) fn note(seen: &Observed, record: &mut Record, content: &ReleaseSpec) {
    let Some(candidate) = &mut record.candidate else { return };
    for (workload, container, _) in tagged(content) {
        let first = running(seen, &candidate.revision, workload, container).next();
        if let Some((_, id)) = first.filter(|_| noted(candidate, workload, container).is_none()) {
            remember(candidate, workload, container, id);
        }
    }
}

/// Remembers what a Job of the candidate's migration has run in this container, where nothing of it had run before.
/// Returns what is wrong when it was another one.
pub(super) fn note_migration(
    seen: &Observed,
    record: &mut Record,
    content: &ReleaseSpec,
    (job, by): (&str, &str),
) -> Option<(Reason, String)> {
    let (workload, container, named) = of_migration(content)?;
    let candidate = record.candidate.as_mut()?;
    let pods = seen.pods.iter().filter(|pod| pod.job.as_deref() == Some(job));
    let mut running = pods.flat_map(|pod| ids(pod, by));
    let first = match noted(candidate, workload, container) {
        Some(first) => first.to_owned(),
        None => {
            // Under a Contract migration its version serves already.
            let serves = self::running(seen, &candidate.revision, workload, container).next();
            let (_, id) = serves.or_else(|| running.next())?;
            remember(candidate, workload, container, id);
            id.to_owned()
        }
    };
    running.find(|(_, id)| *id != first).map(|other| (Reason::ApprovalStale, words(named, other, &first)))
}

/// Returns the container in whose image a migration runs, with its workload, which is empty for a pod of its own; `None` where
/// nobody can move it.
fn of_migration(content: &ReleaseSpec) -> Option<(&str, &str, &str)> {
    let migration = content.database.as_ref()?.migration.as_ref()?;
    let workload = match &migration.source {
        MigrationSource::Workload(name) => name.as_str(),
        MigrationSource::Pod(_) => "",
        MigrationSource::Sql(_) => return None,
    };
    let first = migration.template(content)?.containers().next()?;
    let text = |key: &str| first.get(key).and_then(Value::as_str);
    let (container, named) = (text("name")?, text("image")?);
    (!named.contains('@')).then_some((workload, container, named))
}

fn remember(candidate: &mut CandidateRevision, workload: &str, container: &str, id: &str) {
    if candidate.images.len() < MOST {
        let (workload, container, id) = (workload.to_owned(), container.to_owned(), id.to_owned());
        candidate.images.push(RunningImage { workload, container, id });
    }
}

/// Returns what a container of the candidate ran first.
fn noted<'a>(candidate: &'a CandidateRevision, workload: &str, container: &str) -> Option<&'a str> {
    let mut noted = candidate.images.iter();
    noted.find(|image| image.workload == workload && image.container == container).map(|image| image.id.as_str())
}

fn moved(seen: &Observed, record: &Record, content: &ReleaseSpec) -> Option<String> {
    let candidate = record.candidate.as_ref()?;
    tagged(content).find_map(|(workload, container, image)| {
        let mut running = running(seen, &candidate.revision, workload, container);
        let first = match noted(candidate, workload, container) {
            Some(first) => first,
            None => running.next()?.1,
        };
        running.find(|(_, id)| *id != first).map(|other| words(image, other, first))
    })
}

fn words(image: &str, (pod, id): (&PodSeen, &str), first: &str) -> String {
    format!(
        "{image} was moved: pod {} runs {id}, and what came up first was {first}. What was approved is not what runs",
        pod.name
    )
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
    seen.own_pods(workload, revision).flat_map(move |pod| ids(pod, container))
}

fn ids<'a>(pod: &'a PodSeen, container: &'a str) -> impl Iterator<Item = (&'a PodSeen, &'a str)> {
    let of_container = pod.images.iter().filter(move |(name, _)| name == container);
    of_container.map(move |(_, id)| (pod, id.as_str()))
}

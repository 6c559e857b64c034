//! The Job in which a migration's own command says whether anything is due; pure.

use super::{
    super::observed::{InstanceSeen, ReleaseSeen, Settings},
    Manifest, child_name,
    database::{DatabaseJob, image, look_name, migration_pod},
};
use crate::{
    agent_job::{Work, targets},
    api::{Duration, Migration, PodTemplate, Record, ReleaseSpec},
    protocol::PendingParameters,
};

/// How long the command may take. It reads a table; what is known of a hanging one must come before its Job's deadline.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Returns the name of the Job. A step that is entered again asks again, as it looks again.
#[must_use]
pub fn pending_name(release: &ReleaseSeen, record: &Record) -> String {
    child_name(&[&look_name(release, record), "pending"])
}

/// Returns the Job; `None` when its pod reads config of the revision, which is made only once the release has begun.
#[must_use]
pub fn pending_job(
    (release, settings): (&ReleaseSeen, &Settings),
    (spec, migration): (&ReleaseSpec, &Migration),
    (name, instance): (&str, &InstanceSeen),
) -> Option<Manifest> {
    let work = Work::Pending(PendingParameters {
        database: targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref()),
        argv: migration.pending.clone(),
        timeout: TIMEOUT,
        lock_timeout: migration.lock_timeout,
    });
    let job = |pod: Option<&PodTemplate>| {
        let job = DatabaseJob { image: image(pod)?, ..DatabaseJob::new(name, instance, &work) };
        Some(job.manifest((release, settings), spec, None))
    };
    let as_written = job(migration.template(spec))?;
    (job(migration_pod(release, spec, migration).as_ref()).as_ref() == Some(&as_written)).then_some(as_written)
}

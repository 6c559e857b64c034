//! Jobs that look at a database or write its marker; pure.

use super::plan::Observed;
use crate::{
    agent_job::{AgentJob, Image, Owner, Role, Work, probe, targets},
    api::{Probing, labels},
    databases::Action,
    protocol::{InspectParameters, MarkParameters},
    release::manifests::child_name,
};

/// Returns the name of the Job of a look.
pub(super) fn job_name(seen: &Observed, look: &Probing) -> String {
    child_name(&[&seen.name, &look.verb, &look.number.to_string()])
}

/// Makes the Job of a look.
pub(super) fn make(seen: &Observed, look: &Probing) -> Action {
    let name = job_name(seen, look);
    let work = match look.verb.as_str() {
        probe::MARK => Work::Mark(MarkParameters {
            database: targets::database(&seen.name, &seen.spec, seen.status.identity.as_ref()),
        }),
        // Whoever it is: both values are wanted when it is another one.
        _ => Work::Inspect(InspectParameters {
            database: Some(targets::database(&seen.name, &seen.spec, None)),
            storages: vec![],
            migration: None,
            schema: false,
        }),
    };
    // The schema of ours belongs to whoever writes the ledger.
    let role = if look.verb == probe::MARK { Role::Migrate } else { Role::Owner };
    let owner = Owner { kind: "DatabaseInstance", name: &seen.name, uid: &seen.uid };
    let job = AgentJob {
        name: &name,
        namespace: &seen.namespace,
        labels: [(labels::DATABASE_UID, seen.uid.clone())].into(),
        owners: vec![owner.reference()],
        work: &work,
        agent_image: &seen.settings.agent_image,
        image: Image::Agent,
        database: Some((&seen.spec.postgres, role)),
        also: &[],
        storages: vec![],
        migrations: None,
        scratch: None,
        rehearsal: None,
        settings: &seen.spec.jobs.or(&seen.settings.jobs),
    };
    Action::Create { body: job.manifest(), name }
}

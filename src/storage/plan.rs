//! Plans for one BackupStorage; pure.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    agent_job::{
        AgentJob, Image, Owner, Work,
        probe::{self, Looks, Turn},
        seen::AgentJobSeen,
        targets,
    },
    api::{
        BackupStorageSpec, BackupStorageStatus, Condition, ConditionType, Probing, Reason, Standing, condition, labels,
        set_standing,
    },
    databases::{Action, Plan},
    protocol::{InspectParameters, InspectResult, Refusal},
    release::{manifests::child_name, observed::Settings},
};

/// Everything one look at a BackupStorage has shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When the look was taken.
    pub now: Timestamp,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What is asked for.
    pub spec: BackupStorageSpec,
    /// Its status as read.
    pub status: BackupStorageStatus,
    /// Jobs that try it.
    pub jobs: Vec<AgentJobSeen>,
    /// What the operator was told at its start.
    pub settings: Settings,
}

/// Returns what is to be done.
#[must_use]
pub fn plan(seen: &Observed) -> Plan<BackupStorageStatus> {
    let mut plan = Plan { status: seen.status.clone(), actions: vec![], recheck: None };
    if seen.deleting {
        return plan;
    }
    let looks = Looks {
        now: seen.now,
        uid: &seen.uid,
        generation: seen.generation,
        record: seen.status.probing.as_ref(),
        jobs: &seen.jobs,
    };
    let name = |look: &Probing| job_name(seen, look);
    let mut standing = None;
    match looks.turn(name) {
        Turn::Remember(look) => {
            plan.status.probing = Some(look);
            standing = moving(seen, None);
        }
        Turn::Make => {
            plan.actions.extend(looks.record.map(|look| make(seen, look)));
            standing = moving(seen, None);
        }
        // Nothing but what writes waits to be resumed.
        Turn::Resume(_) => {}
        Turn::Wait { problem, until } => {
            plan.recheck = until;
            standing = moving(seen, problem.as_deref());
        }
        Turn::Ended(result) => {
            let problem =
                result.and_then(probe::read::<InspectResult>).map_or_else(Some, |result| problem(seen, result));
            plan.status.probing = looks.ended(problem.is_none());
            standing = Some(said(seen, problem));
        }
        Turn::Rest(until) => plan.recheck = until,
    }
    plan.actions.extend(looks.former(name).map(|job| Action::Delete { name: job.name.clone(), uid: job.uid.clone() }));
    if let Some(standing) = standing {
        set_standing(&mut plan.status.conditions, &standing, (seen.generation, seen.now));
        plan.status.observed_generation = seen.generation;
    }
    plan
}

fn job_name(seen: &Observed, look: &Probing) -> String {
    child_name(&[&seen.name, "probe", &look.number.to_string()])
}

/// Says that the storage is tried. What was found last stands until something else is found.
fn moving(seen: &Observed, problem: Option<&str>) -> Option<Standing> {
    let message = match problem {
        None => "An object is written, read back and deleted.".to_owned(),
        Some(problem) => format!("An object is to be written, read back and deleted: {problem}"),
    };
    (!is_told(&seen.status.conditions, seen.generation)).then_some(Standing::Moving(Reason::Inspecting, message))
}

/// Returns whether the conditions say how a look for this generation has ended.
#[must_use]
pub fn is_told(conditions: &[Condition], generation: i64) -> bool {
    condition(conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.status != "Unknown" && ready.observed_generation == Some(generation))
}

/// Returns why the storage cannot be used.
fn problem(seen: &Observed, result: InspectResult) -> Option<Refusal> {
    match result.storages.into_iter().find(|storage| storage.name == seen.name) {
        Some(storage) => storage.problem,
        None => {
            let message = "The agent said nothing of this storage.".to_owned();
            Some(Refusal { reason: Reason::JobLost, message })
        }
    }
}

fn said(seen: &Observed, problem: Option<Refusal>) -> Standing {
    match problem {
        None => {
            let message = "Takes an object once, keeps it and returns it.".to_owned();
            Standing::Well(Reason::Usable, message)
        }
        Some(Refusal { reason, message }) => {
            let (name, namespace) = (&seen.name, &seen.namespace);
            let message = message.trim_end_matches('.');
            let next = format!("kubectl describe backupstorage {name} -n {namespace}");
            let words =
                format!("{message}. It is tried again by itself, and at once when the spec changes. Next: {next}");
            Standing::Stuck(reason, words)
        }
    }
}

fn make(seen: &Observed, look: &Probing) -> Action {
    let name = job_name(seen, look);
    Action::Create { body: job(seen, &name), name }
}

fn job(seen: &Observed, name: &str) -> Value {
    let work = Work::Inspect(InspectParameters {
        database: None,
        storages: vec![targets::storage(&seen.name, &seen.spec)],
        migration: None,
        schema: false,
    });
    let owner = Owner { kind: "BackupStorage", name: &seen.name, uid: &seen.uid };
    AgentJob {
        name,
        namespace: &seen.namespace,
        labels: [(labels::STORAGE_UID, seen.uid.clone())].into(),
        owners: vec![owner.reference()],
        work: &work,
        agent_image: &seen.settings.agent_image,
        image: Image::Agent,
        database: None,
        also: &[],
        storages: vec![(&seen.name, &seen.spec)],
        migrations: None,
        scratch: None,
        rehearsal: None,
        settings: &seen.spec.jobs.or(&seen.settings.jobs),
    }
    .manifest()
}

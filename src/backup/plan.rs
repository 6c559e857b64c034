//! Plans for one DatabaseBackup; pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;

use super::{
    manifests::{job_name, make},
    observed::{Inputs, Observed},
    result,
};
use crate::{
    agent_job::seen::{AgentJobSeen, Said, passes},
    api::{
        BackupPhase, BackupStorage, ConditionType, DatabaseBackupStatus, Reason, Standing, condition, set_condition,
        set_standing,
    },
    database,
    databases::{Action, Plan},
    protocol::{Answer, BackupResult, Refusal},
    release::words,
};

/// How many Jobs are started for one DatabaseBackup.
pub const ATTEMPTS: i32 = 3;
/// Wait before the second attempt, in seconds; four times that before the third.
const RETRY_SECONDS: i64 = 30;
/// How often it is asked whether the Release still exists that holds what somebody deletes.
const HOLDER_ASKED: SignedDuration = SignedDuration::from_secs(60);

/// Returns what is to be done.
#[must_use]
pub fn plan(seen: &Observed) -> Plan<DatabaseBackupStatus> {
    let mut plan = Plan { status: seen.status.clone(), actions: vec![], recheck: None };
    in_use(seen, &mut plan);
    let over = [BackupPhase::Completed, BackupPhase::Failed].iter().any(|phase| phase.as_str() == seen.status.phase);
    // The Jobs of one that goes go with it; one that a Release holds is still needed.
    if over || (seen.deleting && !seen.held) {
        return plan;
    }
    if seen.status.phase == BackupPhase::Running.as_str() && seen.status.retry_at.is_none() {
        attempt(seen, &mut plan);
        return plan;
    }
    if let Some(due) = seen.status.retry_at.as_ref().map(|at| at.0).filter(|due| *due > seen.now) {
        plan.recheck = Some(due);
        return plan;
    }
    match inputs(seen) {
        Ok(inputs) => begin(seen, &mut plan, &inputs),
        Err(standing) => phase(seen, &mut plan.status, BackupPhase::Waiting, &standing),
    }
    plan
}

/// Says that a Release holds a backup that somebody deletes, and asks whether there still is that Release: nothing
/// tells when one was removed by force.
fn in_use(seen: &Observed, plan: &mut Plan<DatabaseBackupStatus>) {
    let status = &mut plan.status;
    if seen.deleting && seen.held {
        if let Some(release_uid) = seen.release_uid.clone() {
            plan.actions.push(Action::LetGoOf { release_uid });
            plan.recheck = seen.now.checked_add(HOLDER_ASKED).ok();
        }
        let message = "A Release still depends on this backup; it goes when that does not need it any more.";
        let condition = (ConditionType::InUse, Some(true), Reason::InUse);
        set_condition(&mut status.conditions, condition, message, (seen.generation, seen.now));
    } else {
        status.conditions.retain(|condition| condition.type_ != ConditionType::InUse.as_str());
    }
}

/// Makes the Job of the next attempt, which waits to be resumed, and notes both.
fn begin(seen: &Observed, plan: &mut Plan<DatabaseBackupStatus>, inputs: &Inputs<'_>) {
    let number = seen.status.attempts + 1;
    let name = job_name(seen, number);
    let Some(job) = own(seen, &name) else {
        plan.actions.push(make(seen, inputs, (name, number)));
        return;
    };
    let status = &mut plan.status;
    (status.attempts, status.job, status.retry_at) = (number, Some(job.uid.clone()), None);
    status.started_at.get_or_insert(MicroTime(seen.now));
    phase(seen, status, BackupPhase::Running, &taking(seen, None));
}

/// Returns a Job of this backup.
fn own<'a>(seen: &'a Observed, name: &str) -> Option<&'a AgentJobSeen> {
    let ours = |job: &&AgentJobSeen| job.owner.as_deref() == Some(seen.uid.as_str()) && !job.deleting;
    seen.jobs.iter().filter(ours).find(|job| job.name == name)
}

/// Brings the present attempt on.
fn attempt(seen: &Observed, plan: &mut Plan<DatabaseBackupStatus>) {
    let status = &mut plan.status;
    let number = status.attempts;
    let name = job_name(seen, number);
    match (own(seen, &name), seen.status.job.clone()) {
        // As a version before this one has noted it.
        (None, None) => match inputs(seen) {
            Ok(inputs) => plan.actions.push(make(seen, &inputs, (name, number))),
            // Nothing has begun.
            Err(standing) => set_standing(&mut status.conditions, &standing, (seen.generation, seen.now)),
        },
        (None, Some(_)) => refused(seen, plan, lost(format!("Job {name} is gone"))),
        (Some(job), None) => status.job = Some(job.uid.clone()),
        (Some(job), Some(noted)) if noted != job.uid => {
            refused(seen, plan, lost(format!("Job {name} is another one of the same name")));
        }
        (Some(job), Some(uid)) if job.suspended => plan.actions.push(Action::Resume { name, uid }),
        (Some(job), Some(_)) => match job.said::<Answer<BackupResult>>(seen.now) {
            Said::NotYet { problem, until } => {
                plan.recheck = until.or(plan.recheck);
                let standing = taking(seen, problem.as_deref());
                set_standing(&mut status.conditions, &standing, (seen.generation, seen.now));
            }
            Said::Result(Answer::Done(done)) => match result::complete(seen, &done) {
                Ok(completed) => complete(seen, plan, completed),
                Err(refusal) => refused(seen, plan, refusal),
            },
            Said::Result(Answer::Refused(refusal)) => refused(seen, plan, refusal),
            Said::Lost(why) => refused(seen, plan, lost(why)),
        },
    }
}

fn complete(seen: &Observed, plan: &mut Plan<DatabaseBackupStatus>, completed: DatabaseBackupStatus) {
    plan.status = completed;
    let message = result::words(&plan.status);
    let condition = (ConditionType::Complete, Some(true), Reason::BackedUp);
    set_condition(&mut plan.status.conditions, condition, &message, (seen.generation, seen.now));
    phase(seen, &mut plan.status, BackupPhase::Completed, &Standing::Well(Reason::BackedUp, message));
}

/// What an attempt was refused for passes, or ends the backup.
fn refused(seen: &Observed, plan: &mut Plan<DatabaseBackupStatus>, Refusal { reason, message }: Refusal) {
    let status = &mut plan.status;
    let message = message.trim_end_matches('.');
    // Another pod has the credentials that stand in the Secret by then.
    let rotated = reason == Reason::AuthenticationFailed && status.attempts == 1;
    if (passes(reason) && status.attempts < ATTEMPTS) || rotated {
        let wait = RETRY_SECONDS << (2 * (status.attempts - 1).clamp(0, ATTEMPTS));
        let due = seen.now.saturating_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX);
        status.retry_at = Some(MicroTime(due));
        let at = due.strftime("%H:%M:%S");
        let message = format!(
            "Attempt {} of {ATTEMPTS}: {message}. No backup came of it; the next one begins at {at} UTC.",
            status.attempts
        );
        phase(seen, status, BackupPhase::Running, &Standing::Moving(reason, message));
        return;
    }
    status.completed_at = Some(MicroTime(seen.now));
    let (name, namespace, attempts) = (&seen.name, &seen.namespace, status.attempts);
    let message = format!(
        "{message}. There is no backup: {attempts} of {ATTEMPTS} attempts were made and it is not tried again by itself. Mend the cause and create another DatabaseBackup. Next: kubectl logs -n {namespace} job/{} --all-containers",
        job_name(seen, attempts)
    );
    let condition = (ConditionType::Complete, Some(false), reason);
    let words = format!("DatabaseBackup {name} has failed.");
    set_condition(&mut status.conditions, condition, &words, (seen.generation, seen.now));
    phase(seen, status, BackupPhase::Failed, &Standing::Stuck(reason, message));
}

fn lost(message: String) -> Refusal {
    Refusal { reason: Reason::JobLost, message }
}

fn taking(seen: &Observed, problem: Option<&str>) -> Standing {
    let names: Vec<&str> = seen.storages.iter().map(|(name, _)| name.as_str()).collect();
    let database = &seen.spec.database;
    let message = match problem {
        None => words::backs_up(database, names.into_iter()),
        Some(problem) => format!("A backup of {database} is to be taken into {}: {problem}", names.join(" and ")),
    };
    Standing::Moving(Reason::BackingUp, message)
}

fn phase(seen: &Observed, status: &mut DatabaseBackupStatus, phase: BackupPhase, standing: &Standing) {
    phase.as_str().clone_into(&mut status.phase);
    status.observed_generation = seen.generation;
    set_standing(&mut status.conditions, standing, (seen.generation, seen.now));
}

/// Returns what an attempt works with, or what is in its way.
fn inputs(seen: &Observed) -> Result<Inputs<'_>, Standing> {
    let name = &seen.spec.database;
    let database = seen.database.as_deref().ok_or_else(|| {
        let words = format!("There is no DatabaseInstance {name} beside this DatabaseBackup. It begins when there is.");
        Standing::Stuck(Reason::DatabaseNotFound, words)
    })?;
    let identity = database::usable(database).map_err(|(reason, message)| match reason {
        Reason::Inspecting => Standing::Moving(reason, message),
        _ => Standing::Stuck(reason, message),
    })?;
    if identity.marker.is_none() {
        let message = format!(
            "DatabaseInstance {name} is not marked yet, so no backup can be named after it. Next: kubectl describe databaseinstance {name} -n {}",
            seen.namespace
        );
        return Err(Standing::Stuck(Reason::NotMarked, message));
    }
    if seen.storages.is_empty() {
        let message = format!("Neither this DatabaseBackup nor DatabaseInstance {name} names a BackupStorage.");
        return Err(Standing::Stuck(Reason::StorageNotFound, message));
    }
    let storages = seen.storages.iter().map(|(storage, found)| usable(seen, storage, found.as_deref()));
    Ok(Inputs { database, storages: storages.collect::<Result<_, _>>()? })
}

/// Returns a storage that may be used, or what is in its way.
fn usable<'a>(seen: &Observed, name: &str, found: Option<&'a BackupStorage>) -> Result<&'a BackupStorage, Standing> {
    let Some(storage) = found else {
        let message = format!("There is no BackupStorage {name} beside this DatabaseBackup. It begins when there is.");
        return Err(Standing::Stuck(Reason::StorageNotFound, message));
    };
    let allowed = &storage.spec.allowed_databases;
    if !allowed.is_empty() && !allowed.contains(&seen.spec.database) {
        let message = format!("BackupStorage {name} takes no backups of DatabaseInstance {}.", seen.spec.database);
        return Err(Standing::Stuck(Reason::DestinationNotAllowed, message));
    }
    let ready = storage.status.as_ref().and_then(|status| condition(&status.conditions, ConditionType::Ready));
    match ready.filter(|ready| ready.observed_generation == storage.metadata.generation) {
        Some(ready) if ready.status == "True" => Ok(storage),
        Some(ready) if ready.status == "False" => {
            let message = format!("BackupStorage {} cannot be used: {}", storage.name_any(), ready.message);
            Err(Standing::Stuck(Reason::parse(&ready.reason), message))
        }
        _ => Err(Standing::Moving(Reason::Inspecting, format!("BackupStorage {name} is being tried."))),
    }
}

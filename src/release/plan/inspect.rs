//! Inspect: reads only. Asks the API server by strict dry runs whether it would take every object of the
//! release, and writes down the plan that people approve; pure.

use super::{
    super::{
        manifests::{self, Kind, Manifest, PhaseChecks},
        observed::{Answer, Ask, Observed},
    },
    Move, Plan, Situation, adopt,
    checks::{self, Preflight},
    config,
    database::{self, Look},
    elsewhere, ending, enter, health, overdue,
    policies::Policies,
    proposal, quota, rollback, still_wanted,
};
use crate::{
    api::{Check, CheckPhase, DatabaseRecord, Duration, Reason, Record, ReleaseSpec, Step},
    error::belongs,
};

/// What dry runs have said.
pub(super) enum Inspection {
    /// Not everything is answered yet.
    Asking(Vec<Ask>),
    /// The API server would take everything.
    Fine,
    /// It would refuse something.
    Refused(Reason, String),
}

impl Inspection {
    /// Puts parts together, which are asked at once; of several refusals the first counts.
    fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut asks, mut refused) = (vec![], Self::Fine);
        for part in parts {
            match part {
                Self::Asking(more) => asks.extend(more),
                Self::Refused(..) if matches!(refused, Self::Fine) => refused = part,
                Self::Refused(..) | Self::Fine => {}
            }
        }
        if asks.is_empty() { refused } else { Self::Asking(asks) }
    }
}

pub(super) fn plan(seen: &Observed, mut record: Record) -> Move {
    if !still_wanted(seen, &record) {
        // Nothing has happened yet, so nothing has to be remembered of it.
        record.candidate = None;
        return enter(record, Step::Idle, seen.now, None);
    }
    match rollback::check(seen, &record) {
        Ok(None) => {}
        Ok(Some(back)) => return back,
        Err(ask) => return Plan { asks: vec![ask], ..Plan::stay(record, asking()) }.into(),
    }
    if let Some(message) = checks::invalid(&seen.release.spec) {
        return ending::failed(seen, record, (Reason::CheckInvalid, message));
    }
    if overdue(seen, &record) {
        return too_late(seen, record);
    }
    if let Some(next) = adopt::look(seen, &mut record) {
        return next;
    }
    let known = record.database.clone();
    match look(seen, &record) {
        None => record.database = None,
        Some(Look::Seen(looked)) => record.database = Some(*looked),
        Some(Look::Working(actions, asks, message)) => {
            let actions = checks::beside(seen, &record, &seen.release.spec, actions);
            let told = Situation::Working(Reason::Inspecting, message);
            return Plan { actions, asks, ..Plan::stay(record, told) }.into();
        }
        Some(Look::Refused(reason, message)) => {
            return ending::failed(seen, record, (reason, message));
        }
    }
    match checks::preflight(seen, &record, &seen.release.spec) {
        Preflight::Passed => {}
        Preflight::Working(actions, message) => {
            // What the other Job has seen is written down together with what this one says.
            record.database = known;
            let told = Situation::Working(Reason::Inspecting, message);
            return Plan { actions, ..Plan::stay(record, told) }.into();
        }
        Preflight::Refused(message) => return ending::failed(seen, record, (Reason::ChecksFailed, message)),
    }
    let spec = &seen.release.spec;
    let parts = [inspect(seen, &record), elsewhere::look(seen, spec), quota::look(seen, &record, spec)];
    match Inspection::all(parts) {
        Inspection::Asking(asks) => Plan { asks, ..Plan::stay(record, asking()) }.into(),
        Inspection::Refused(reason, message) => ending::failed(seen, record, (reason, message)),
        Inspection::Fine => {
            let broken = health::is_broken(seen, &record);
            if let Some(candidate) = &mut record.candidate {
                // It stays said: what comes and goes would void every approval.
                candidate.beside_broken |= broken;
            }
            record.plan = Some(proposal::propose(seen, &record));
            enter(record, Step::Approve, seen.now, None)
        }
    }
}

fn asking() -> Situation {
    Situation::Working(Reason::Inspecting, "Asking the API server for each object.".to_owned())
}

/// Begins to inspect.
pub(super) fn begin(seen: &Observed, record: Record) -> Move {
    enter(record, Step::Inspect, seen.now, limit(&seen.release.spec))
}

/// Returns how long looking may take. Only databases and checks take time that somebody else decides.
pub(super) fn limit(spec: &ReleaseSpec) -> Option<Duration> {
    let asks = spec.database.is_some() || spec.checks_of(CheckPhase::Preflight).next().is_some();
    asks.then_some(spec.deadlines.inspect)
}

/// Ends an attempt that has looked for too long.
fn too_late(seen: &Observed, record: Record) -> Move {
    let spec = &seen.release.spec;
    let (limit, told) = (spec.deadlines.inspect, last_told(seen));
    let looked = spec.database.is_none() || matches!(look(seen, &record), Some(Look::Seen(_)));
    let (reason, what) = if looked {
        (Reason::ChecksFailed, "whether the preflight checks pass")
    } else {
        (Reason::DatabaseNotReady, "whether the database can be used")
    };
    ending::failed(seen, record, (reason, format!("It was not known within {limit} {what}: {told}")))
}

/// Looks at the database that the spec names; `None` when it names none.
pub(super) fn look(seen: &Observed, record: &Record) -> Option<Look> {
    let spec = &seen.release.spec;
    spec.database.as_ref().map(|database| match database::look(seen, record, spec, database) {
        Look::Seen(looked) => {
            Look::Seen(Box::new(DatabaseRecord { policy_proof: Policies(&seen.policies).proof(), ..*looked }))
        }
        other @ (Look::Working(..) | Look::Refused(..)) => other,
    })
}

/// Returns what was last told of the Release.
pub(super) fn last_told(seen: &Observed) -> &str {
    let ready = seen.release.status.conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map_or("", |ready| ready.message.as_str())
}

/// Asks for a dry run of every object, or concludes from the answers.
pub(super) fn inspect(seen: &Observed, record: &Record) -> Inspection {
    dry_run(seen, config::inspect(seen, &seen.release.spec), objects(seen, record))
}

/// The same of the Job of a migration alone.
pub(super) fn migration(seen: &Observed, record: &Record) -> Inspection {
    let job = migration_job(seen, record, &seen.release.spec);
    job.map_or(Inspection::Fine, |job| takes(seen, &job))
}

/// The same of a Job, and of its pod, whose image is the user's.
pub(super) fn takes(seen: &Observed, job: &Manifest) -> Inspection {
    let pod = manifests::job_pod(&seen.release, job);
    dry_run(seen, vec![], [job.clone()].into_iter().chain(pod).collect())
}

fn dry_run(seen: &Observed, config: Vec<Ask>, objects: Vec<Manifest>) -> Inspection {
    let objects = objects.into_iter().map(|manifest| Ask::DryRun(Box::new(manifest)));
    let asks: Vec<Ask> = config.into_iter().chain(objects).collect();
    if asks.iter().any(|ask| seen.answer(ask).is_none()) {
        return Inspection::Asking(asks);
    }
    let refused = asks.iter().find_map(|ask| match (ask, seen.answer(ask)) {
        (Ask::DryRun(manifest), Some(Answer::Refused { code: 409, .. })) => name_taken(seen, manifest),
        (Ask::DryRun(manifest), Some(Answer::Refused { message, .. })) => {
            let (reason, message) = refusal(manifest, message);
            Some(Inspection::Refused(reason, message))
        }
        _ => None,
    });
    let taken = || config::taken(seen, &seen.release.spec).and_then(|manifest| name_taken(seen, &manifest));
    refused.or_else(taken).unwrap_or(Inspection::Fine)
}

/// Returns every object that this release would create and that is not there yet, and each of its pods.
fn objects(seen: &Observed, record: &Record) -> Vec<Manifest> {
    let (release, spec) = (&seen.release, seen.release.spec.as_ref());
    let revision = &seen.release.wanted;
    let mut objects = Vec::new();
    for workload in &spec.workloads {
        if seen.deployment(&workload.name, revision).is_none() {
            objects.push(manifests::deployment(release, (spec, workload), workload.size(), None));
        }
        if seen.autoscaler(&workload.name, revision).is_none() {
            objects.extend(manifests::autoscaler(release, (spec, workload), workload.size(), None));
        }
        objects.push(manifests::workload_pod(release, spec, workload));
        for service in &workload.services {
            let adopted = record.adoption.as_ref().and_then(|adoption| adoption.behind(&service.name));
            if seen.service(&service.name).is_none() && adopted.is_none() {
                let none = crate::api::labels::NO_REVISION;
                objects.push(manifests::active_service(release, (workload, service), none, None));
            }
            if seen.service(&manifests::preview_name(&service.name)).is_none() {
                objects.push(manifests::preview_service(release, (workload, service), revision, None));
            }
        }
    }
    let jobs = job_objects(seen, record, spec);
    let pods: Vec<Manifest> = jobs.iter().filter_map(|job| manifests::job_pod(release, job)).collect();
    objects.extend(jobs);
    objects.extend(pods);
    objects
}

/// Returns the Jobs of this release. Of the agent's Jobs that mount the same one is enough.
fn job_objects(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> Vec<Manifest> {
    let attempt = record.candidate.as_ref().map_or(0, |candidate| candidate.attempt);
    let mut jobs: Vec<Manifest> = Vec::new();
    for phase in [CheckPhase::Verify, CheckPhase::Watch] {
        let checks: Vec<&Check> = manifests::agent_checks(spec, phase).collect();
        if checks.is_empty() {
            continue;
        }
        let name = manifests::agent_job_name(&seen.release, attempt, phase);
        let checks = PhaseChecks { name, spec, phase, checks, until: None, instance: checks::instance(seen, spec) };
        let job = manifests::agent_job((&seen.release, &seen.settings), &checks, None);
        let mounted = |job: &Manifest| job.body.pointer("/spec/template/spec/volumes").cloned();
        if !jobs.iter().any(|known| mounted(known) == mounted(&job)) {
            jobs.push(job);
        }
    }
    let own = manifests::job_checks(spec)
        .map(|(check, job)| manifests::check_job((&seen.release, &seen.settings), spec, (attempt, check, job), None));
    let hooks =
        spec.hooks.iter().map(|hook| manifests::hook_job((&seen.release, &seen.settings), spec, (attempt, hook), None));
    jobs.extend(own.chain(hooks).chain(migration_job(seen, record, spec)));
    jobs
}

/// Returns the Job of the migration, when one is due. Those that look and mark have the agent's pod, which runs while
/// this is asked; the backup's Job is made for the backup.
fn migration_job(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> Option<Manifest> {
    let (database, looked) = database::of(spec, record)?;
    looked.pending.as_ref()?;
    let instance = seen.instance(&database.name)?;
    let name = manifests::migrate_name(&seen.release, record, 1);
    let what = manifests::Migrate { name: &name, number: 1, instance, database, looked, backup_uid: "", schema: "" };
    manifests::migrate_job((&seen.release, &seen.settings), spec, what, None)
}

/// Says whose an object is that has a name which is needed; `None` of one that was made for this Release a moment ago and
/// that no watch has shown yet.
fn name_taken(seen: &Observed, manifest: &Manifest) -> Option<Inspection> {
    let (kind, name) = (manifest.kind.as_str(), &manifest.name);
    let ask = Ask::LiveObject(manifest.kind, name.clone());
    let whose = match seen.answer(&ask) {
        Some(Answer::Object(Some(found))) if found.ours && found.release == seen.release.uid => return None,
        Some(Answer::Object(Some(found))) => found.controller.as_deref(),
        Some(_) => None,
        // Pods are not the controller's to read.
        None if manifest.kind == Kind::Pod => None,
        None => return Some(Inspection::Asking(vec![ask])),
    };
    let (reason, message) = taken((&format!("{kind} {name}"), whose));
    Some(Inspection::Refused(reason, message))
}

/// Says that an object of somebody else is in the way, and whose it is: a Service of another Release is that one's for good.
pub(super) fn taken((object, controller): (&str, Option<&str>)) -> (Reason, String) {
    let whose = belongs(controller);
    let claimed = object.starts_with("Service ") && controller.is_some_and(|owner| owner.starts_with("Release "));
    let (reason, next) = if claimed {
        let next = "One Release per Service: change it through that one, or name another Service in the spec.";
        (Reason::ServiceClaimed, next)
    } else {
        (Reason::NameTaken, "Rename it in the spec, or delete it when nobody needs it.")
    };
    (reason, format!("{object} exists and {whose}. Nothing was changed. {next}"))
}

/// Puts a refusal into words.
fn refusal(manifest: &Manifest, message: &str) -> (Reason, String) {
    let (kind, name) = (manifest.kind.as_str(), &manifest.name);
    let reason = match message {
        text if text.contains("exceeded quota") => Reason::QuotaExceeded,
        text if text.contains("violates PodSecurity") => Reason::PodSecurityViolation,
        text if text.contains("error looking up service account") => Reason::ServiceAccountNotFound,
        _ => Reason::DryRunRefused,
    };
    let what = match manifest.kind {
        Kind::Pod => "a pod of",
        Kind::Deployment
        | Kind::Service
        | Kind::Job
        | Kind::ConfigMap
        | Kind::PodDisruptionBudget
        | Kind::HorizontalPodAutoscaler
        | Kind::ControllerRevision
        | Kind::DatabaseBackup => kind,
    };
    (reason, format!("The API server refuses {what} {name}: {message}. Nothing was changed; correct the spec."))
}

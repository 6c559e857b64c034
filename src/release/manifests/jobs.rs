//! Jobs that check: the agent's, and the user's own; pure.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, InstanceSeen, ReleaseSeen, Settings},
    Kind, Manifest, Marks, child_name, look_name, manifest, owners, pod, preview_name, set, with_own_config,
};
use crate::{
    agent_job::{self, targets},
    api::{
        Authorities, Check, CheckKind, CheckPhase, HttpCheck, JobCheck, JobSettings, Record, ReleaseSpec, labels::Role,
    },
    protocol::{CheckParameters, CheckResult, EXIT_FAILED, HttpProbe, Probe, ProbeKind, Word, paths},
};

/// How often the Job controller starts another pod of a read-only Job that crashed or was lost.
const CHECK_RETRIES: u8 = 3;

/// How much longer than its checks a check Job may live: pulling the image, starting, reporting.
const CHECK_START_SECONDS: u64 = 300;

/// How long Kubernetes keeps a Job that goes by itself: people may want to read its log, and a controller that was away its
/// word.
pub(super) const KEPT_SECONDS: u32 = 3600;

/// Name of the agent's container in our Jobs.
pub const AGENT_CONTAINER: &str = "agent";
/// User and group of the agent.
const AGENT_ID: u32 = 65532;
/// Name of the file with certificate authorities, whatever its key is called.
const AUTHORITIES_FILE: &str = "ca.crt";

/// Checks of one phase that the agent makes in one Job.
pub struct PhaseChecks<'a> {
    /// Name of the Job.
    pub name: String,
    /// The content whose checks they are.
    pub spec: &'a ReleaseSpec,
    /// Which phase.
    pub phase: CheckPhase,
    /// The checks, by [`agent_checks`].
    pub checks: Vec<&'a Check>,
    /// Until when they are asked again and again.
    pub until: Option<Timestamp>,
    /// The DatabaseInstance that the content names.
    pub instance: Option<&'a InstanceSeen>,
}

/// Returns the name of the agent's Job for the checks of a phase.
#[must_use]
pub fn agent_job_name(release: &ReleaseSeen, attempt: i64, phase: CheckPhase) -> String {
    let phase: &str = phase.into();
    child_name(&[&release.name, &attempt.to_string(), &phase.to_lowercase()])
}

/// Returns the name of the agent's Job for the verify checks that wait until the switch has begun.
#[must_use]
pub fn late_job_name(release: &ReleaseSeen, attempt: i64) -> String {
    child_name(&[&release.name, &attempt.to_string(), "late", "verify"])
}

/// Returns the name of the agent's Job for the preflight checks in this step. A step that is entered again checks again.
#[must_use]
pub fn preflight_job_name(release: &ReleaseSeen, record: &Record) -> String {
    child_name(&[&look_name(release, record), "checks"])
}

/// Returns the name of the Job of a `job` check.
#[must_use]
pub fn job_check_name(release: &ReleaseSeen, attempt: i64, check: &str) -> String {
    child_name(&[&release.name, &attempt.to_string(), "verify", check])
}

/// Returns the agent's Job for the checks of a phase.
#[must_use]
pub fn agent_job(
    (release, settings): (&ReleaseSeen, &Settings),
    checks: &PhaseChecks<'_>,
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let PhaseChecks { name, spec, phase, checks: asked, until, instance: _ } = checks;
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let probes: Vec<Probe> = asked.iter().filter_map(|check| probe(release, checks, check)).collect();
    let seconds = match phase {
        CheckPhase::Preflight => spec.deadlines.inspect.as_std().as_secs(),
        CheckPhase::Verify => spec.deadlines.verify.as_std().as_secs(),
        CheckPhase::Watch => spec.watch.window.as_std().as_secs(),
    };
    let parameters = CheckParameters { checks: probes, until: *until };
    let parameters = serde_json::to_string(&parameters).unwrap_or_default();
    let wanted = spec.jobs.or(&settings.jobs);
    let mut template = json!({ "spec": agent_pod((settings, &wanted), checks, &parameters) });
    agent_job::furnish(&mut template, &wanted);
    let exit_codes = json!({ "containerName": AGENT_CONTAINER, "operator": "In", "values": [EXIT_FAILED] });
    let mut job = job(
        &marks,
        (name.clone(), owner),
        json!({
            "backoffLimit": CHECK_RETRIES,
            "activeDeadlineSeconds": seconds + CHECK_START_SECONDS,
            "podFailurePolicy": { "rules": [ignore_disruptions(), { "action": "FailJob", "onExitCodes": exit_codes }] },
        }),
        &template,
    );
    if *phase == CheckPhase::Preflight {
        goes_by_itself(&mut job.body, KEPT_SECONDS);
    }
    job
}

/// Lets Kubernetes remove a Job some time after its end. Only where its word stands in status or in the database's ledger as
/// soon as it is read, or may be asked for again: what verifies a version says so for as long as its step is held, and what
/// watches one for as long as the window is.
pub(super) fn goes_by_itself(job: &mut Value, seconds: u32) {
    if let Some(spec) = job.get_mut("spec") {
        set(spec, "ttlSecondsAfterFinished", seconds.into());
    }
}

/// Returns the Job of a `job` check: the user's own pod, once.
#[must_use]
pub fn check_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (attempt, check, job_check): (i64, &Check, &JobCheck),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let template = own_pod((release, settings), spec, &job_check.template.0);
    job(
        &marks,
        (job_check_name(release, attempt, &check.name), owner),
        json!({
            "backoffLimit": 0,
            "activeDeadlineSeconds": job_check.timeout.as_std().as_secs().max(1),
            "podFailurePolicy": { "rules": [ignore_disruptions()] },
        }),
        &template,
    )
}

/// Returns a pod of the user's own that runs once.
pub(super) fn own_pod((release, settings): (&ReleaseSeen, &Settings), spec: &ReleaseSpec, template: &Value) -> Value {
    let mut template = with_own_config(release, spec, template).into_owned();
    if let Some(pod) = template.get_mut("spec") {
        set(pod, "restartPolicy", "Never".into());
        // What it prints may be anything, secrets and a gigabyte of it: only what it writes as its last word is told.
        for containers in ["initContainers", "containers"] {
            for container in pod.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
                set(container, "terminationMessagePolicy", "File".into());
            }
        }
    }
    agent_job::furnish(&mut template, &spec.jobs.or(&settings.jobs));
    template
}

/// A pod that the cluster took away says nothing about the check.
fn ignore_disruptions() -> Value {
    json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] })
}

pub(super) fn job(
    marks: &Marks<'_>,
    (name, owner): (String, Option<&AttemptSeen>),
    mut spec: Value,
    template: &Value,
) -> Manifest {
    set(&mut spec, "podReplacementPolicy", "Failed".into());
    set(&mut spec, "template", marks.template(template));
    manifest(
        Kind::Job,
        name,
        marks,
        json!({ "metadata": { "ownerReferences": owners(marks.release, owner) }, "spec": spec }),
    )
}

/// Returns the pod of a Job, for a dry run.
#[must_use]
pub fn job_pod(release: &ReleaseSeen, job: &Manifest) -> Option<Manifest> {
    let marks = Marks { release, revision: "", workload: "", role: Role::Check };
    Some(pod(&marks, job.name.clone(), job.body.pointer("/spec/template")?))
}

/// Returns the agent's pod: Pod Security `restricted`, no service account token, small. Credentials of the database are
/// mounted where a check asks it, and nowhere else.
fn agent_pod((settings, jobs): (&Settings, &JobSettings), checks: &PhaseChecks<'_>, parameters: &str) -> Value {
    let mut context =
        json!({ "runAsNonRoot": true, "runAsUser": AGENT_ID, "seccompProfile": { "type": "RuntimeDefault" } });
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    let asks_database = checks.checks.iter().any(|check| matches!(check.kind, CheckKind::Sql(_)));
    if let Some(instance) = checks.instance.filter(|_| asks_database) {
        volumes.push(agent_job::database_volume(&instance.spec.postgres, agent_job::Role::Owner));
        mounts.push(agent_job::database_mount());
        // Secrets are readable by this group.
        set(&mut context, "fsGroup", AGENT_ID.into());
    }
    for (number, Authorities { config_map, key }) in authorities(checks).into_iter().enumerate() {
        let name = format!("switchback-authorities-{number}");
        // A pod whose ConfigMap is not there would wait without a word, while the agent says what it misses.
        volumes.push(json!({ "name": name, "configMap": {
            "name": config_map, "optional": true, "items": [{ "key": key, "path": AUTHORITIES_FILE }],
        } }));
        mounts.push(json!({ "name": name, "mountPath": authorities_folder(number), "readOnly": true }));
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "securityContext": context,
        "containers": [{
            "name": AGENT_CONTAINER,
            "image": settings.agent_image,
            "args": [CheckResult::VERB, "--parameters", parameters],
            "resources": agent_job::resources(
                jobs, json!({ "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } }),
            ),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    });
    if !volumes.is_empty() {
        set(&mut pod, "volumes", volumes.into());
        if let Some(container) = pod.pointer_mut("/containers/0") {
            set(container, "volumeMounts", mounts.into());
        }
    }
    pod
}

/// Returns the checks of a phase that the agent makes.
pub fn agent_checks(spec: &ReleaseSpec, phase: CheckPhase) -> impl Iterator<Item = &Check> {
    spec.checks_of(phase).filter(|check| !matches!(check.kind, CheckKind::Job(_)))
}

/// Returns the `job` checks.
pub fn job_checks(spec: &ReleaseSpec) -> impl Iterator<Item = (&Check, &JobCheck)> {
    spec.checks_of(CheckPhase::Verify).filter_map(|check| match &check.kind {
        CheckKind::Job(job) => Some((check, job)),
        CheckKind::Http(_) | CheckKind::Prometheus(_) | CheckKind::Tls(_) | CheckKind::Dns(_) | CheckKind::Sql(_) => {
            None
        }
    })
}

/// Returns the certificate authorities that checks of the phase trust, each once.
fn authorities<'a>(checks: &PhaseChecks<'a>) -> Vec<&'a Authorities> {
    let mut found: Vec<&Authorities> = Vec::new();
    for authorities in checks.checks.iter().filter_map(|check| check.authorities()) {
        if !found.contains(&authorities) {
            found.push(authorities);
        }
    }
    found
}

fn authorities_folder(number: usize) -> PathBuf {
    Path::new(paths::AUTHORITIES).join(number.to_string())
}

/// Returns what the agent is told of a check; nothing for a check that is none of its.
fn probe(release: &ReleaseSeen, checks: &PhaseChecks<'_>, check: &Check) -> Option<Probe> {
    let place = check.authorities().and_then(|wanted| authorities(checks).iter().position(|known| *known == wanted));
    let ca = place.map(|number| authorities_folder(number).join(AUTHORITIES_FILE));
    let what = match &check.kind {
        CheckKind::Job(_) => return None,
        CheckKind::Http(http) => ProbeKind::Http(Box::new(http_probe(release, checks, http, ca))),
        CheckKind::Prometheus(check) => ProbeKind::Prometheus { check: check.clone(), ca },
        CheckKind::Tls(check) => ProbeKind::Tls { check: check.clone(), ca },
        CheckKind::Dns(check) => ProbeKind::Dns(check.clone()),
        CheckKind::Sql(check) => ProbeKind::Sql {
            check: check.clone(),
            database: checks
                .instance
                .map(|instance| targets::database(&instance.name, &instance.spec, instance.status.identity.as_ref())),
        },
    };
    Some(Probe { name: check.name.clone(), must_tell: check.goes_back_unsure(), what })
}

fn http_probe(release: &ReleaseSeen, checks: &PhaseChecks<'_>, http: &HttpCheck, ca: Option<PathBuf>) -> HttpProbe {
    let scheme: &str = http.scheme().into();
    let of_service = http.service.as_ref().map(|name| {
        let service = checks.spec.service(name);
        let port = http.port.or_else(|| service.and_then(|(_, service)| service.spec.first_port())).unwrap_or(80);
        let host = match checks.phase {
            CheckPhase::Preflight | CheckPhase::Verify => preview_name(name),
            CheckPhase::Watch => name.clone(),
        };
        format!("{host}.{}.svc:{port}", release.namespace)
    });
    let (called, connect) = match (&http.host, of_service) {
        // Without a port: clients that come from outside name none either.
        (Some(host), Some(service)) => (host.clone(), Some(service)),
        (Some(host), None) => (http.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")), None),
        (None, service) => (service.unwrap_or_default(), None),
    };
    HttpProbe { url: format!("{scheme}://{called}{}", http.path), connect, check: http.clone(), ca }
}

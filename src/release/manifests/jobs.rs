//! Jobs that check: the agent's, and the user's own; pure.

use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, ReleaseSeen, Settings},
    Kind, Manifest, Marks, child_name, manifest, owners, pod, preview_name, set, with_own_config,
};
use crate::{
    agent_job,
    api::{Check, CheckKind, CheckPhase, HttpCheck, JobCheck, JobSettings, ReleaseSpec, labels::Role},
    protocol::{CheckParameters, EXIT_FAILED, HttpProbe},
};

/// How often the Job controller starts another pod of a read-only Job that crashed or was lost.
const CHECK_RETRIES: u8 = 3;

/// How much longer than its checks a check Job may live: pulling the image, starting, reporting.
const CHECK_START_SECONDS: u64 = 300;

/// Name of the agent's container in our Jobs.
pub const AGENT_CONTAINER: &str = "agent";

/// Returns the name of the agent's Job for the http checks of a phase.
#[must_use]
pub fn agent_job_name(release: &ReleaseSeen, attempt: i64, phase: CheckPhase) -> String {
    let phase: &str = phase.into();
    child_name(&[&release.name, &attempt.to_string(), &phase.to_lowercase()])
}

/// Returns the name of the Job of a `job` check.
#[must_use]
pub fn job_check_name(release: &ReleaseSeen, attempt: i64, check: &str) -> String {
    child_name(&[&release.name, &attempt.to_string(), "verify", check])
}

/// Returns the agent's Job for the http checks of a phase.
#[must_use]
pub fn agent_job(
    (release, settings): (&ReleaseSeen, &Settings),
    (spec, phase): (&ReleaseSpec, CheckPhase),
    (attempt, until): (i64, Option<jiff::Timestamp>),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let probes: Vec<HttpProbe> =
        http_checks(spec, phase).map(|(check, http)| probe(release, spec, check, http)).collect();
    let seconds = match phase {
        CheckPhase::Verify => spec.deadlines.verify.as_std().as_secs(),
        CheckPhase::Watch => spec.watch.window.as_std().as_secs(),
    };
    let parameters = CheckParameters { checks: probes, until };
    let parameters = serde_json::to_string(&parameters).unwrap_or_default();
    let mut template = json!({ "spec": agent_pod((settings, &spec.jobs), &parameters) });
    agent_job::furnish(&mut template, &spec.jobs);
    let exit_codes = json!({ "containerName": AGENT_CONTAINER, "operator": "In", "values": [EXIT_FAILED] });
    let name = agent_job_name(release, attempt, phase);
    job(
        &marks,
        (name, owner),
        json!({
            "backoffLimit": CHECK_RETRIES,
            "activeDeadlineSeconds": seconds + CHECK_START_SECONDS,
            "podFailurePolicy": { "rules": [ignore_disruptions(), { "action": "FailJob", "onExitCodes": exit_codes }] },
        }),
        &template,
    )
}

/// Returns the Job of a `job` check: the user's own pod, once.
#[must_use]
pub fn check_job(
    release: &ReleaseSeen,
    spec: &ReleaseSpec,
    (attempt, check, job_check): (i64, &Check, &JobCheck),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Check };
    let mut template = with_own_config(release, spec, &job_check.template.0).into_owned();
    if let Some(pod) = template.get_mut("spec") {
        set(pod, "restartPolicy", "Never".into());
    }
    agent_job::furnish(&mut template, &spec.jobs);
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

/// Returns the agent's pod: Pod Security `restricted`, no service account token, small.
fn agent_pod((settings, jobs): (&Settings, &JobSettings), parameters: &str) -> Value {
    json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": AGENT_CONTAINER,
            "image": settings.agent_image,
            "args": ["check", "--parameters", parameters],
            "resources": agent_job::resources(
                jobs, json!({ "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } }),
            ),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    })
}

/// Returns the http checks of a phase.
pub fn http_checks(spec: &ReleaseSpec, phase: CheckPhase) -> impl Iterator<Item = (&Check, &HttpCheck)> {
    spec.checks_of(phase).filter_map(|check| match &check.kind {
        CheckKind::Http(http) => Some((check, http)),
        CheckKind::Job(_) => None,
    })
}

/// Returns the `job` checks.
pub fn job_checks(spec: &ReleaseSpec) -> impl Iterator<Item = (&Check, &JobCheck)> {
    spec.checks_of(CheckPhase::Verify).filter_map(|check| match &check.kind {
        CheckKind::Job(job) => Some((check, job)),
        CheckKind::Http(_) => None,
    })
}

fn probe(release: &ReleaseSeen, spec: &ReleaseSpec, check: &Check, http: &HttpCheck) -> HttpProbe {
    let port = http.port.or_else(|| {
        spec.services()
            .find(|(_, service)| service.name == http.service)
            .and_then(|(_, service)| service.spec.first_port())
    });
    let host = match check.phase {
        CheckPhase::Verify => preview_name(&http.service),
        CheckPhase::Watch => http.service.clone(),
    };
    HttpProbe {
        name: check.name.clone(),
        url: format!("http://{host}.{}.svc:{}{}", release.namespace, port.unwrap_or(80), http.path),
        status: http.status.clone(),
        timeout: http.timeout,
        every: http.every,
        breach_for: http.breach_for,
    }
}

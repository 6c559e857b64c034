//! Jobs of hooks: the user's own pod, once; pure.

use serde_json::json;

use super::{
    super::observed::{AttemptSeen, ReleaseSeen, Settings},
    Manifest, Marks, child_name,
    jobs::{job, own_pod},
};
use crate::api::{Hook, ReleaseSpec, labels::Role};

/// Returns the name of the Job of a hook.
#[must_use]
pub fn hook_name(release: &ReleaseSeen, attempt: i64, hook: &str) -> String {
    child_name(&[&release.name, &attempt.to_string(), "hook", hook])
}

/// Returns the Job of a hook, suspended: a create that comes late, of a leader that was frozen, runs nothing. A pod that
/// the cluster takes away has failed: how far it came is not known.
#[must_use]
pub fn hook_job(
    (release, settings): (&ReleaseSeen, &Settings),
    spec: &ReleaseSpec,
    (attempt, hook): (i64, &Hook),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Hook };
    let template = own_pod((release, settings), spec, &hook.job.template.0);
    let disrupted = json!({ "type": "DisruptionTarget", "status": "True" });
    job(
        &marks,
        (hook_name(release, attempt, &hook.name), owner),
        json!({
            "suspend": true,
            "backoffLimit": 0,
            "activeDeadlineSeconds": hook.timeout.as_std().as_secs().max(1),
            "podFailurePolicy": { "rules": [{ "action": "FailJob", "onPodConditions": [disrupted] }] },
        }),
        &template,
    )
}

//! Checks of a Release: what must hold before traffic moves, and while the new version is watched.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Duration, PodTemplate};

/// One check.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.http) != has(self.job)", "name exactly one of http and job"))]
#[x_kube(validation = ("self.phase == 'Verify' || !has(self.job)", "a job check runs once, before traffic moves: its phase is Verify"))]
pub struct Check {
    /// Name of the check, unique in the Release.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it runs.
    pub phase: CheckPhase,
    /// What it does.
    #[serde(flatten)]
    pub kind: CheckKind,
}

/// When a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum CheckPhase {
    /// Before traffic moves, against the preview Services.
    Verify,
    /// After traffic moved, for the whole window, against the Services that users use.
    Watch,
}

/// What a check does; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckKind {
    /// Requests over HTTP from inside the cluster.
    Http(HttpCheck),
    /// A pod of the user's own; exit code 0 is success.
    Job(JobCheck),
}

/// Requests over HTTP from inside the cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1m')", "timeout is longer than 1m"))]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('100ms')", "every is shorter than 100ms"))]
pub struct HttpCheck {
    /// Service of this Release that is asked.
    #[schemars(length(min = 1, max = 55))]
    pub service: String,
    /// Port of that Service (default: its first).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path and query.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[!-~]*$"), default = "default_path")]
    pub path: String,
    /// Status codes that are a success (default: 200). Redirects are not followed.
    #[serde(default = "default_status")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 100, max = 599)), default = "default_status")]
    pub status: Vec<u16>,
    /// How long one request may take (default: 5s).
    #[serde(default = "default_http_timeout")]
    #[schemars(default = "default_http_timeout")]
    pub timeout: Duration,
    /// Watch: time between two requests (default: 5s).
    #[serde(default = "default_every")]
    #[schemars(default = "default_every")]
    pub every: Duration,
    /// Watch: how long requests must fail without one success before the check has failed (default: 0s, the first failure counts).
    #[serde(default)]
    pub breach_for: Duration,
}

/// A pod of the user's own; exit code 0 is success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCheck {
    /// The pod. It runs once, under its own service account, without retries.
    pub template: PodTemplate,
    /// How long it may take (default: 5m).
    #[serde(default = "default_job_timeout")]
    #[schemars(default = "default_job_timeout")]
    pub timeout: Duration,
}

fn default_path() -> String {
    "/".to_owned()
}
fn default_status() -> Vec<u16> {
    vec![200]
}
const fn default_http_timeout() -> Duration {
    Duration::from_secs(5)
}
const fn default_every() -> Duration {
    Duration::from_secs(5)
}
const fn default_job_timeout() -> Duration {
    Duration::from_secs(300)
}

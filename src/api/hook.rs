//! Hooks: people's own Jobs at the moments at which traffic moves, for what follows a version outside of the cluster's
//! Services: feature flags, DNS, a frontend elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{Duration, PodTemplate};

/// A Job of the user's own at one moment of a release.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.timeout) || duration(self.timeout) <= duration('1h')", "timeout of a hook is longer than 1h"))]
pub struct Hook {
    /// Name of the hook, unique in the Release.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// When it runs. Hooks of one moment run one after another, in their order.
    pub when: HookMoment,
    /// What it does.
    pub job: HookJob,
    /// How long it may take (default: 1m).
    #[serde(default = "default_timeout")]
    #[schemars(default = "default_timeout")]
    pub timeout: Duration,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum HookMoment {
    /// Before workers are handed over and traffic moves. One that fails ends the release: nothing has moved.
    Switch,
    /// After traffic went back. One that fails is told and keeps nothing waiting.
    SwitchBack,
    /// When the new version has passed its watch window. One that fails is told and changes nothing.
    Done,
}

/// A pod of the user's own; exit code 0 is success. It runs once; what it does should bear being done twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookJob {
    /// The pod.
    pub template: PodTemplate,
}

/// How a hook of the last attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookRecord {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its moment.
    pub when: HookMoment,
    /// What went wrong; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub problem: Option<String>,
    /// When its end was seen.
    pub at: MicroTime,
}

const fn default_timeout() -> Duration {
    Duration::from_secs(60)
}

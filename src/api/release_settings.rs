//! How a release goes: how traffic is moved and watched, what is kept for going back, how long each step may take.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatabaseRollback, Duration};

/// How traffic is moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchSettings {
    /// How long to wait after the endpoints have followed (default: 5s). External load balancers need more.
    #[serde(default = "default_settle")]
    #[schemars(default = "default_settle")]
    pub settle: Duration,
}

/// How the new version is watched after the switch.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.immediateBelow) || !has(self.readyPercent) || self.immediateBelow <= self.readyPercent", "immediateBelow is larger than readyPercent"))]
pub struct WatchSettings {
    /// How long the window is (default: 15m). The former version stays at full size for that long.
    #[serde(rename = "for", default = "default_watch")]
    #[schemars(default = "default_watch")]
    pub window: Duration,
    /// Below this share of ready pods, for longer than `tolerate`, traffic goes back (default: 90).
    #[serde(default = "default_ready_percent")]
    #[schemars(range(min = 1, max = 100), default = "default_ready_percent")]
    pub ready_percent: u8,
    /// How long fewer than `readyPercent` are tolerated (default: 10s).
    #[serde(default = "default_tolerate")]
    #[schemars(default = "default_tolerate")]
    pub tolerate: Duration,
    /// Below this share of ready pods traffic goes back at once (default: 50).
    #[serde(default = "default_immediate_below")]
    #[schemars(range(min = 0, max = 100), default = "default_immediate_below")]
    pub immediate_below: u8,
    /// For how long a pod that the cluster evicts (a node is drained, a more important pod needs the room) is not missed
    /// (default: 60s). At least one pod has to be ready all the same.
    #[serde(default = "default_disruption_grace", skip_serializing_if = "is_default_disruption_grace")]
    #[schemars(default = "default_disruption_grace")]
    pub disruption_grace: Duration,
}

/// What is kept for going back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSettings {
    /// How long the former version's Deployments stay, scaled to zero, after a release (default: 24h).
    #[serde(default = "default_keep_previous")]
    #[schemars(default = "default_keep_previous")]
    pub keep_previous: Duration,
    /// Whether traffic goes back by itself when the version under watch is not well (default: true). When not, it stays, a
    /// person is called, and `abort` or `rollback` takes it back. A switch that is under way is completed or reversed either way.
    #[serde(default = "default_automatic", skip_serializing_if = "is_automatic")]
    #[schemars(default = "default_automatic")]
    pub automatic: bool,
    /// What becomes of the schema when an attempt goes back after its migration (default: Keep).
    #[serde(default, skip_serializing_if = "DatabaseRollback::is_keep")]
    pub database: DatabaseRollback,
}

/// How long a step may take before the attempt ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    /// For looking at the database and its storages (default: 5m).
    #[serde(default = "default_inspect_deadline")]
    #[schemars(default = "default_inspect_deadline")]
    pub inspect: Duration,
    /// For the backup and its proof (default: 6h).
    #[serde(default = "default_backup_deadline")]
    #[schemars(default = "default_backup_deadline")]
    pub backup: Duration,
    /// For restoring the backup and rehearsing the migration (default: 6h).
    #[serde(default = "default_backup_deadline")]
    #[schemars(default = "default_backup_deadline")]
    pub rehearse: Duration,
    /// From the creation of the candidate's Deployments to its full readiness (default: 10m).
    #[serde(default = "default_deadline")]
    #[schemars(default = "default_deadline")]
    pub deploy: Duration,
    /// For all verify checks together (default: 10m).
    #[serde(default = "default_deadline")]
    #[schemars(default = "default_deadline")]
    pub verify: Duration,
    /// From the switch to the endpoints having followed (default: 1m).
    #[serde(default = "default_switch_deadline")]
    #[schemars(default = "default_switch_deadline")]
    pub switch: Duration,
    /// Before that, from stopping the former version's workers to the new version's being ready (default: 5m). Workers that
    /// overlap take none of it.
    #[serde(default = "default_handover_deadline")]
    #[schemars(default = "default_handover_deadline")]
    pub handover: Duration,
}

const fn default_settle() -> Duration {
    Duration::from_secs(5)
}
const fn default_watch() -> Duration {
    Duration::from_secs(15 * 60)
}
const fn default_ready_percent() -> u8 {
    90
}
const fn default_tolerate() -> Duration {
    Duration::from_secs(10)
}
const fn default_immediate_below() -> u8 {
    50
}
const fn default_disruption_grace() -> Duration {
    Duration::from_secs(60)
}
fn is_default_disruption_grace(grace: &Duration) -> bool {
    *grace == default_disruption_grace()
}
const fn default_automatic() -> bool {
    true
}
#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_automatic(automatic: &bool) -> bool {
    *automatic
}
const fn default_keep_previous() -> Duration {
    Duration::from_secs(24 * 3600)
}
const fn default_deadline() -> Duration {
    Duration::from_secs(600)
}
const fn default_inspect_deadline() -> Duration {
    Duration::from_secs(300)
}
const fn default_backup_deadline() -> Duration {
    Duration::from_secs(6 * 3600)
}
const fn default_switch_deadline() -> Duration {
    Duration::from_secs(60)
}

const fn default_handover_deadline() -> Duration {
    Duration::from_secs(300)
}

impl Default for SwitchSettings {
    fn default() -> Self {
        Self { settle: default_settle() }
    }
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            window: default_watch(),
            ready_percent: default_ready_percent(),
            tolerate: default_tolerate(),
            immediate_below: default_immediate_below(),
            disruption_grace: default_disruption_grace(),
        }
    }
}

impl Default for RollbackSettings {
    fn default() -> Self {
        Self {
            keep_previous: default_keep_previous(),
            automatic: default_automatic(),
            database: DatabaseRollback::default(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            inspect: default_inspect_deadline(),
            backup: default_backup_deadline(),
            rehearse: default_backup_deadline(),
            deploy: default_deadline(),
            verify: default_deadline(),
            switch: default_switch_deadline(),
            handover: default_handover_deadline(),
        }
    }
}

//! What the pods of our Jobs get from whoever knows the namespace.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use kube::KubeSchema;

use super::names;

/// What the pods of our Jobs get besides what they need. Where a pod is the user's own, that says more than this.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.labels) || self.labels.all(key, !key.startsWith('switchback.dev/'))",
    "labels of switchback.dev are the operator's own"
))]
pub struct JobSettings {
    /// Service account of the pods (default: the namespace's own). They never get its token, but for a `job` check that
    /// asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = names::OBJECT))]
    pub service_account_name: Option<String>,
    /// Names of Secrets for pulling images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253), regex(pattern = names::OBJECT)))]
    pub image_pull_secrets: Vec<String>,
    /// Labels of the nodes on which the pods may run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Resources of the agent's containers that do the work (default: as measured for each). A user's own container has
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
    /// Labels of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_selector")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

impl JobSettings {
    /// Returns these settings, and where they say nothing what others say.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.service_account_name = all.service_account_name.or_else(|| others.service_account_name.clone());
        all.resources = all.resources.or_else(|| others.resources.clone());
        if all.image_pull_secrets.is_empty() {
            all.image_pull_secrets.clone_from(&others.image_pull_secrets);
        }
        if all.tolerations.is_empty() {
            all.tolerations.clone_from(&others.tolerations);
        }
        if all.node_selector.is_empty() {
            all.node_selector.clone_from(&others.node_selector);
        }
        for (ours, theirs) in [(&mut all.labels, &others.labels), (&mut all.annotations, &others.annotations)] {
            let more: Vec<_> = theirs.iter().filter(|(key, _)| !ours.contains_key(*key)).collect();
            ours.extend(more.into_iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        all
    }

    /// Returns whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Resources of a container, as in Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobResources {
    /// What is set aside for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, String>,
}

/// A taint that the pods tolerate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint; absent with the operator Exists: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// How the value is compared (default: Equal).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint; absent: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum TolerationOperator {
    /// Whatever the value is.
    Exists,
    /// The value is equal.
    Equal,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = super::crds::told_by_the_field)]
pub enum TaintEffect {
    /// New pods go elsewhere.
    NoSchedule,
    /// New pods go elsewhere if there is a place.
    PreferNoSchedule,
    /// Pods are sent away.
    NoExecute,
}

fn quantities(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": { "type": "string", "maxLength": 32, "pattern": "^[0-9]+([.][0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$" }
    })
}

fn annotations(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 1024 }
    })
}

fn node_selector(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 }
    })
}

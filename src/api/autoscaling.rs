//! Autoscaling of a workload: between how many pods, and by what.

use std::borrow::Cow;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::names;

/// Between how many pods a workload is, and what decides. One HorizontalPodAutoscaler per revision follows from it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.max >= self.min", "max is less than min"))]
#[x_kube(validation = (
    "has(self.targetCPU) != (has(self.metrics) && self.metrics.size() > 0)",
    "give exactly one of targetCPU and metrics"
))]
pub struct Autoscaling {
    /// How many pods at least.
    #[schemars(range(min = 1, max = 10000))]
    pub min: i32,
    /// How many pods at most.
    #[schemars(range(min = 1, max = 10000))]
    pub max: i32,
    /// How much CPU the pods shall use on average, in percent of what they request.
    #[serde(rename = "targetCPU", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu: Option<i32>,
    /// What decides instead, as in `spec.metrics` of autoscaling/v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics: Vec<Metric>,
}

impl Autoscaling {
    /// Returns `spec.metrics` of the HorizontalPodAutoscaler.
    #[must_use]
    pub fn metrics(&self) -> Value {
        match self.target_cpu {
            Some(percent) => json!([{
                "type": "Resource",
                "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": percent } },
            }]),
            None => json!(self.metrics),
        }
    }
}

/// A `MetricSpec` of autoscaling/v2, as the user wrote it. What is written here is checked by a strict dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metric(pub Value);

impl Metric {
    /// Returns what is measured, in a word or two.
    #[must_use]
    pub fn name(&self) -> &str {
        let names = ["/resource/name", "/containerResource/name"];
        let metrics = ["/pods/metric/name", "/object/metric/name", "/external/metric/name"];
        let found = names.into_iter().chain(metrics).find_map(|at| self.0.pointer(at)?.as_str());
        found.or_else(|| self.0.get("type")?.as_str()).unwrap_or("something")
    }
}

impl JsonSchema for Metric {
    fn schema_name() -> Cow<'static, str> {
        "Metric".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["type"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "type": { "type": "string", "maxLength": 63, "pattern": names::WORD }
            }
        })
    }
}

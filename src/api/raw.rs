//! Pod templates and Service specs as users write them, kept as JSON.
//!
//! The types of Kubernetes are not embedded: they would make the CRD larger than client-side apply accepts,
//! and silently drop fields of newer servers. What is written here is checked by a strict dry run instead.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::names;

/// How long Kubernetes lets a pod end where its template says nothing.
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// A `PodTemplateSpec`, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplate(pub Value);

impl PodTemplate {
    /// Returns the containers of the template, `initContainers` not included.
    pub fn containers(&self) -> impl Iterator<Item = &Value> {
        self.list("/spec/containers")
    }

    /// Returns name and image of every container, `initContainers` included, and of every volume that is an image.
    pub fn images(&self) -> impl Iterator<Item = (&str, &str)> {
        let volumes = self
            .list("/spec/volumes")
            .filter_map(|volume| Some((volume.get("name")?.as_str()?, volume.pointer("/image/reference")?.as_str()?)));
        self.list("/spec/initContainers")
            .chain(self.list("/spec/containers"))
            .filter_map(|container| Some((container.get("name")?.as_str()?, container.get("image")?.as_str()?)))
            .chain(volumes)
    }

    /// Returns how long a pod may take to end, in seconds.
    #[must_use]
    pub fn grace_seconds(&self) -> u64 {
        self.0.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_GRACE_SECONDS)
    }

    fn list(&self, pointer: &str) -> impl Iterator<Item = &Value> {
        self.0.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
    }
}

/// Returns the schema of a list of containers: bounded, names and images checked, everything else kept.
fn containers(min_items: u8) -> Value {
    json!({
        "type": "array",
        "minItems": min_items,
        "maxItems": 32,
        "items": {
            "type": "object",
            "required": ["name", "image"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "name": { "type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" },
                "image": { "type": "string", "minLength": 1, "maxLength": 512, "pattern": names::WORD }
            }
        }
    })
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let map = json!({
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": { "type": "string", "maxLength": 4096 }
        });
        json_schema!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "metadata": {
                    "type": "object",
                    "properties": { "labels": map, "annotations": map }
                },
                "spec": {
                    "type": "object",
                    "required": ["containers"],
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": { "containers": containers(1), "initContainers": containers(0) }
                }
            }
        })
    }
}

/// A `ServiceSpec` without selector, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceTemplate(pub Value);

impl ServiceTemplate {
    /// Returns the number of the first port, by which checks reach the Service unless they name another.
    #[must_use]
    pub fn first_port(&self) -> Option<u16> {
        let port = self.0.pointer("/ports/0/port")?.as_u64()?;
        u16::try_from(port).ok()
    }
}

impl JsonSchema for ServiceTemplate {
    fn schema_name() -> Cow<'static, str> {
        "ServiceTemplate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["ports"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "type": { "type": "string", "enum": ["ClusterIP", "NodePort", "LoadBalancer"] },
                "clusterIP": { "type": "string", "maxLength": 64 },
                "selector": { "type": "object", "maxProperties": 16, "additionalProperties": { "type": "string", "maxLength": 63 } },
                "ports": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 32,
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {
                            "name": { "type": "string", "maxLength": 63 },
                            "port": { "type": "integer", "minimum": 1, "maximum": 65535 }
                        }
                    }
                }
            },
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.selector)",
                    "message": "write no selector: the operator moves it from revision to revision"
                },
                {
                    "rule": "!has(self.clusterIP) || self.clusterIP != 'None'",
                    "message": "a headless Service cannot be switched: its clients keep the addresses they looked up"
                }
            ]
        })
    }
}

//! A revision's own ConfigMaps, and what refers to them; pure.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, json};

use super::{
    super::observed::{AttemptSeen, ReleaseSeen},
    Kind, Manifest, Marks, child_name, manifest, owners,
};
use crate::api::{ConfigFiles, PodTemplate, ReleaseSpec, labels::Role};

/// Returns the name of the ConfigMap that holds a config of the Release in a revision.
#[must_use]
pub fn config_name(release: &ReleaseSeen, config: &str, digits: &str) -> String {
    child_name(&[&release.name, config, digits])
}

/// Returns a ConfigMap of a revision. It never changes: a pod that starts again, long after, reads what its version
/// was released with.
#[must_use]
pub fn config_map(
    release: &ReleaseSeen,
    (spec, config): (&ReleaseSpec, &ConfigFiles),
    owner: Option<&AttemptSeen>,
) -> Manifest {
    let revision = spec.revision();
    let marks = Marks { release, revision: revision.digits(), workload: "", role: Role::Config };
    manifest(
        Kind::ConfigMap,
        config_name(release, &config.name, revision.digits()),
        &marks,
        json!({
            "metadata": { "ownerReferences": owners(release, owner) },
            "immutable": true,
            "data": config.data,
        }),
    )
}

/// Returns a pod template in which every reference to a config of the Release is one to the revision's own ConfigMap.
#[must_use]
pub fn with_own_config<'a>(release: &ReleaseSeen, spec: &ReleaseSpec, template: &'a Value) -> Cow<'a, Value> {
    if spec.config.is_empty() {
        return Cow::Borrowed(template);
    }
    let revision = spec.revision();
    let names: BTreeMap<&str, String> = spec
        .config
        .iter()
        .map(|config| (config.name.as_str(), config_name(release, &config.name, revision.digits())))
        .collect();
    let mut template = template.clone();
    for reference in references(&mut template) {
        if let Some(own) = reference.as_str().and_then(|name| names.get(name)) {
            *reference = own.as_str().into();
        }
    }
    Cow::Owned(template)
}

/// Returns every name of a ConfigMap in a pod template.
fn references(template: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (key, part) in template.get_mut("spec").and_then(Value::as_object_mut).into_iter().flatten() {
        let items = part.as_array_mut().into_iter().flatten();
        match key.as_str() {
            "volumes" => found.extend(items.flat_map(of_volume)),
            "initContainers" | "containers" => found.extend(items.flat_map(of_container)),
            _ => {}
        }
    }
    found
}

fn of_volume(volume: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (key, part) in volume.as_object_mut().into_iter().flatten() {
        match key.as_str() {
            "configMap" => found.extend(part.get_mut("name")),
            "projected" => {
                let sources = part.get_mut("sources").and_then(Value::as_array_mut);
                found.extend(sources.into_iter().flatten().filter_map(|source| source.pointer_mut("/configMap/name")));
            }
            _ => {}
        }
    }
    found
}

fn of_container(container: &mut Value) -> Vec<&mut Value> {
    let mut found = Vec::new();
    for (key, part) in container.as_object_mut().into_iter().flatten() {
        let items = part.as_array_mut().into_iter().flatten();
        match key.as_str() {
            "envFrom" => found.extend(items.filter_map(|from| from.pointer_mut("/configMapRef/name"))),
            "env" => found.extend(items.filter_map(|env| env.pointer_mut("/valueFrom/configMapKeyRef/name"))),
            _ => {}
        }
    }
    found
}

/// Where a ConfigMap or Secret is named, and under which key.
type Place = (&'static str, &'static str);
/// The same of a volume, of a source of a projected volume, of `envFrom`, of `env`.
type Places = [Place; 4];
const CONFIG_MAPS: Places =
    [("/configMap", "name"), ("/configMap", "name"), ("/configMapRef", "name"), ("/valueFrom/configMapKeyRef", "name")];
const SECRETS: Places =
    [("/secret", "secretName"), ("/secret", "name"), ("/secretRef", "name"), ("/valueFrom/secretKeyRef", "name")];

/// Returns the names of the ConfigMaps that a pod reads.
#[must_use]
pub fn config_maps_of(template: &PodTemplate) -> Vec<&str> {
    named(template, CONFIG_MAPS, |_| true)
}

/// Returns the names of the Secrets that a pod reads.
#[must_use]
pub fn secrets_of(template: &PodTemplate) -> Vec<&str> {
    named(template, SECRETS, |_| true)
}

/// Returns the names of the ConfigMaps without which a pod does not start.
#[must_use]
pub fn required_config_maps_of(template: &PodTemplate) -> Vec<&str> {
    named(template, CONFIG_MAPS, is_required)
}

/// Returns the names of the Secrets without which a pod does not start.
#[must_use]
pub fn required_secrets_of(template: &PodTemplate) -> Vec<&str> {
    named(template, SECRETS, is_required)
}

fn is_required(reference: &Value) -> bool {
    reference.get("optional").is_none_or(|optional| *optional != true)
}

/// Returns the names at these places, of the references that count.
fn named(template: &PodTemplate, [volume, source, from, variable]: Places, counts: fn(&Value) -> bool) -> Vec<&str> {
    let containers = ["/spec/initContainers", "/spec/containers"];
    let containers = containers.into_iter().flat_map(|kind| list(&template.0, kind));
    let of_containers = containers.flat_map(|container| {
        let from = list(container, "/envFrom").filter_map(move |item| at(item, from, counts));
        from.chain(list(container, "/env").filter_map(move |item| at(item, variable, counts)))
    });
    let of_volumes = list(&template.0, "/spec/volumes").flat_map(|item| {
        let sources = list(item, "/projected/sources").filter_map(move |item| at(item, source, counts));
        at(item, volume, counts).into_iter().chain(sources)
    });
    of_containers.chain(of_volumes).collect()
}

fn list<'a>(value: &'a Value, place: &'static str) -> impl Iterator<Item = &'a Value> {
    value.pointer(place).and_then(Value::as_array).into_iter().flatten()
}

fn at(value: &Value, (place, key): Place, counts: fn(&Value) -> bool) -> Option<&str> {
    let reference = value.pointer(place).filter(|reference| counts(reference))?;
    reference.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place in a pod where a ConfigMap is named.
    fn pod(name: &str) -> Value {
        let container = json!({
            "name": "c", "image": "c:1",
            "envFrom": [{ "configMapRef": { "name": name } }, { "secretRef": { "name": "app" } }],
            "env": [
                { "name": "A", "valueFrom": { "configMapKeyRef": { "name": name, "key": "a" } } },
                { "name": "B", "valueFrom": { "secretKeyRef": { "name": "app", "key": "b" } } },
                { "name": "C", "value": "app" },
            ],
        });
        json!({ "metadata": { "annotations": { "name": "app" } }, "spec": {
            "serviceAccountName": "app",
            "initContainers": [container],
            "containers": [container],
            "volumes": [
                { "name": "app", "configMap": { "name": name, "items": [{ "key": "a", "path": "a" }] } },
                { "name": "all", "projected": { "sources": [
                    { "configMap": { "name": name } }, { "secret": { "name": "app" } }, { "configMap": { "name": "other" } },
                ] } },
                { "name": "secret", "secret": { "secretName": "app" } },
            ],
        } })
    }

    #[test]
    fn what_a_pod_needs_is_named() {
        let template = PodTemplate(pod("shop"));
        assert_eq!(config_maps_of(&template), ["shop", "shop", "shop", "shop", "shop", "shop", "other"]);
        assert_eq!(secrets_of(&template), ["app"; 6]);
        assert_eq!(required_config_maps_of(&template).len(), 7);
        assert_eq!(required_secrets_of(&template).len(), 6);
    }

    #[test]
    fn a_pod_starts_without_what_is_optional() {
        let spec = json!({
            "containers": [{ "name": "c", "image": "c:1",
                "envFrom": [{ "configMapRef": { "name": "a", "optional": true } }, { "secretRef": { "name": "b", "optional": true } }],
                "env": [
                    { "name": "A", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "c", "optional": false } } },
                    { "name": "B", "valueFrom": { "secretKeyRef": { "name": "d", "key": "d", "optional": false } } },
                ],
            }],
            "volumes": [
                { "name": "v", "configMap": { "name": "e", "optional": true } },
                { "name": "w", "secret": { "secretName": "f", "optional": true } },
                { "name": "x", "projected": { "sources": [{ "configMap": { "name": "g", "optional": true } }, { "secret": { "name": "h" } }] } },
            ],
        });
        let template = PodTemplate(json!({ "spec": spec }));
        assert_eq!((required_config_maps_of(&template), required_secrets_of(&template)), (vec!["c"], vec!["d", "h"]));
    }

    #[test]
    fn every_reference_to_a_config_and_nothing_else_is_changed() {
        let mut template = pod("app");
        let found = references(&mut template);
        assert_eq!(found.iter().filter(|name| ***name == "app").count(), 6, "{found:?}");
        for name in found.into_iter().filter(|name| **name == "app") {
            *name = "shop-app-0123456789".into();
        }
        assert_eq!(template, pod("shop-app-0123456789"));
        for odd in [json!({}), json!({ "spec": 3 }), json!({ "spec": { "volumes": 1, "containers": [2] } })] {
            assert!(references(&mut odd.clone()).is_empty(), "{odd}");
        }
    }
}

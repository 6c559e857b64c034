//! Labels of ours that somebody took off: the patch that puts them back; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};

use super::{
    super::observed::{ObjectSeen, ReleaseSeen},
    Manifest, Marks,
};
use crate::api::{GROUP, labels::Role};

/// Returns what puts labels of ours back on an object that was to be made and was found there as ours; `None` where all of
/// them are there. What has no owner is ours by its label alone, so it has it.
#[must_use]
pub fn labels_back(manifest: &Manifest, found: &ObjectMeta) -> Option<Value> {
    let wanted = manifest.body.pointer("/metadata/labels").and_then(Value::as_object)?;
    let has = |key: &str| found.labels.as_ref().and_then(|labels| labels.get(key));
    // Those that people and other tools read are theirs to change.
    let lost = wanted
        .iter()
        .filter(|(key, _)| key.starts_with(GROUP))
        .filter(|(key, value)| has(key).map(String::as_str) != value.as_str());
    let lost: Map<String, Value> = lost.map(|(key, value)| (key.clone(), value.clone())).collect();
    if lost.is_empty() || manifest.kind.is_unowned() {
        return None;
    }
    Some(json!({ "metadata": { "uid": found.uid, "resourceVersion": found.resource_version, "labels": lost } }))
}

/// Returns what puts them back on a Deployment.
#[must_use]
pub fn deployment_labelled(release: &ReleaseSeen, (workload, digits): (&str, &str), found: &ObjectSeen) -> Value {
    let labels = Marks { release, revision: digits, workload, role: Role::Workload }.own_labels();
    json!({ "metadata": { "uid": found.uid, "resourceVersion": found.resource_version, "labels": labels } })
}

#[cfg(test)]
mod tests {
    use super::{super::Kind, *};

    #[test]
    fn what_was_taken_off_is_put_back_and_nothing_else() {
        let made = |kind| Manifest {
            kind,
            name: "shop".into(),
            body: json!({ "metadata": { "labels": {
                "switchback.dev/release-uid": "u", "switchback.dev/role": "active", "app.kubernetes.io/name": "shop",
            } } }),
        };
        let found = |labels: Value| -> ObjectMeta {
            serde_json::from_value(json!({ "uid": "it", "resourceVersion": "7", "labels": labels })).unwrap()
        };
        let whole = json!({ "switchback.dev/release-uid": "u", "switchback.dev/role": "active", "team": "a" });
        assert_eq!(labels_back(&made(Kind::Service), &found(whole)), None);
        let other = found(json!({ "switchback.dev/release-uid": "u", "switchback.dev/role": "preview" }));
        let patch = |labels: Value| json!({ "metadata": { "uid": "it", "resourceVersion": "7", "labels": labels } });
        let expected = patch(json!({ "switchback.dev/role": "active" }));
        assert_eq!(labels_back(&made(Kind::Service), &other), Some(expected));
        let expected = patch(json!({ "switchback.dev/release-uid": "u", "switchback.dev/role": "active" }));
        assert_eq!(labels_back(&made(Kind::Deployment), &found(Value::Null)), Some(expected));
        // No right to patch it is asked for: nothing of ours writes it after it was made.
        assert_eq!(labels_back(&made(Kind::ControllerRevision), &found(Value::Null)), None);
    }
}

//! What was taken over: the selectors of its Services, the labels that keep pods apart from it, and the write that takes
//! it over; pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    super::observed::{AttemptSeen, ReleaseSeen},
    Kind, LABEL_LENGTH, Manifest, Marks, owners, selector, shorten,
};
use crate::api::{AdoptedWorkload, Record, Workload, labels::Role};

/// Returns what a Service selects when it points at a revision: our labels, or what it selected when it was taken over.
#[must_use]
pub fn service_selector(
    release: &ReleaseSeen,
    service: &str,
    (workload, digits): (&str, &str),
) -> BTreeMap<String, String> {
    let adopted = release.status.record.adopted(digits).and_then(|adoption| adoption.behind(service));
    adopted.map_or_else(|| selector(release, workload, digits), |adopted| adopted.selector.clone())
}

/// Returns the value by which pods of a revision differ from those that were taken over.
#[must_use]
pub fn apart(value: &str, digits: &str) -> String {
    if value.is_empty() { digits.to_owned() } else { shorten(&format!("{value}-{digits}"), LABEL_LENGTH) }
}

/// Returns the labels that the pods of a workload would have if nothing had to be kept apart.
#[must_use]
pub fn labels_as_written(release: &ReleaseSeen, workload: &Workload) -> BTreeMap<String, String> {
    let marks = Marks { release, revision: release.wanted.digits(), workload: &workload.name, role: Role::Workload };
    let labels = marks.pod_labels(&workload.template.0);
    labels.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect()
}

/// Changes the label by which a Service that was taken over would select pods of a revision that is not verified.
pub(super) fn keep_apart(record: &Record, (workload, digits): (&str, &str), labels: &mut Map<String, Value>) {
    let adoption = record.kept_apart_from(digits);
    let adopted = adoption.iter().flat_map(|adoption| &adoption.workloads);
    for AdoptedWorkload { selector, key, .. } in adopted.filter(|adopted| adopted.workload == workload) {
        let Some((key, value)) = key.as_ref().and_then(|key| selector.get_key_value(key)) else { continue };
        if labels.get(key).is_some_and(|label| label == value) {
            labels.insert(key.clone(), apart(value, digits).into());
        }
    }
}

/// An object to be taken over, as it was read.
#[derive(Debug, Clone, Copy)]
pub struct TakeOver<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// The version that was read.
    pub resource_version: &'a str,
    /// The revision that it belongs to.
    pub digits: &'a str,
    /// Its selector, as it was read: traffic may have moved since it was found.
    pub selector: Option<&'a Value>,
    /// The second owner: the revision's content, or what holds Services.
    pub owner: Option<&'a AttemptSeen>,
}

/// Returns what is applied to a Deployment to take it over: labels and owners. Its spec stays whoever's it is.
#[must_use]
pub fn deployment_taken_over(release: &ReleaseSeen, adopted: &AdoptedWorkload, it: TakeOver<'_>) -> Manifest {
    let marks = Marks { release, revision: it.digits, workload: &adopted.workload, role: Role::Adopted };
    taken_over((Kind::Deployment, &adopted.deployment), &marks, it, json!({}))
}

/// Returns what is applied to a Service to take it over: labels, owners, and its selector as it is, which is ours from
/// then on.
#[must_use]
pub fn service_taken_over(release: &ReleaseSeen, adopted: &AdoptedWorkload, it: TakeOver<'_>) -> Manifest {
    let marks = Marks { release, revision: "", workload: &adopted.workload, role: Role::Active };
    let spec = it.selector.map_or_else(|| json!({}), |selector| json!({ "spec": { "selector": selector } }));
    taken_over((Kind::Service, &adopted.service), &marks, it, spec)
}

fn taken_over((kind, name): (Kind, &str), marks: &Marks<'_>, it: TakeOver<'_>, mut body: Value) -> Manifest {
    let metadata = json!({
        "name": name,
        "namespace": marks.release.namespace,
        "uid": it.uid,
        "resourceVersion": it.resource_version,
        "labels": marks.own_labels(),
        "ownerReferences": owners(marks.release, it.owner),
    });
    super::set(&mut body, "apiVersion", kind.api_version().into());
    super::set(&mut body, "kind", kind.as_str().into());
    super::set(&mut body, "metadata", metadata);
    Manifest { kind, name: name.to_owned(), body }
}

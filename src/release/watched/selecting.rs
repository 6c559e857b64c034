//! What is read of objects that select pods or scale Deployments, whoever they belong to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use super::ours;
use crate::release::{manifests::Kind, observed::SelectingSeen};

/// Reads one.
#[must_use]
pub fn selecting(kind: Kind, object: &DynamicObject) -> SelectingSeen {
    let selector = object.data.pointer("/spec/selector");
    let selector = match kind {
        // A Service without selector selects nothing; its selector is no LabelSelector.
        Kind::Service => selector.and_then(Value::as_object).filter(|labels| !labels.is_empty()).map(|labels| {
            let labels = labels.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            LabelSelector { match_labels: Some(labels.collect()), ..LabelSelector::default() }
        }),
        _ => selector.and_then(|selector| serde_json::from_value(selector.clone()).ok()),
    };
    let target = object.data.pointer("/spec/scaleTargetRef");
    let target = target.filter(|target| target.get("kind").is_some_and(|kind| kind == "Deployment"));
    SelectingSeen {
        kind,
        name: object.name_any(),
        of_release: ours(object),
        selector,
        scales: target.and_then(|target| target.get("name")?.as_str()).map(str::to_owned),
    }
}

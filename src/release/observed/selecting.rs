//! What was seen of objects that select pods, whoever they belong to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use crate::release::manifests::Kind;

/// A Service, Deployment, PodDisruptionBudget or HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectingSeen {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Whether the Release that its labels name controls it: somebody's Release, not always ours.
    pub of_release: bool,
    /// Which pods it selects; `None`: none.
    pub selector: Option<LabelSelector>,
    /// Name of the Deployment that it scales.
    pub scales: Option<String>,
}

impl SelectingSeen {
    /// Returns whether it selects a pod with these labels. A selector that cannot be read selects nothing.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.as_ref().is_some_and(|selector| matches(selector, labels))
    }

    /// Returns the labels by which it selects, in words.
    #[must_use]
    pub fn by(&self) -> String {
        let selector = self.selector.clone().and_then(|selector| Selector::try_from(selector).ok());
        match selector {
            Some(selector) if selector.selects_all() => "every pod of the namespace".to_owned(),
            Some(selector) => selector.to_string(),
            None => "nothing".to_owned(),
        }
    }
}

/// Returns whether a selector selects a pod with these labels. One that cannot be read selects nothing.
pub(super) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

//! What was seen of NetworkPolicies, whoever they belong to.

use std::{collections::BTreeMap, ops::RangeInclusive};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::selecting::matches;

/// A NetworkPolicy that says who may reach pods.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkPolicySeen {
    /// Its name.
    pub name: String,
    /// The pods that it holds for.
    pub pods: LabelSelector,
    /// The ports at which it lets everybody in.
    pub open: Vec<RangeInclusive<i32>>,
}

impl NetworkPolicySeen {
    /// Returns whether it holds for a pod with these labels. A selector that cannot be read selects nothing.
    #[must_use]
    pub fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        matches(&self.pods, labels)
    }

    /// Returns whether it lets everybody in at a port.
    #[must_use]
    pub fn is_open_at(&self, port: i32) -> bool {
        self.open.iter().any(|ports| ports.contains(&port))
    }
}

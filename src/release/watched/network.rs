//! What is read of NetworkPolicies.

use std::ops::RangeInclusive;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;

use crate::release::observed::NetworkPolicySeen;

/// Reads one; `None` for one that speaks only of whom pods may reach.
#[must_use]
pub fn network_policy(policy: &NetworkPolicy) -> Option<NetworkPolicySeen> {
    let spec = policy.spec.as_ref()?;
    // Without types it is one of who may reach pods.
    let types = spec.policy_types.as_ref().filter(|types| !types.is_empty());
    let reaches_in = types.is_none_or(|types| types.iter().any(|kind| kind == "Ingress"));
    let rules = spec.ingress.iter().flatten();
    let open = rules.filter(|rule| {
        let from = rule.from.as_ref().filter(|from| !from.is_empty());
        from.is_none_or(|from| from.iter().any(is_everybody))
    });
    let open = open.flat_map(|rule| match rule.ports.as_ref().filter(|ports| !ports.is_empty()) {
        None => vec![0..=i32::MAX],
        Some(ports) => ports.iter().filter_map(numbers).collect(),
    });
    reaches_in.then(|| NetworkPolicySeen {
        name: policy.name_any(),
        pods: spec.pod_selector.clone().unwrap_or_default(),
        open: open.collect(),
    })
}

/// Returns whether a peer is every pod of the cluster, or every address.
fn is_everybody(peer: &NetworkPolicyPeer) -> bool {
    let is_all = |selector: &LabelSelector| *selector == LabelSelector::default();
    let everywhere = peer.ip_block.as_ref().is_some_and(|block| {
        matches!(block.cidr.as_str(), "0.0.0.0/0" | "::/0") && block.except.as_ref().is_none_or(Vec::is_empty)
    });
    // Without one of namespaces a selector speaks of the policy's own.
    let every_pod = peer.namespace_selector.as_ref().is_some_and(is_all) && peer.pod_selector.iter().all(is_all);
    everywhere || every_pod
}

/// Returns the ports of a rule, as far as they are numbers of TCP: what a name means is up to each pod.
fn numbers(port: &NetworkPolicyPort) -> Option<RangeInclusive<i32>> {
    if port.protocol.as_ref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    match port.port {
        None => Some(0..=i32::MAX),
        Some(IntOrString::Int(from)) => Some(from..=port.end_port.unwrap_or(from)),
        Some(IntOrString::String(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn read(spec: Value) -> Option<NetworkPolicySeen> {
        network_policy(&serde_json::from_value(json!({ "metadata": { "name": "db" }, "spec": spec })).unwrap())
    }

    #[test]
    fn what_speaks_only_of_whom_pods_may_reach_covers_none() {
        assert!(read(json!({ "podSelector": {}, "policyTypes": ["Egress"] })).is_none());
        for types in [json!(null), json!([]), json!(["Ingress"]), json!(["Egress", "Ingress"])] {
            let seen = read(json!({ "podSelector": {}, "policyTypes": types })).unwrap();
            assert!(seen.covers(&BTreeMap::new()), "{types}");
        }
    }

    #[test]
    fn it_covers_the_pods_that_it_selects() {
        let labels = BTreeMap::from([("app".to_owned(), "db".to_owned())]);
        let selectors = [
            (json!({}), true),
            (json!({ "matchLabels": { "app": "db" } }), true),
            (json!({ "matchLabels": { "app": "db", "tier": "data" } }), false),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["db"] }] }), false),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "Resembles" }] }), false),
        ];
        for (selector, covers) in selectors {
            let seen = read(json!({ "podSelector": selector, "ingress": [] })).unwrap();
            assert_eq!((seen.covers(&labels), seen.is_open_at(5432)), (covers, false), "{selector}");
        }
    }

    #[test]
    fn whom_it_lets_in_may_be_everybody() {
        let some = json!([{ "podSelector": {} }]);
        let rules = [
            (json!({}), true),
            (json!({ "from": [] }), true),
            (json!({ "from": some }), false),
            (json!({ "from": [{ "namespaceSelector": {} }] }), true),
            (
                json!({ "from": [{ "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": "web" } } }] }),
                false,
            ),
            (json!({ "from": [{ "ipBlock": { "cidr": "0.0.0.0/0" } }] }), true),
            (json!({ "from": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"] } }] }), false),
            (json!({ "ports": [{ "port": 5432 }] }), true),
            (json!({ "ports": [{ "port": 5000, "endPort": 6000 }] }), true),
            (json!({ "ports": [{ "port": 9187 }] }), false),
            (json!({ "ports": [{ "port": "metrics" }] }), false),
            (json!({ "ports": [{ "protocol": "UDP" }] }), false),
            (json!({ "ports": [{ "protocol": "TCP" }] }), true),
        ];
        for (rule, open) in rules {
            let seen = read(json!({ "podSelector": {}, "ingress": [{ "from": some }, rule] })).unwrap();
            assert_eq!(seen.is_open_at(5432), open, "{rule}");
        }
    }
}

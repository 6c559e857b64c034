//! What is read of quotas and limits.

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::release::observed::{Amounts, DefaultsSeen, QuotaSeen, quantity};

/// Reads a ResourceQuota; `None` for one with scopes, which holds for some pods only, and one that nobody has counted
/// for yet.
#[must_use]
pub fn quota(object: &DynamicObject) -> Option<QuotaSeen> {
    let scoped = ["/spec/scopes", "/spec/scopeSelector"].iter().any(|scope| object.data.pointer(scope).is_some());
    let hard = amounts(object.data.pointer("/status/hard"));
    let used = amounts(object.data.pointer("/status/used"));
    (!scoped && !hard.is_empty()).then(|| QuotaSeen { name: object.name_any(), hard, used })
}

/// Adds what a LimitRange gives to containers that do not say.
pub fn defaults(object: &DynamicObject, all: &mut DefaultsSeen) {
    let limits = object.data.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten();
    for limit in limits.filter(|limit| limit.get("type").is_some_and(|kind| kind == "Container")) {
        all.limits.extend(amounts(limit.get("default")));
        all.requests.extend(amounts(limit.get("defaultRequest")));
    }
}

fn amounts(value: Option<&Value>) -> Amounts {
    let amounts = value.and_then(Value::as_object).into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.clone(), quantity(amount.as_str()?)?))).collect()
}

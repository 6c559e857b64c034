//! Quota: whether both versions fit beside each other, by arithmetic; pure.
//!
//! Dry runs ask for one pod at a time and would find room for it. What serves is part of what is used already.

use serde_json::Value;

use super::{
    super::observed::{Amounts, Answer, Ask, DefaultsSeen, ONE, Observed, QuotaSeen, amount_words, quantity},
    inspect::Inspection,
};
use crate::api::{Reason, Record, ReleaseSpec};

/// Asks for the quotas of the namespace and reckons.
pub(super) fn look(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> Inspection {
    let Some(Answer::Quotas(quotas, defaults)) = seen.answer(&Ask::Quotas) else {
        return Inspection::Asking(vec![Ask::Quotas]);
    };
    let (needs, what) = needs(seen, record, (spec, defaults));
    let exceeded = quotas.iter().find_map(|quota| exceeded(quota, &needs));
    exceeded.map_or(Inspection::Fine, |(quota, resource, [hard, used, needed])| {
        let message = format!(
            "ResourceQuota {quota} allows {hard} of {resource}, of which {used} are used; {} takes {needed} more beside what \
             serves ({what}). Nothing was changed. Raise the quota, or ask for less.",
            spec.version
        );
        Inspection::Refused(Reason::QuotaExceeded, message)
    })
}

fn exceeded<'a>(quota: &'a QuotaSeen, needs: &Amounts) -> Option<(&'a str, &'a str, [String; 3])> {
    quota.hard.iter().find_map(|(resource, hard)| {
        let needed = needs.get(resource).copied().unwrap_or(0);
        let used = quota.used.get(resource).copied().unwrap_or(0);
        let words = [*hard, used, needed].map(|amount| amount_words(resource, amount));
        (needed > 0 && used + needed > *hard).then_some((quota.name.as_str(), resource.as_str(), words))
    })
}

/// Returns what the candidate takes besides what is there already, under each name by which quotas count it; and in words.
fn needs(seen: &Observed, record: &Record, (spec, defaults): (&ReleaseSpec, &DefaultsSeen)) -> (Amounts, String) {
    let revision = spec.revision();
    let mut needs = Amounts::new();
    let mut words = Vec::new();
    for workload in &spec.workloads {
        let there = seen.deployment(&workload.name, &revision).map(|deployment| deployment.replicas);
        // At least as large as what serves, whatever its content says.
        let live = record.active.as_ref().and_then(|active| seen.deployment(&workload.name, &active.revision));
        // An autoscaler that finds no room later is told so by the cluster, and what serves stays as it is.
        let size = workload.size().max(live.map_or(0, |live| live.replicas));
        let pods = i128::from((size - there.unwrap_or(0)).max(0));
        words.push(format!("{} x {pods}", workload.name));
        for resource in ["pods", "count/pods"] {
            add(&mut needs, resource, pods * ONE);
        }
        for (resource, amount) in of_pod(&workload.template.0, defaults) {
            add(&mut needs, &resource, pods * amount);
        }
        if there.is_none() {
            for resource in ["count/deployments.apps", "count/replicasets.apps"] {
                add(&mut needs, resource, ONE);
            }
        }
        if workload.autoscaling.is_some() && seen.autoscaler(&workload.name, &revision).is_none() {
            add(&mut needs, "count/horizontalpodautoscalers.autoscaling", ONE);
        }
    }
    (needs, words.join(", "))
}

fn add(amounts: &mut Amounts, resource: &str, amount: i128) {
    *amounts.entry(resource.to_owned()).or_default() += amount;
}

/// Returns what one pod takes: its containers together, or its largest init container when that takes more.
fn of_pod(template: &Value, defaults: &DefaultsSeen) -> Amounts {
    let list = |kind: &str| template.pointer(kind).and_then(Value::as_array).into_iter().flatten();
    let mut together = Amounts::new();
    let mut largest = Amounts::new();
    // Sidecars are init containers that stay.
    let stays = |container: &&Value| container.get("restartPolicy").is_some_and(|policy| policy == "Always");
    let init = || list("/spec/initContainers");
    for container in init().filter(stays).chain(list("/spec/containers")) {
        for (resource, amount) in of_container(container, defaults) {
            add(&mut together, &resource, amount);
        }
    }
    for container in init().filter(|container| !stays(container)) {
        for (resource, amount) in of_container(container, defaults) {
            let known = largest.entry(resource).or_default();
            *known = amount.max(*known);
        }
    }
    for (resource, amount) in largest {
        let known = together.entry(resource).or_default();
        *known = amount.max(*known);
    }
    together
}

/// Returns what a container takes, under the names of quotas.
fn of_container(container: &Value, defaults: &DefaultsSeen) -> Amounts {
    let said = |kind: &str| -> Amounts {
        let given = container.pointer(kind).and_then(Value::as_object).into_iter().flatten();
        given.filter_map(|(name, text)| Some((name.clone(), amount(text)?))).collect()
    };
    let mut limits = defaults.limits.clone();
    limits.extend(said("/resources/limits"));
    // Who says only a limit asks for as much.
    let mut requests = defaults.limits.clone();
    requests.extend(defaults.requests.clone());
    requests.extend(said("/resources/limits"));
    requests.extend(said("/resources/requests"));
    let mut all = Amounts::new();
    for (name, amount) in requests {
        all.insert(format!("requests.{name}"), amount);
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            all.insert(name, amount);
        }
    }
    all.extend(limits.into_iter().map(|(name, amount)| (format!("limits.{name}"), amount)));
    all
}

fn amount(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => quantity(text),
        Value::Number(number) => quantity(&number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

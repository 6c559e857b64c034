//! What the plan says of sizes and autoscalers, in words; pure.

use crate::api::{Autoscaling, Metric, ReleaseSpec, Workload};

/// Says how many pods a workload gets.
pub(super) fn size(workload: &Workload) -> String {
    match &workload.autoscaling {
        None => workload.size().to_string(),
        Some(asked) => format!("{} to {} by {}", asked.min, asked.max, by(asked)),
    }
}

fn by(asked: &Autoscaling) -> String {
    let metrics: Vec<&str> = asked.metrics.iter().map(Metric::name).collect();
    asked.target_cpu.map_or_else(|| metrics.join(" and "), |percent| format!("{percent} % CPU"))
}

/// Says what autoscalers do while the release is under way; nothing where there are none.
pub(super) fn meanwhile(spec: &ReleaseSpec) -> String {
    let names: Vec<&str> = spec
        .workloads
        .iter()
        .filter(|workload| workload.autoscaling.is_some())
        .map(|found| found.name.as_str())
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        " From the switch on until the release has ended, autoscalers of {} take no pods away from either version.",
        names.join(", ")
    )
}

/// Says what makes a size likely to go wrong.
pub(super) fn risks(workload: &Workload) -> impl Iterator<Item = String> {
    let name = &workload.name;
    let single = (workload.size() == 1 && !workload.services.is_empty()).then(|| match &workload.autoscaling {
        None => format!("Workload {name} has one replica: a lost node takes all of it away."),
        Some(_) => format!("Workload {name} may be scaled down to one pod: a lost node then takes all of it away."),
    });
    single.into_iter().chain(uncounted(workload))
}

/// Lists the containers of which a share of CPU cannot be reckoned.
fn uncounted(workload: &Workload) -> Vec<String> {
    let by_cpu = workload.autoscaling.as_ref().is_some_and(|asked| asked.target_cpu.is_some());
    let asks = |of: &serde_json::Value| {
        ["/resources/requests/cpu", "/resources/limits/cpu"].iter().any(|at| of.pointer(at).is_some())
    };
    let of_pod = workload.template.0.get("spec").is_some_and(asks);
    let containers = workload.template.containers().filter(|container| by_cpu && !of_pod && !asks(container));
    containers
        .map(|container| {
            let container = container.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
            format!(
                "Workload {}: container {container} requests no CPU: unless a LimitRange gives it some, the autoscaler has \
                 nothing to measure by and leaves the number of pods as it is.",
                workload.name
            )
        })
        .collect()
}

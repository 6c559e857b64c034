//! Which objects come with a version, by name, in words; pure.

use super::super::{
    super::{manifests, observed::ReleaseSeen},
    belongings::BUDGET_FROM,
};
use crate::api::{ReleaseSpec, Workload};

/// Lists what is made for a version beside what serves.
pub(super) fn made(release: &ReleaseSeen, spec: &ReleaseSpec) -> String {
    let revision = spec.revision();
    let deployments =
        spec.workloads.iter().map(|workload| manifests::deployment_name(release, &workload.name, &revision));
    let previews = spec.services().map(|(_, service)| manifests::preview_name(&service.name));
    let config = spec.config.iter().map(|config| manifests::config_name(release, &config.name, revision.digits()));
    let of_workloads = |is: fn(&Workload) -> bool| -> Vec<String> {
        spec.workloads.iter().filter(|workload| is(workload)).map(|workload| workload.name.clone()).collect()
    };
    let parts = [
        named("Deployment", &deployments.collect::<Vec<_>>()),
        named("Service", &previews.collect::<Vec<_>>()),
        named("ConfigMap", &config.collect::<Vec<_>>()),
        each("HorizontalPodAutoscaler", &of_workloads(|workload| workload.autoscaling.is_some()), ""),
        each(
            "PodDisruptionBudget",
            &of_workloads(|workload| workload.most() >= BUDGET_FROM),
            " where none holds for its pods",
        ),
    ];
    format!("Makes {}.", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn named(kind: &str, names: &[String]) -> Option<String> {
    let plural = if names.len() == 1 { "" } else { "s" };
    (!names.is_empty()).then(|| format!("{kind}{plural} {}", names.join(", ")))
}

fn each(kind: &str, workloads: &[String], unless: &str) -> Option<String> {
    (!workloads.is_empty()).then(|| format!("a {kind} for {}{unless}", workloads.join(", ")))
}

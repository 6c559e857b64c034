//! What the plan says of what pods read: what a revision brings, what it may not find any more when it comes back, what
//! both versions would write; pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::manifests;
use crate::api::{Handover, PodTemplate, Reason, ReleaseSpec};

/// How many files are named.
const NAMED: usize = 6;
/// How many characters the hash at the end of a name has that kustomize gives a ConfigMap or Secret.
const HASH_LENGTH: usize = 10;
/// What that hash consists of: kustomize writes hex with other letters, so that no word comes out.
const HASH_ALPHABET: &str = "2456789bcdfghkmt";

/// Says what config the revision brings, and which Secrets must be there.
pub(super) fn about(spec: &ReleaseSpec) -> String {
    brings(spec) + &needs(spec)
}

/// Says what config the revision brings; nothing when it brings none.
fn brings(spec: &ReleaseSpec) -> String {
    let what: Vec<String> = spec
        .config
        .iter()
        .map(|config| {
            let mut names: Vec<&str> = config.data.keys().map(String::as_str).take(NAMED).collect();
            let more = config.data.len().saturating_sub(NAMED);
            let more = format!("{more} more");
            if config.data.len() > NAMED {
                names.push(&more);
            }
            format!("{} ({})", config.name, names.join(", "))
        })
        .collect();
    if what.is_empty() {
        return String::new();
    }
    format!(" It brings config of its own, which also comes back with it: {}.", what.join(", "))
}

/// Says which Secrets must be there, since nobody here may look; nothing when pods need none.
fn needs(spec: &ReleaseSpec) -> String {
    let names: BTreeSet<&str> = spec.templates().flat_map(manifests::required_secrets_of).collect();
    if names.is_empty() {
        return String::new();
    }
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<&str> = names.into_iter().take(NAMED).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(" Secrets that its pods need, and that nobody but they may look at: {}{more}.", named.join(", "))
}

/// Lists what could go wrong with config.
pub(super) fn risks(spec: &ReleaseSpec) -> Vec<String> {
    let named: BTreeSet<&str> = spec.templates().flat_map(manifests::config_maps_of).collect();
    let unused = spec.config.iter().filter(|config| !named.contains(config.name.as_str()));
    let unused = unused.map(|config| format!("Nothing refers to config {}.", config.name));
    let of_workloads = spec.workloads.iter().flat_map(|workload| {
        // Of one that stops before the other starts there are never two.
        let apart = workload.handed_over() == Some(Handover::StopThenStart);
        let shared = if apart { vec![] } else { shared(&workload.name, &workload.template) };
        hashed(&workload.name, &workload.template).into_iter().chain(shared)
    });
    unused.chain(of_workloads).collect()
}

/// Lists the volumes that outlive pods: both versions have them at the same time.
fn shared(workload: &str, template: &PodTemplate) -> Vec<String> {
    let volumes = template.0.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let claims = volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
    claims
        .map(|claim| {
            format!(
                "Workload {workload} mounts PersistentVolumeClaim {claim}, in both versions at the same time: where one node \
                 or one pod alone may have it, the new pods do not start; where not, both write."
            )
        })
        .collect()
}

/// Lists what a template refers to under a name that changes with its content: what applies the next version from Git
/// removes the one before, which a way back would need.
fn hashed(workload: &str, template: &PodTemplate) -> Vec<String> {
    let config_maps = manifests::config_maps_of(template).into_iter().map(|name| ("ConfigMap", name));
    let all: BTreeSet<_> =
        config_maps.chain(manifests::secrets_of(template).into_iter().map(|name| ("Secret", name))).collect();
    all.into_iter()
        .filter(|(_, name)| is_hashed(name))
        .map(|(kind, name)| {
            let code = Reason::WayBackAtRisk.as_str();
            let remedy = if kind == "ConfigMap" { "move it into config, or keep it" } else { "keep it" };
            format!(
                "{code}: workload {workload} needs {kind} {name}, which seems to be named by a hash of its content. Whoever \
                 prunes removes it together with its manifest, and going back to this version would not find it: {remedy} \
                 from being pruned."
            )
        })
        .collect()
}

fn is_hashed(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == HASH_LENGTH && hash.chars().all(|character| HASH_ALPHABET.contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_hash_are_told_from_names_by_people() {
        for hashed in ["shop-config-5c9gk7f2m8", "a-bbbbbbbbbb"] {
            assert!(is_hashed(hashed), "{hashed}");
        }
        for plain in
            ["shop-production", "shop-config", "shop-5c9gk7f2m", "5c9gk7f2m8", "shop-0123456789", "shop-5c9gk7f2m8x"]
        {
            assert!(!is_hashed(plain), "{plain}");
        }
    }
}

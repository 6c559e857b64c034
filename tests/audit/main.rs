//! What the API server wrote down of everything that the tests did before: run last, by `make test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use serde::Deserialize as _;
use serde_json::Value;

/// The controller's account.
const CONTROLLER: &str = "system:serviceaccount:switchback-system:switchback";
/// What the account must never touch, whatever was granted.
const NEVER: [&str; 8] =
    ["secrets", "pods/exec", "pods/log", "pods/attach", "serviceaccounts/token", "nodes", "roles", "rolebindings"];

/// What is asked only when a create finds its name taken, or a database claimed by another Release, which a run may or
/// may not see.
const BY_CHANCE: [(&str, &str); 4] =
    [("get", "deployments"), ("get", "jobs"), ("get", "controllerrevisions"), ("get", "releases")];

/// Returns every request that the account itself made; what tests tried in its name is another matter.
fn requests() -> Vec<Value> {
    let folder = std::env::var("LAB_DIR").expect("run this as `lab/in cargo test --test audit`");
    let log = std::fs::read(PathBuf::from(folder).join("log/audit/audit.log")).unwrap();
    String::from_utf8_lossy(&log)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["user"]["username"] == CONTROLLER && event["impersonatedUser"].is_null())
        .collect()
}

/// Returns verb and resource of a request, as a Role grants it.
fn right(event: &Value) -> (String, String) {
    let of = |key: &str| event["objectRef"][key].as_str().unwrap_or_default().to_owned();
    let subresource = of("subresource");
    let resource = if subresource.is_empty() { of("resource") } else { format!("{}/{subresource}", of("resource")) };
    (event["verb"].as_str().unwrap_or_default().to_owned(), resource)
}

/// Returns what the chart grants in a namespace it serves, and for the lease in its own.
fn granted() -> BTreeSet<(String, String)> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/switchback");
    let output = Command::new("helm")
        .args(["template", "switchback", chart, "-n", "switchback-system", "--set", "mode=Namespaced"])
        .args(["--set", "namespaces={shop}", "--show-only", "templates/role.yaml"])
        .args(["--show-only", "templates/lease-role.yaml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
        .flat_map(|rule| {
            let (verbs, resources) = (texts(&rule["verbs"]), texts(&rule["resources"]));
            verbs
                .into_iter()
                .flat_map(move |verb| resources.clone().into_iter().map(move |resource| (verb.clone(), resource)))
        })
        .collect()
}

#[test]
fn no_request_of_ours_was_refused_for_want_of_a_right() {
    let all = requests();
    assert!(all.len() > 500, "only {} requests: the other tests did not run against this lab", all.len());
    let refused: Vec<String> = all
        .iter()
        .filter(|event| matches!(event["responseStatus"]["code"].as_u64(), Some(401 | 403)))
        // An API server that is being told of a new namespace or of quota says so with 403 as well.
        .map(|event| format!("{} {}: {}", event["verb"], event["requestURI"], event["responseStatus"]["message"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn nothing_was_asked_for_that_no_role_grants_and_nothing_is_granted_for_nothing() {
    let used: BTreeSet<_> = requests().iter().filter(|event| event["objectRef"].is_object()).map(right).collect();
    let never: Vec<_> = used.iter().filter(|(_, resource)| NEVER.contains(&resource.as_str())).collect();
    assert!(never.is_empty(), "{never:?}");
    let granted = granted();
    let by_chance = |(verb, resource): &&(String, String)| BY_CHANCE.contains(&(verb.as_str(), resource.as_str()));
    let unused: Vec<_> = granted.difference(&used).filter(|right| !by_chance(right)).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:?}");
}

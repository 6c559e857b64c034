//! What the API server wrote down of everything that the tests did before: run last, by `make test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use serde::Deserialize as _;
use serde_json::Value;

/// The controller's account.
const CONTROLLER: &str = "system:serviceaccount:switchback-system:switchback";
/// What the account must never touch, whatever was granted.
const NEVER: [&str; 8] =
    ["secrets", "pods/exec", "pods/log", "pods/attach", "serviceaccounts/token", "nodes", "roles", "rolebindings"];

/// The published table of rights.
const TABLE: &str = include_str!("../../docs/rights.md");
/// What its tables are about, by their headings, and the chart's template that grants it.
const SCOPES: [(&str, &str); 3] = [
    ("In each namespace that it serves", "role"),
    ("In its own namespace", "lease-role"),
    ("Of the cluster", "cluster-role"),
];
/// Heading of the rights that a run may or may not use.
const BY_CHANCE: &str = "Granted, and perhaps not used in a run";

/// Verb and resource, the latter as kubectl writes it: `releases.switchback.dev/status`.
type Right = (String, String);

/// Returns everything that was written down.
fn events() -> Vec<Value> {
    let folder = std::env::var("LAB_DIR").expect("run this as `lab/in cargo test --test audit`");
    let log = std::fs::read(PathBuf::from(folder).join("log/audit/audit.log")).unwrap();
    String::from_utf8_lossy(&log).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Returns every request that the account itself made; what tests tried in its name is another matter.
fn requests() -> Vec<Value> {
    events()
        .into_iter()
        .filter(|event| event["user"]["username"] == CONTROLLER && event["impersonatedUser"].is_null())
        .collect()
}

/// Writes a resource as kubectl does.
fn resource(group: &str, resource: &str) -> String {
    let (name, subresource) = resource.split_once('/').map_or((resource, None), |(name, sub)| (name, Some(sub)));
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let subresource = subresource.map(|subresource| format!("/{subresource}")).unwrap_or_default();
    format!("{name}{group}{subresource}")
}

/// Returns verb and resource of a request, as a Role grants it.
fn right(event: &Value) -> Right {
    let of = |key: &str| event["objectRef"][key].as_str().unwrap_or_default().to_owned();
    let subresource = of("subresource");
    let name = if subresource.is_empty() { of("resource") } else { format!("{}/{subresource}", of("resource")) };
    (event["verb"].as_str().unwrap_or_default().to_owned(), resource(&of("apiGroup"), &name))
}

/// Returns what the chart grants by one of its templates.
fn granted(template: &str) -> BTreeSet<Right> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/switchback");
    let output = Command::new("helm")
        .args(["template", "switchback", chart, "-n", "switchback-system", "--set", "mode=Namespaced"])
        .args(["--set", "namespaces={shop}", "--show-only", &format!("templates/{template}.yaml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let rules = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default());
    let mut granted = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for name in texts(&rule["resources"]) {
                let name = resource(&group, &name);
                granted.extend(texts(&rule["verbs"]).into_iter().map(|verb| (verb, name.clone())));
            }
        }
    }
    granted
}

/// Returns what the published table says under a heading. Each line names a resource once, and says what for.
fn published(heading: &str) -> BTreeSet<Right> {
    let (_, section) = TABLE.split_once(&format!("## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let mut rights = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, verbs, what_for] = cells[..] else { panic!("three cells are wanted: {line}") };
        assert!(!what_for.is_empty(), "what for? {line}");
        for verb in verbs.split(", ") {
            assert!(rights.insert((verb.to_owned(), name.trim_matches('`').to_owned())), "said twice: {line}");
        }
    }
    assert!(!rights.is_empty(), "nothing is under {heading}");
    rights
}

#[test]
fn the_published_table_is_what_the_chart_grants() {
    for (heading, template) in SCOPES {
        let (granted, published) = (granted(template), published(heading));
        let missing: Vec<_> = granted.difference(&published).collect();
        let invented: Vec<_> = published.difference(&granted).collect();
        assert!(missing.is_empty() && invented.is_empty(), "{heading}: not told {missing:?}, not granted {invented:?}");
    }
    let never = |(_, name): &Right| NEVER.iter().any(|never| name == never || name.starts_with(&format!("{never}.")));
    let all: BTreeSet<Right> = SCOPES.iter().flat_map(|(_, template)| granted(template)).collect();
    assert!(!all.iter().any(never), "{all:?}");
    let by_chance = published(BY_CHANCE);
    assert!(by_chance.is_subset(&all), "a reason for what is not granted: {:?}", by_chance.difference(&all));
}

/// Tells whether a dry run has found what Pod Security would refuse: that it is asked is the point of the dry run.
fn is_of_pod_security(event: &Value) -> bool {
    let says = |what: &Value, text: &str| what.as_str().is_some_and(|what| what.contains(text));
    says(&event["requestURI"], "dryRun=All") && says(&event["responseStatus"]["message"], "violates PodSecurity")
}

/// Tells whether the quota has refused it that a test makes to see what a refusal keeps (`node/contested.rs`).
fn is_of_quota(event: &Value) -> bool {
    let message = event["responseStatus"]["message"].as_str();
    message.is_some_and(|message| message.contains("is forbidden: exceeded quota: no-jobs, "))
}

/// Returns since when namespaces were being deleted: they lose their RoleBindings first, and our rights with them.
fn ending() -> BTreeMap<String, String> {
    let is_deletion = |event: &Value| event["verb"] == "delete" && event["objectRef"]["resource"] == "namespaces";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deletions = events().into_iter().filter(is_deletion).rev();
    deletions.map(|event| (text(&event["objectRef"]["name"]), text(&event["requestReceivedTimestamp"]))).collect()
}

#[test]
fn no_request_of_ours_was_refused_for_want_of_a_right() {
    let all = requests();
    assert!(all.len() > 500, "only {} requests: the other tests did not run against this lab", all.len());
    let ending = ending();
    let ends = |event: &Value| {
        let since = event["objectRef"]["namespace"].as_str().and_then(|namespace| ending.get(namespace));
        since.zip(event["requestReceivedTimestamp"].as_str()).is_some_and(|(since, at)| at >= since.as_str())
    };
    let refused: Vec<String> = all
        .iter()
        .filter(|event| matches!(event["responseStatus"]["code"].as_u64(), Some(401 | 403)))
        .filter(|event| !is_of_pod_security(event) && !is_of_quota(event) && !ends(event))
        // An API server that is being told of a new namespace or of quota says so with 403 as well.
        .map(|event| format!("{} {}: {}", event["verb"], event["requestURI"], event["responseStatus"]["message"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn what_the_run_used_is_what_the_published_table_says() {
    let used: BTreeSet<Right> = requests().iter().filter(|event| event["objectRef"].is_object()).map(right).collect();
    let told: BTreeSet<Right> = SCOPES.iter().flat_map(|(heading, _)| published(heading)).collect();
    let untold: Vec<_> = used.difference(&told).collect();
    assert!(untold.is_empty(), "asked for, and not in docs/rights.md: {untold:?}");
    let by_chance = published(BY_CHANCE);
    let unused: Vec<_> = told.difference(&used).filter(|right| !by_chance.contains(*right)).collect();
    assert!(unused.is_empty(), "in docs/rights.md, and never used: {unused:?}");
}

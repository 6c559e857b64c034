//! The CRDs in `deploy/crds/` are those of the types.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect in the shortest way"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

/// Client-side apply stores the whole object in one annotation, which may have 262,144 bytes.
const LARGEST: usize = 200 * 1024;
/// What YAML 1.1, which Kubernetes reads, takes for a boolean.
const BOOLEANS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds")
}

fn stored() -> BTreeMap<String, String> {
    let files = fs::read_dir(folder()).expect("deploy/crds is not there: run `make crds`");
    files
        .map(|file| {
            let path = file.unwrap().path();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_stored_crds_are_those_of_the_types() {
    let printed = switchback::api::crds_yaml().unwrap();
    let printed: Vec<&str> = printed.split("---\n").filter(|document| !document.is_empty()).collect();
    let stored = stored();
    assert_eq!(stored.len(), printed.len(), "{:?}", stored.keys());
    for (crd, document) in switchback::api::crds().iter().zip(printed) {
        let name = &crd.spec.names.plural;
        let found = stored.get(name).unwrap_or_else(|| panic!("deploy/crds/{name}.yaml is missing: run `make crds`"));
        assert!(found == document, "deploy/crds/{name}.yaml is not what the types say: run `make crds`");
    }
}

/// What a schema says by `oneOf` is told before any rule, in words that help nobody.
#[test]
fn no_schema_says_what_a_rule_says_better() {
    for (name, text) in stored() {
        let found: Vec<&str> = text.lines().filter(|line| line.trim().starts_with("oneOf")).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn client_side_apply_can_store_them() {
    for crd in switchback::api::crds() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size <= LARGEST, "{:?}: {size} bytes", crd.metadata.name);
    }
}

#[test]
fn no_text_in_them_reads_as_a_boolean() {
    for (name, text) in stored() {
        for line in text.lines() {
            for word in line.trim().trim_start_matches("- ").trim_end_matches(':').split(": ") {
                assert!(!BOOLEANS.contains(&word.to_lowercase().as_str()), "{name}: {line}");
            }
        }
    }
}

/// Strings, lists and maps without a bound let one object fill etcd, and make CEL rules too dear to be accepted.
#[test]
fn threat_t20_everything_is_bounded() {
    for crd in switchback::api::crds() {
        for version in crd.spec.versions {
            let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
            for part in ["spec", "status"] {
                let mut missing = vec![];
                look(&schema["properties"][part], part, &mut missing);
                assert!(missing.is_empty(), "{:?}: {missing:#?}", crd.metadata.name);
            }
        }
    }
}

fn look(schema: &Value, place: &str, missing: &mut Vec<String>) {
    let bounded = match schema["type"].as_str() {
        Some("string") => ["maxLength", "enum", "format"].iter().any(|bound| !schema[*bound].is_null()),
        Some("array") => !schema["maxItems"].is_null(),
        Some("object") if !schema["additionalProperties"].is_null() => !schema["maxProperties"].is_null(),
        _ => true,
    };
    if !bounded {
        missing.push(format!("{place} has no bound"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        look(property, &format!("{place}.{name}"), missing);
    }
    if schema["items"].is_object() {
        look(&schema["items"], &format!("{place}[]"), missing);
    }
    if schema["additionalProperties"].is_object() {
        look(&schema["additionalProperties"], &format!("{place}.*"), missing);
    }
}

/// Where a spec may name another namespace: a policy, which admins write, says where a version must have served before.
const OTHER_NAMESPACES: [&str; 1] = ["ReleasePolicy.spec.promotion.from[].namespace"];

/// Everything that is named lies beside the object: nobody reaches another namespace's Secrets through us.
#[test]
fn threat_t02_no_reference_names_another_namespace() {
    let mut found = vec![];
    for crd in switchback::api::crds() {
        for version in crd.spec.versions {
            let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
            namespaces(&schema["properties"]["spec"], &format!("{}.spec", crd.spec.names.kind), &mut found);
        }
    }
    assert_eq!(found, OTHER_NAMESPACES);
}

fn namespaces(schema: &Value, place: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        if name.to_lowercase().contains("namespace") {
            found.push(place.clone());
        }
        namespaces(property, &place, found);
    }
    namespaces_of_items(schema, place, found);
}

fn namespaces_of_items(schema: &Value, place: &str, found: &mut Vec<String>) {
    if schema["items"].is_object() {
        namespaces(&schema["items"], &format!("{place}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        namespaces(&schema["additionalProperties"], &format!("{place}.*"), found);
    }
}

/// Where backups may go is said by admins: nobody who asks for releases, or decides about them, makes a place of his own.
#[test]
fn threat_t14_who_asks_for_releases_or_decides_about_them_makes_no_storage() {
    let text = fs::read_to_string(folder().join("../install.yaml")).unwrap();
    let mut roles = BTreeMap::new();
    for document in text.split("\n---\n") {
        let object: Value = serde_yaml::from_str(document).unwrap();
        if object["kind"] == "ClusterRole" {
            roles.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), object);
        }
    }
    let all = |value: &Value| value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    let verbs_on = |role: &str, resource: &str| -> Vec<String> {
        let rules = roles[role]["rules"].as_array().unwrap().iter();
        let of = rules.filter(|rule| {
            let resources: Vec<String> = all(&rule["resources"]);
            resources.iter().any(|one| one == resource || one == "*")
        });
        of.flat_map(|rule| -> Vec<String> { all(&rule["verbs"]) }).collect()
    };
    let reads = ["get", "list", "watch"];
    for role in ["switchback-view", "switchback-edit", "switchback-approver"] {
        for admins in ["backupstorages", "databaseinstances", "releasepolicies"] {
            let verbs = verbs_on(role, admins);
            assert!(verbs.iter().all(|verb| reads.contains(&verb.as_str())), "{role} may {verbs:?} {admins}");
        }
    }
    // The one that may joins no role of Kubernetes' own.
    assert!(verbs_on("switchback-admin", "backupstorages").contains(&"create".to_owned()));
    let labels = roles["switchback-admin"]["metadata"]["labels"].as_object().unwrap();
    assert!(labels.keys().all(|label| !label.contains("aggregate-to")), "{labels:?}");
}

/// `kubectl explain` shows what a field is for and what is taken when it is absent, not what its enum is.
#[test]
fn a_field_that_may_be_absent_is_told_in_its_own_words() {
    let types = words_of_enums(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"));
    assert!(types.len() > 20, "{types:?}");
    for crd in switchback::api::crds() {
        for version in crd.spec.versions {
            let schema = serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap();
            of_optional_enums(&schema, "", &mut |path, said| {
                let name = crd.metadata.name.as_deref().unwrap_or_default();
                assert!(!said.is_empty(), "{name}{path} says nothing");
                assert!(!types.contains(said), "{name}{path} says what its type is: {said}");
            });
        }
    }
}

/// Shows each enum that may be absent, with its description.
fn of_optional_enums(schema: &Value, path: &str, show: &mut impl FnMut(&str, &str)) {
    if schema["enum"].is_array() && schema["nullable"] == true {
        show(path, schema["description"].as_str().unwrap_or_default());
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        of_optional_enums(inner, &format!("{path}.{name}"), show);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            of_optional_enums(&schema[inner], &format!("{path}[]"), show);
        }
    }
}

/// Returns the first paragraph that stands over each enum of the types.
fn words_of_enums(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(words_of_enums(&path));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub enum ")) {
            let attached =
                lines[..number].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with('#'));
            let words: Vec<&str> = attached.filter_map(|line| line.strip_prefix("/// ")).collect();
            all.insert(words.into_iter().rev().collect::<Vec<_>>().join(" "));
        }
    }
    all
}

//! The architecture, held against the code: which module may use what, and how large things get.
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};

/// Longest file, in lines, without its tests; the aim is 300.
const LONGEST_FILE: usize = 350;

/// Modules by path prefix or file name, and what their code must not name.
const FORBIDDEN: [(&str, &[&str]); 17] = [
    (
        "src/api/",
        &[
            "crate::kube_io",
            "crate::release",
            "crate::agent",
            "crate::clock",
            "kube::Client",
            "kube::Api",
            "tokio",
            "tracing",
        ],
    ),
    ("src/release/plan", PURE),
    ("src/release/status", PURE),
    ("src/release/words.rs", PURE),
    ("src/release/manifests.rs", PURE),
    ("src/agent_job/", PURE),
    ("src/database/plan.rs", PURE),
    ("src/database/identity.rs", PURE),
    ("src/database/manifests.rs", PURE),
    ("src/database/learn.rs", PURE),
    ("src/database/words.rs", PURE),
    ("src/storage/plan.rs", PURE),
    ("src/backup/plan.rs", PURE),
    ("src/backup/result.rs", PURE),
    ("src/backup/manifests.rs", PURE),
    ("src/kube_io/", &["crate::release", "crate::decision", "crate::agent", "crate::cli"]),
    ("src/agent/", &["kube::", "kube_io", "k8s_openapi", "crate::release"]),
];
const PURE: &[&str] = &[
    "kube::Client",
    "kube::Api",
    "kube::api",
    "kube_io",
    "tokio",
    "tracing",
    "crate::clock",
    "clock::now",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "rand::",
    "async ",
    ".await",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns every source file by its path in the repository, without comments and without its unit tests.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let name = path.strip_prefix(root).expect("inside the repository").display().to_string();
            (name, lines.join("\n"))
        })
        .collect()
}

#[test]
fn no_module_uses_what_it_must_not() {
    let mut wrong = Vec::new();
    for (name, code) in code() {
        for (place, words) in FORBIDDEN.iter().filter(|(place, _)| name.starts_with(place)) {
            for word in words.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{name} names {word}, which nothing under {place} may"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_clock_is_read_in_one_place() {
    let readers = ["Timestamp::now(", "SystemTime::now(", "Instant::now(", "Zoned::now("];
    let found: Vec<String> = code()
        .into_iter()
        .filter(|(name, code)| name != "src/clock.rs" && readers.iter().any(|reader| code.contains(reader)))
        .map(|(name, _)| name)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<String> = code()
        .into_iter()
        .filter(|(_, code)| code.lines().count() > LONGEST_FILE)
        .map(|(name, code)| format!("{name}: {} lines", code.lines().count()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_module_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let silent: Vec<_> = files
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).expect("a source file").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn every_reason_has_its_entry_in_the_docs() {
    use strum::IntoEnumIterator as _;
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md")).expect("docs");
    let entries: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let reasons: Vec<&str> = switchback::api::Reason::iter().map(switchback::api::Reason::as_str).collect();
    assert_eq!(entries, reasons);
}

#[test]
fn every_dependency_has_its_line_in_the_readme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let table: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(1)).collect();
    let listed: Vec<&str> = table.iter().flat_map(|cell| cell.split([',', ' ', '(', ')'])).collect();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let names =
        section.lines().take_while(|line| !line.starts_with("[profile")).filter_map(|line| line.split_once(" = "));
    let missing: Vec<&str> = names
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with(['#', '[']))
        .filter(|name| !listed.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

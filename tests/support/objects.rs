//! Objects that tests write: the shortest that are valid.

use serde_json::{Value, json};

/// Digest of no plan.
pub const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Returns a Release.
#[must_use]
pub fn release(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "version": "1.0.0",
            "workloads": [{
                "name": "web",
                "services": [{ "name": name, "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] } }],
                "template": { "spec": { "containers": [{ "name": "web", "image": "registry.example.com/shop:1.0.0" }] } },
            }],
        },
    })
}

/// Returns an approval of a plan of a Release.
#[must_use]
pub fn approval(release: &str, uid: &str, actor: &str) -> Value {
    decision(release, uid, actor, ("approve", json!({ "digest": DIGEST })))
}

/// Returns a Decision about a Release.
#[must_use]
pub fn decision(release: &str, uid: &str, actor: &str, (kind, content): (&str, Value)) -> Value {
    json!({
        "metadata": { "generateName": format!("{release}-{kind}-") },
        "spec": { "target": { "kind": "Release", "name": release, "uid": uid }, kind: content, "actor": actor },
    })
}

//! Canonical JSON and the hashes over it. The form is ours: no newer crate, default or Kubernetes version
//! may change a hash, or an upgrade of the operator would start releases.

use std::{borrow::Cow, fmt, fmt::Write as _};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// How many hex digits of the full hash a revision shows; names and labels carry them.
const DIGITS: usize = 10;
/// Version of the canonical form; a change of the form gets a new one.
const FORM: &str = "v1-";

/// Name of one content of a Release: `v1-` and ten hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RevisionId(String);

impl RevisionId {
    /// Returns the revision of a content, which must already be reduced to what belongs to a revision.
    #[must_use]
    pub fn of(content: &Value) -> Self {
        let full = sha256_hex(canonical_json(content));
        Self(format!("{FORM}{}", full.get(..DIGITS).unwrap_or(&full)))
    }

    /// Returns the digits alone, as labels and object names carry them.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.strip_prefix(FORM).unwrap_or(&self.0)
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for RevisionId {
    fn schema_name() -> Cow<'static, str> {
        "RevisionId".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 32 })
    }
}

/// Returns the SHA-256 of a text or of bytes in hex.
#[must_use]
pub fn sha256_hex(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content.as_ref()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Returns JSON without white space and with the keys of every object sorted by their bytes.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            let inner: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical_json(value)))
                .collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => {
            let inner: Vec<String> = items.iter().map(canonical_json).collect();
            format!("[{}]", inner.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_and_the_order_of_lists_does() {
        let a = canonical_json(&json!({"b": [1, 2], "a": {"d": null, "c": "x\"y"}}));
        assert_eq!(a, r#"{"a":{"c":"x\"y","d":null},"b":[1,2]}"#);
        assert_ne!(a, canonical_json(&json!({"b": [2, 1], "a": {"d": null, "c": "x\"y"}})));
    }

    #[test]
    fn a_revision_is_named_by_the_start_of_its_hash() {
        // SHA-256 of `{}`.
        assert_eq!(RevisionId::of(&json!({})).to_string(), "v1-44136fa355");
        assert_eq!(RevisionId::of(&json!({})).digits(), "44136fa355");
    }
}

//! The smallest merge patch (RFC 7396) from one document to another; pure.

use serde_json::{Map, Value};

/// Returns the merge patch that turns `before` into `after`; `None` when they are equal.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return (before != after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            None if value.is_null() => {}
            None => {
                patch.insert(key.clone(), value.clone());
            }
            Some(former) => {
                if let Some(change) = diff(former, value) {
                    patch.insert(key.clone(), change);
                }
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_changed_and_nothing_else() {
        let before = json!({ "a": 1, "b": { "c": [1], "d": null }, "e": "x", "g": { "h": 1 } });
        let after = json!({ "a": 1, "b": { "c": [1, 2], "d": null }, "f": true, "g": null });
        assert_eq!(diff(&before, &after), Some(json!({ "b": { "c": [1, 2] }, "e": null, "f": true, "g": null })));
        assert_eq!(diff(&after, &after), None);
    }

    #[test]
    fn null_and_absent_are_the_same() {
        assert_eq!(diff(&json!({}), &json!({ "a": null })), None);
    }
}

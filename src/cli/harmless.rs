//! Text of others on a person's terminal. Who may write a Release may not be who approves it: control characters could
//! hide or repaint lines of the plan, and characters that turn the direction of writing let one name look like another.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Returns an object of the cluster with every text made harmless; its shape is as it was.
#[must_use]
pub fn object<K: Serialize + DeserializeOwned>(object: K) -> K {
    let cleaned = serde_json::to_value(&object).and_then(|mut value| {
        clean(&mut value);
        serde_json::from_value(value)
    });
    // Only text of others has such characters, never what is parsed.
    cleaned.unwrap_or(object)
}

/// Returns a text with what a terminal would act upon, and what nobody would see, written out: `\u{1b}`. Line breaks
/// and tabs stay.
#[must_use]
pub fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for char in text.chars() {
        if is_harmful(char) { clean.extend(char.escape_unicode()) } else { clean.push(char) }
    }
    clean
}

/// Makes every text in a value harmless, names of fields too.
pub fn clean(value: &mut Value) {
    match value {
        Value::String(string) if string.contains(is_harmful) => *string = text(string),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains(is_harmful)) {
                *fields = std::mem::take(fields).into_iter().map(|(name, value)| (text(&name), value)).collect();
            }
            fields.values_mut().for_each(clean);
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Control characters, marks that turn the direction of writing, and characters without width.
fn is_harmful(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn input_04_nothing_of_others_moves_the_cursor_or_turns_the_writing() {
        let cases = [
            ("plain text, ümläuts, 日本, a\ttab\nand a line", None),
            ("\u{1b}[8mhidden\u{1b}[0m", Some(r"\u{1b}[8mhidden\u{1b}[0m")),
            ("one\rtwo\u{7}\u{9b}2K", Some(r"one\u{d}two\u{7}\u{9b}2K")),
            ("shop\u{202e}live", Some(r"shop\u{202e}live")),
            ("sho\u{200b}p", Some(r"sho\u{200b}p")),
        ];
        for (given, becomes) in cases {
            assert_eq!(text(given), becomes.unwrap_or(given));
        }
    }

    #[test]
    fn an_object_keeps_its_shape() {
        let given = json!({ "a": ["\u{1b}c", 1, null], "b\u{202e}": { "c": "x" } });
        assert_eq!(object(given), json!({ "a": ["\\u{1b}c", 1, null], "b\\u{202e}": { "c": "x" } }));
    }
}

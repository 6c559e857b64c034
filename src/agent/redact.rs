//! Takes secrets out of text that leaves the agent: messages, and what tools and migrations print.
//!
//! In: folders of Secrets, then text. Out: the text with every secret value replaced. Values that results name openly
//! (host, port, database, user) are no secrets.

use std::path::Path;

use crate::protocol::Refusal;

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// Keys whose values results name openly.
const OPEN: [&str; 6] = ["host", "port", "dbname", "username", "sslmode", "ca.crt"];
/// Shorter values are replaced only where they stand as a word: a password `a` must not eat all text.
const SHORT: usize = 4;

/// Knows what must not leave.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first: a secret may contain another.
    values: Vec<String>,
}

impl Redactor {
    /// Reads every secret value in these folders; a folder that cannot be read has none.
    #[must_use]
    pub fn of_folders(folders: &[&Path]) -> Self {
        let mut redactor = Self::default();
        for folder in folders {
            let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
            let names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
            for name in names.iter().filter(|name| !name.starts_with('.') && !OPEN.contains(&name.as_str())) {
                if let Ok(Some(value)) = super::secret::optional(folder, name) {
                    redactor.add(&value);
                }
            }
        }
        redactor
    }

    /// Adds one value, in each form in which programs print it; of several lines each.
    pub fn add(&mut self, value: &str) {
        for line in value.lines().filter(|line| !line.trim().is_empty()) {
            let json = serde_json::Value::from(line).to_string();
            let forms = [
                line.to_owned(),
                percent_encoded(line),
                line.replace('\'', "''"),
                line.replace('\\', "\\\\").replace('\'', "\\'"),
                json.trim_matches('"').to_owned(),
            ];
            self.values.extend(forms);
        }
        self.values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.values.dedup();
    }

    /// Adds the password of a database's address, as it is written there and as it is meant.
    pub fn add_address(&mut self, address: &str) {
        if let Ok(config) = address.parse::<tokio_postgres::Config>()
            && let Some(password) = config.get_password()
        {
            self.add(&String::from_utf8_lossy(password));
        }
        let user = address.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
        if let Some((_, written)) = user.and_then(|user| user.split_once(':')) {
            self.add(written);
        }
    }

    /// Returns the length of the longest secret in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.values.first().map_or(0, String::len)
    }

    /// Returns the text without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for value in self.values.iter().filter(|value| text.contains(value.as_str())) {
            clean =
                if value.chars().count() < SHORT { replace_word(&clean, value) } else { clean.replace(value, HIDDEN) };
        }
        clean
    }

    /// Returns the refusal with its message without secrets.
    #[must_use]
    pub fn refusal(&self, refusal: Refusal) -> Refusal {
        Refusal { reason: refusal.reason, message: self.text(&refusal.message) }
    }
}

/// Replaces a value where neither a letter nor a digit stands beside it.
fn replace_word(text: &str, value: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(value) {
        let beside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let word = !beside(before.chars().next_back().or(clean.chars().next_back())) && !beside(after.chars().next());
        clean.push_str(before);
        clean.push_str(if word { HIDDEN } else { value });
        rest = after;
    }
    clean.push_str(rest);
    clean
}

/// Returns the text as it stands in a URL.
pub(super) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_leaves_in_no_form() {
        let mut redactor = Redactor::default();
        redactor.add("p@ss'w\"ord\nsecond line");
        for text in ["p@ss'w\"ord", "p%40ss%27w%22ord", "p@ss''w\"ord", "p@ss'w\\\"ord", "the second line."] {
            let clean = redactor.text(&format!("before {text} after"));
            assert!(clean.contains("before ") && clean.contains(HIDDEN) && !clean.contains("ss"), "{clean}");
        }
    }

    #[test]
    fn a_password_within_an_address_leaves_neither_as_written_nor_as_meant() {
        for address in ["postgres://shop:s3cr%65t%2fx@db/shop?sslmode=require", "host=db user=shop password=s3cret/x"] {
            let mut redactor = Redactor::default();
            redactor.add_address(address);
            let clean = redactor.text(&format!("{address}; s3cret/x"));
            assert!(clean.contains("db") && !clean.contains("s3cr"), "{clean}");
        }
        let mut redactor = Redactor::default();
        redactor.add_address("postgres://shop@db/shop");
        assert_eq!(redactor.text("postgres://shop@db/shop"), "postgres://shop@db/shop");
    }

    #[test]
    fn a_short_secret_is_hidden_as_a_word_and_eats_no_other() {
        let mut redactor = Redactor::default();
        redactor.add("ab");
        assert_eq!(redactor.text("ab about, cab ab=ab 1ab (ab)"), "*** about, cab ***=*** 1ab (***)");
    }
}

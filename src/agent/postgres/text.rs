//! Names and values in statements of ours: none of them can break out.

/// Settings that are lists of names: as one text they would be one name.
const LISTS: [&str; 6] = [
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "shared_preload_libraries",
    "local_preload_libraries",
    "unix_socket_directories",
];

/// Returns a name that cannot break out.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\0', ""))
}

/// Returns a text that cannot break out.
#[must_use]
pub fn literal(text: &str) -> String {
    let plain = text.replace('\'', "''").replace('\0', "");
    if plain.contains('\\') { format!("E'{}'", plain.replace('\\', "\\\\")) } else { format!("'{plain}'") }
}

/// Returns `SET name TO value` for a setting as `pg_db_role_setting` holds it, `name=value`.
#[must_use]
pub fn set(setting: &str) -> Option<String> {
    let (name, value) = setting.split_once('=')?;
    let value = if LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        let names: Vec<String> = list(value)?.iter().map(|name| literal(name)).collect();
        names.join(", ")
    } else {
        literal(value)
    };
    Some(format!("SET {} TO {value}", quoted(name)))
}

/// Reads a list of names, each of which may be quoted. What was stored is not to be trusted to be one: whoever may set
/// a setting may have written anything.
fn list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim();
    let mut names = Vec::new();
    if rest.is_empty() {
        return Some(vec![String::new()]);
    }
    loop {
        let name;
        (name, rest) = if let Some(inside) = rest.strip_prefix('"') { until_quote(inside)? } else { until_comma(rest) };
        names.push(name);
        rest = match rest.trim_start() {
            "" => return Some(names),
            more => more.strip_prefix(',')?.trim_start(),
        };
    }
}

fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

fn until_comma(text: &str) -> (String, &str) {
    let end = text.find(',').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (name.trim_end().to_owned(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_cannot_break_out() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn threat_t23_a_setting_is_set_as_it_was_and_nothing_else() {
        let table = [
            ("statement_timeout=5s", "SET \"statement_timeout\" TO '5s'"),
            ("app.note=it's; DROP", "SET \"app.note\" TO 'it''s; DROP'"),
            ("search_path=\"$user\", public", "SET \"search_path\" TO '$user', 'public'"),
            ("search_path=a;DROP/**/DATABASE/**/shop", "SET \"search_path\" TO 'a;DROP/**/DATABASE/**/shop'"),
            ("Search_Path=\"a, \"\"b\", c", "SET \"Search_Path\" TO 'a, \"b', 'c'"),
            ("search_path=", "SET \"search_path\" TO ''"),
        ];
        for (setting, expected) in table {
            assert_eq!(set(setting).as_deref(), Some(expected), "{setting}");
        }
        for broken in ["no value", "search_path=\"open", "search_path=\"a\"b"] {
            assert_eq!(set(broken), None, "{broken}");
        }
    }
}

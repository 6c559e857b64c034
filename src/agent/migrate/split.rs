//! Takes a file of SQL apart into statements, as psql does, each with the line it begins on.
//!
//! Statements run one by one, so that the one that failed can be named. Quotes, dollar quotes, comments, parentheses
//! and the bodies of `BEGIN ATOMIC` functions are respected; nothing else is understood.

/// One statement, without the comments before it and the semicolon after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text.
    pub text: &'a str,
    /// Line of the file on which it begins, from 1.
    pub line: usize,
}

impl Statement<'_> {
    /// Returns its first line, not too long.
    #[must_use]
    pub fn first_line(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        let short: String = line.chars().take(120).collect();
        if short.len() < line.len() { format!("{short}…") } else { short }
    }

    /// Returns its words in lower case, those in quotes and comments too.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let words = self.text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    }

    /// Returns the line of the file on which a character of the statement stands; characters count from 1.
    #[must_use]
    pub fn line_at(&self, character: u32) -> usize {
        let before = usize::try_from(character).unwrap_or(1).saturating_sub(1);
        self.line + self.text.chars().take(before).filter(|c| *c == '\n').count()
    }
}

/// Returns the statements of a file.
#[must_use]
pub fn split(text: &str) -> Vec<Statement<'_>> {
    let mut scanner = Scanner { text, at: 0, start: None, words: Vec::new(), parentheses: 0, bodies: 0 };
    let mut statements = Vec::new();
    while let Some(next) = scanner.rest().chars().next() {
        if next == ';' && scanner.parentheses == 0 && scanner.bodies == 0 {
            statements.extend(scanner.finish());
            scanner.at += 1;
            continue;
        }
        scanner.token(next);
    }
    statements.extend(scanner.finish());
    statements
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Where the statement's first token stands.
    start: Option<usize>,
    /// The statement's first words: whether it makes a function.
    words: Vec<String>,
    parentheses: usize,
    /// Open `BEGIN` and `CASE` of a function's body.
    bodies: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn finish(&mut self) -> Option<Statement<'a>> {
        (self.parentheses, self.bodies) = (0, 0);
        self.words.clear();
        let start = self.start.take()?;
        let text = self.text.get(start..self.at)?.trim_end();
        let line = 1 + self.text.get(..start)?.matches('\n').count();
        Some(Statement { text, line })
    }

    /// Passes one token.
    fn token(&mut self, next: char) {
        let rest = self.rest();
        if next.is_whitespace() {
            self.at += next.len_utf8();
            return;
        }
        if rest.starts_with("--") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return;
        }
        if rest.starts_with("/*") {
            self.at += comment(rest);
            return;
        }
        self.start.get_or_insert(self.at);
        match next {
            '\'' => self.at += quoted(rest, '\'', false),
            '"' => self.at += quoted(rest, '"', false),
            '$' => self.at += dollar_quoted(rest).unwrap_or(1),
            '(' => (self.parentheses, self.at) = (self.parentheses + 1, self.at + 1),
            ')' => (self.parentheses, self.at) = (self.parentheses.saturating_sub(1), self.at + 1),
            c if is_word(c) => self.word(rest),
            c => self.at += c.len_utf8(),
        }
    }

    fn word(&mut self, rest: &str) {
        let length = rest.find(|c: char| !is_word(c) && c != '$').unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        self.at += length;
        if after.starts_with('\'') && word.eq_ignore_ascii_case("e") {
            self.at += quoted(after, '\'', true);
            return;
        }
        let word = word.to_lowercase();
        if self.parentheses == 0 && self.makes_function() {
            match word.as_str() {
                "begin" => self.bodies += 1,
                "case" if self.bodies > 0 => self.bodies += 1,
                "end" => self.bodies = self.bodies.saturating_sub(1),
                _ => {}
            }
        }
        if self.words.len() < 4 {
            self.words.push(word);
        }
    }

    fn makes_function(&self) -> bool {
        let mut words = self.words.iter().map(String::as_str).filter(|word| !["or", "replace"].contains(word));
        words.next() == Some("create") && words.next().is_some_and(|word| ["function", "procedure"].contains(&word))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of a quoted text that stands at the beginning; two quotes are one inside it.
fn quoted(rest: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if backslashes && c == '\\' {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

/// Returns the length of a dollar-quoted text that stands at the beginning, if one does.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag = rest.get(1..)?.find('$')? + 2;
    let (open, after) = rest.split_at_checked(tag)?;
    let name = open.trim_matches('$');
    if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(after.find(open).map_or(rest.len(), |end| tag + end + tag))
}

/// Returns the length of a comment that stands at the beginning; comments nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth.saturating_sub(1), at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_psql_ends_them() {
        let cases: [(&str, &[&str]); 12] = [
            ("", &[]),
            (" ;; -- only this\n", &[]),
            ("SELECT 1; SELECT 2", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';' , 'it''s;'; X", &["SELECT ';' , 'it''s;'", "X"]),
            (r"SELECT E'a\';b'; SELECT 'a\'; X", &[r"SELECT E'a\';b'", r"SELECT 'a\'", "X"]),
            ("SELECT \"a;b\"\"c;\"; X", &["SELECT \"a;b\"\"c;\"", "X"]),
            ("DO $x$ BEGIN; $y$; END $x$; X", &["DO $x$ BEGIN; $y$; END $x$", "X"]),
            ("SELECT $1; SELECT a$b$c; X", &["SELECT $1", "SELECT a$b$c", "X"]),
            ("/* a; /* b; */ c; */ X /* ; */; Y", &["X /* ; */", "Y"]),
            ("CREATE RULE r AS ON INSERT TO t DO (A; B); X", &["CREATE RULE r AS ON INSERT TO t DO (A; B)", "X"]),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2; END; X",
                &[
                    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN b END; SELECT 2; END",
                    "X",
                ],
            ),
            ("SELECT 'never closed; X", &["SELECT 'never closed; X"]),
        ];
        for (text, expected) in cases {
            let found: Vec<&str> = split(text).iter().map(|statement| statement.text).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_statement_knows_its_line() {
        let text = "-- first\nSELECT 1;\n\n/* two\nlines */ SELECT\n  2\n;";
        let lines: Vec<usize> = split(text).iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [2, 5]);
        assert_eq!(split(text)[1].line_at(10), 6);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[ '\"$;()/*\\-\\\\aeé\n]{0,60}") {
            for statement in split(&text) {
                proptest::prop_assert!(text.contains(statement.text));
            }
        }
    }
}

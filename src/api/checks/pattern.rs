//! Regular expressions in checks. They run in linear time, whatever is searched; how large one may get is bounded.

use regex::{Regex, RegexBuilder};

/// Largest compiled expression, in bytes: `(a{1000}){1000}` is short to write.
const LARGEST_BYTES: usize = 1 << 20;

/// What is wrong with a regular expression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// It does not follow the grammar.
    #[error("at character {at}: {what}")]
    Grammar {
        /// The first character that is wrong, counted from 1.
        at: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It is too large once compiled.
    #[error("it is larger than 1 MiB once compiled")]
    TooLarge,
}

/// Compiles a regular expression.
///
/// # Errors
/// [`PatternError`], with the position of what is wrong.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let grammar = |at: usize, what: &dyn ToString| PatternError::Grammar { at, what: what.to_string() };
    match regex_syntax::parse(pattern) {
        Err(regex_syntax::Error::Parse(error)) => Err(grammar(error.span().start.column, error.kind())),
        Err(regex_syntax::Error::Translate(error)) => Err(grammar(error.span().start.column, error.kind())),
        Err(error) => Err(grammar(1, &error)),
        // What follows the grammar can only be too large.
        Ok(_) => RegexBuilder::new(pattern).size_limit(LARGEST_BYTES).build().map_err(|_| PatternError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_52_what_is_no_expression_is_refused_with_the_position_of_the_error() {
        for (pattern, at) in [("max-age=(", 9), ("[a-", 1), ("a{2,1}", 2), ("ok\\", 3), ("a(?=b)", 2)] {
            let found = compile(pattern).unwrap_err();
            assert!(matches!(found, PatternError::Grammar { at: found, .. } if found == at), "{pattern}: {found}");
            assert!(found.to_string().starts_with(&format!("at character {at}: ")), "{found}");
        }
        assert_eq!(compile("((a{1000}){1000}){1000}").unwrap_err(), PatternError::TooLarge);
    }

    #[test]
    fn input_52_an_expression_that_is_a_catastrophe_elsewhere_ends_at_once() {
        // Engines that go back and try again take years for this.
        assert!(!compile("^(a+)+$").unwrap().is_match(&format!("{}!", "a".repeat(100_000))));
    }
}

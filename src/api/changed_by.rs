//! Who changed the spec of a Release, as the API server stamps it (`charts/switchback/policies/authors.yaml`).

/// The stamp: who made their last change of the spec at which generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedBy {
    /// The generation from which on every change is named.
    since: i64,
    /// Who, the latest first.
    changes: Vec<(i64, String)>,
}

impl ChangedBy {
    /// Reads the annotation; `None` for one that is no stamp.
    #[must_use]
    pub fn parse(annotation: &str) -> Option<Self> {
        let (since, changes) = annotation.split_once('\n')?;
        let change = |line: &str| {
            let (generation, user) = line.split_once(' ')?;
            Some((generation.parse().ok()?, user.to_owned()))
        };
        Some(Self { since: since.parse().ok()?, changes: changes.split('\n').map(change).collect::<Option<_>>()? })
    }

    /// Returns who changed the spec after one generation and up to another, the latest first; `None` when the stamp
    /// does not name every change of them.
    #[must_use]
    pub fn between(&self, after: i64, until: i64) -> Option<Vec<&str>> {
        if after == until {
            return Some(vec![]);
        }
        let whole = after < until
            && self.since <= after.saturating_add(1)
            && self.changes.first().is_some_and(|(at, _)| *at == until);
        let later = || self.changes.iter().filter(|(at, _)| *at > after);
        whole.then(|| later().map(|(_, user)| user.as_str()).collect())
    }
}

/// Returns a user's name as a stamp has it: a line is one change.
#[must_use]
pub fn stamped(user: &str) -> String {
    user.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_names_everybody_since_a_generation_or_says_that_it_cannot() {
        let stamp = ChangedBy::parse("3\n7 anna\n6 oidc:ben b\n4 carl").unwrap();
        let table = [
            ((2, 7), Some(vec!["anna", "oidc:ben b", "carl"])),
            ((4, 7), Some(vec!["anna", "oidc:ben b"])),
            ((6, 7), Some(vec!["anna"])),
            ((7, 7), Some(vec![])),
            // What serves is from before the object was made anew.
            ((9, 7), None),
            // Generation 2 was changed by nobody knows whom, and so was 8.
            ((1, 7), None),
            ((4, 8), None),
        ];
        for ((after, until), who) in table {
            assert_eq!(stamp.between(after, until), who, "{after}..{until}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in ["", "1", "1\n", "1\nanna", "x\n1 anna", "1\n1 anna\n", "5:anna"] {
            assert_eq!(ChangedBy::parse(text), None, "{text:?}");
        }
    }
}

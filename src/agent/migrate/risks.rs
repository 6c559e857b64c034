//! What whoever approves a migration should know of its SQL: who waits while it runs, what the version that serves may
//! miss afterwards, which rows go.
//!
//! In: the files that are due. Out: findings, the first ones in words. squawk knows most of it; what it leaves to people's
//! judgement, and ends in an incident, is added here. Nothing of it refuses anything: people decide.

use squawk_linter::{Linter, Rule, Version};
use squawk_syntax::{
    Parse, SourceFile,
    ast::{AstNode as _, Delete, Truncate, Update},
};

use super::files::File;
use crate::api::LintFinding;

/// How many findings are told.
const TOLD: usize = 12;
/// How long the text of one may be, in characters.
const LENGTH: usize = 240;

/// Rules of squawk about locks, rewrites and what an earlier version relies on. Not those about style, nor those about
/// time-outs and transactions, which the runner sees to.
const RULES: [Rule; 31] = [
    Rule::AddingFieldWithDefault,
    Rule::AddingForeignKeyConstraint,
    Rule::AddingNotNullableField,
    Rule::AddingRequiredField,
    Rule::AddingSerialPrimaryKeyField,
    Rule::BanAlterDomainWithAddConstraint,
    Rule::BanDisableTrigger,
    Rule::BanDropColumn,
    Rule::BanDropConstraint,
    Rule::BanDropDatabase,
    Rule::BanDropDefault,
    Rule::BanDropFunction,
    Rule::BanDropNotNull,
    Rule::BanDropSchema,
    Rule::BanDropSequence,
    Rule::BanDropTable,
    Rule::BanDropTrigger,
    Rule::BanDropType,
    Rule::BanDropView,
    Rule::BanRevoke,
    Rule::BanSetSchema,
    Rule::ChangingColumnType,
    Rule::ConstraintMissingNotValid,
    Rule::DisallowedUniqueConstraint,
    Rule::RenamingColumn,
    Rule::RenamingObject,
    Rule::RenamingTable,
    Rule::RequireConcurrentIndexCreation,
    Rule::RequireConcurrentIndexDeletion,
    Rule::RequireConcurrentPartitionDetach,
    Rule::RequireConcurrentReindex,
];

/// Returns the first findings, in the order of files and lines, and how many there are.
pub fn find(files: &[File], server_version: &str) -> (Vec<LintFinding>, u32) {
    // A parser of others meets what anybody wrote: what ends it must not end the look at the database.
    let looked = |file: &File| std::panic::catch_unwind(|| of_file(file, server_version));
    let unread = |file: &File| vec![finding(file, 0, "unreadable", "It cannot be linted: read it with special care.")];
    let all: Vec<LintFinding> = files.iter().flat_map(|file| looked(file).unwrap_or_else(|_| unread(file))).collect();
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    (all.into_iter().take(TOLD).collect(), count)
}

fn of_file(file: &File, server_version: &str) -> Vec<LintFinding> {
    let parse = SourceFile::parse(&file.text);
    let mut linter = Linter::from(RULES);
    linter.settings.assume_in_transaction = !file.is_outside_transaction();
    // "15.8 (Debian 15.8-0)": the version is the first word.
    if let Some(Ok(version)) = server_version.split_whitespace().next().map(str::parse::<Version>) {
        linter.settings.pg_version = version;
    }
    let found = linter.lint(&parse, &file.text).into_iter();
    let theirs = found.map(|found| (usize::from(found.text_range.start()), found.code.to_string(), found.message));
    let mut all: Vec<(usize, String, String)> = theirs.chain(ours(&parse)).collect();
    all.sort();
    all.into_iter().map(|(at, rule, message)| finding(file, at, &rule, &message)).collect()
}

/// Finds what changes or removes every row of a table.
fn ours(parse: &Parse<SourceFile>) -> Vec<(usize, String, String)> {
    let tree = parse.tree();
    let found = |at: &squawk_syntax::SyntaxNode, rule: &str, message: &str| {
        let first = at.children_with_tokens().find(|part| !part.kind().is_trivia());
        let start = first.map_or_else(|| at.text_range().start(), |part| part.text_range().start());
        (usize::from(start), rule.to_owned(), message.to_owned())
    };
    let each = |node: squawk_syntax::SyntaxNode| {
        if let Some(delete) = Delete::cast(node.clone()).filter(|delete| delete.where_clause_or_current_of().is_none())
        {
            return Some(found(delete.syntax(), "unbounded-delete", "Deletes every row: it has no WHERE."));
        }
        if let Some(update) = Update::cast(node.clone()).filter(|update| update.where_clause_or_current_of().is_none())
        {
            let message = "Rewrites every row, and keeps others from them until it ends: it has no WHERE.";
            return Some(found(update.syntax(), "unbounded-update", message));
        }
        let truncate = Truncate::cast(node)?;
        let message = "Removes every row, under a lock that keeps others from reading too.";
        Some(found(truncate.syntax(), "truncate", message))
    };
    tree.syntax().descendants().filter_map(each).collect()
}

fn finding(file: &File, at: usize, rule: &str, message: &str) -> LintFinding {
    let before = file.text.get(..at).unwrap_or_default();
    LintFinding {
        file: file.name.clone(),
        line: u32::try_from(1 + before.matches('\n').count()).unwrap_or(u32::MAX),
        rule: rule.to_owned(),
        message: message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LENGTH).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(u32, String)> {
        let file = File { name: "1.sql".into(), text: text.into(), sha256: String::new() };
        find(&[file], "15.8 (Debian 15.8-0+deb12u1)").0.into_iter().map(|found| (found.line, found.rule)).collect()
    }

    #[test]
    fn what_locks_rewrites_or_breaks_the_earlier_version_is_found_with_its_line() {
        let table = [
            ("CREATE INDEX by_day ON orders (day);", "require-concurrent-index-creation"),
            ("DROP INDEX by_day;", "require-concurrent-index-deletion"),
            ("ALTER TABLE orders DROP COLUMN day;", "ban-drop-column"),
            ("DROP TABLE orders;", "ban-drop-table"),
            ("ALTER TABLE orders RENAME COLUMN day TO date;", "renaming-column"),
            ("ALTER TABLE orders RENAME TO purchases;", "renaming-table"),
            ("ALTER TABLE orders ALTER COLUMN day TYPE timestamptz;", "changing-column-type"),
            ("ALTER TABLE orders ADD COLUMN day date NOT NULL;", "adding-required-field"),
            ("ALTER TABLE orders ALTER COLUMN day SET NOT NULL;", "adding-not-nullable-field"),
            ("ALTER TABLE orders ADD CONSTRAINT paid CHECK (sum > 0);", "constraint-missing-not-valid"),
            ("ALTER TABLE orders ADD COLUMN at timestamptz DEFAULT clock_timestamp();", "adding-field-with-default"),
            ("DELETE FROM orders;", "unbounded-delete"),
            ("UPDATE orders SET day = now();", "unbounded-update"),
            ("TRUNCATE orders;", "truncate"),
            ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone;", "unbounded-delete"),
        ];
        for (statement, rule) in table {
            let all = found(&format!("-- A comment.\nSELECT 1;\n\n{statement}\n"));
            assert!(all.iter().any(|(_, found)| found == rule), "{statement}: {all:?}");
            assert!(all.iter().all(|(line, _)| *line == 4), "{statement}: {all:?}");
        }
    }

    #[test]
    fn what_harms_nobody_is_not_found() {
        for statement in [
            "ALTER TABLE orders ADD COLUMN slot text;",
            "ALTER TABLE orders ADD COLUMN slot text DEFAULT 'none';",
            "CREATE TABLE slots (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL);",
            "-- switchback: no-transaction\nCREATE INDEX CONCURRENTLY by_day ON orders (day);",
            "DELETE FROM orders WHERE day < '2020-01-01';",
            "UPDATE orders SET slot = 'none' WHERE slot IS NULL;",
            "INSERT INTO slots (at) VALUES (now());",
            "-- squawk-ignore ban-drop-table\nDROP TABLE orders;",
        ] {
            assert_eq!(found(statement), [], "{statement}");
        }
    }

    #[test]
    fn what_is_no_sql_is_not_judged_and_the_list_has_an_end() {
        assert_eq!(found("this is \u{1f600} no ('SQL $$ at \" all"), []);
        let file = |name: &str| File { name: name.into(), text: "DROP TABLE a;\n".repeat(9), sha256: String::new() };
        let (told, count) = find(&[file("1.sql"), file("2.sql")], "18.1");
        assert_eq!((told.len(), count), (TOLD, 18));
        assert_eq!((told[11].file.as_str(), told[11].line), ("2.sql", 3));
    }
}

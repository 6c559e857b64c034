//! Checks that ask the database.

use serde_json::{Value, json};
use switchback::protocol::{
    CheckParameters, CheckResult, CheckVerdict, DatabaseFacts, DatabaseTarget, Finding, Identity, Probe, ProbeKind,
};

use crate::bench::{Bench, Ran};

/// Asks, all of it side by side in one Job: what tells nothing is asked again for some seconds.
fn ask_all(bench: &Bench, database: &DatabaseTarget, checks: &[Value]) -> (Vec<CheckVerdict>, Ran<CheckResult>) {
    let probe = |(number, check): (usize, &Value)| {
        let (check, database) = (serde_json::from_value(check.clone()).unwrap(), Some(database.clone()));
        Probe { name: format!("rows-{number}"), must_tell: false, what: ProbeKind::Sql { check, database } }
    };
    let checks: Vec<Probe> = checks.iter().enumerate().map(probe).collect();
    let names: Vec<String> = checks.iter().map(|probe| probe.name.clone()).collect();
    let ran: Ran<CheckResult> = bench.run("check", &CheckParameters { checks, until: None });
    let verdict = |name: &String| ran.result.checks.iter().find(|check| check.name == *name).unwrap().clone();
    let verdicts: Vec<CheckVerdict> = names.iter().map(verdict).collect();
    let all_well = verdicts.iter().all(|verdict| verdict.passed == Finding::Yes);
    assert_eq!(ran.code, Some(i32::from(!all_well)), "{ran:?}");
    (verdicts, ran)
}

fn ask(bench: &Bench, database: DatabaseTarget, check: Value) -> (CheckVerdict, Ran<CheckResult>) {
    let (verdicts, ran) = ask_all(bench, &database, &[check]);
    (verdicts[0].clone(), ran)
}

/// A database with a table of three rows, one of which is a secret.
fn shop(name: &str) -> (Bench, DatabaseFacts) {
    let (bench, facts) = Bench::marked(name);
    bench.login.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE SEQUENCE numbers; \
         INSERT INTO orders VALUES (1, 'x'), (2, 'hunter22'), (3, 'x')",
    );
    (bench, facts)
}

#[test]
fn one_number_within_bounds_is_success_whatever_its_type() {
    let (bench, facts) = shop("check_number");
    let table = [
        (json!({ "query": "SELECT count(*) FROM orders", "min": "3", "max": "3" }), Finding::Yes),
        (json!({ "query": "SELECT count(*) FROM orders;\n", "max": "2" }), Finding::No),
        (json!({ "query": "SELECT 0.05::numeric -- a comment", "max": "0.05" }), Finding::Yes),
        (json!({ "query": "SELECT 2.5::float8 AS value ORDER BY 1", "min": "2.6" }), Finding::No),
        (json!({ "query": "WITH w AS (SELECT id FROM orders) SELECT max(id) FROM w", "min": "3" }), Finding::Yes),
        (json!({ "query": "VALUES (7)", "min": "7" }), Finding::Yes),
    ];
    let checks = table.each_ref().map(|(check, _)| check.clone());
    let (verdicts, _) = ask_all(&bench, &bench.target(Some(&facts)), &checks);
    for ((check, passed), verdict) in table.iter().zip(verdicts) {
        assert_eq!((verdict.passed, verdict.requests), (*passed, 1), "{check}: {verdict:?}");
    }
}

#[test]
fn whatever_is_not_one_number_tells_nothing_and_its_value_stays_where_it_is() {
    let (bench, facts) = shop("check_silent");
    let table = [
        ("SELECT NULL::int", "is NULL"),
        ("SELECT id FROM orders", "more than one row"),
        ("SELECT id FROM orders WHERE false", "no row"),
        ("SELECT 1, 2", "2 columns"),
        ("SELECT note FROM orders WHERE id = 2", "is no number"),
        ("SELECT note::int FROM orders WHERE id = 2", "22P02"),
        ("SELECT 'NaN'::float8", "no number"),
        ("SELECT nothing", "does not exist"),
        ("SELEC 1", "syntax error"),
        ("", "columns"),
    ];
    let checks = table.map(|(query, _)| json!({ "query": query, "max": "9" }));
    let (verdicts, ran) = ask_all(&bench, &bench.target(Some(&facts)), &checks);
    for ((query, words), verdict) in table.iter().zip(verdicts) {
        assert_eq!(verdict.passed, Finding::CannotTell, "{query}: {verdict:?}");
        assert!(verdict.detail.contains(words), "{query}: {verdict:?}");
    }
    assert!(!ran.output.contains("hunter22"), "{}", ran.output);
}

#[test]
fn a_check_writes_nothing() {
    let (bench, facts) = shop("check_writes");
    let queries = [
        "DELETE FROM orders RETURNING 1",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone",
        "SELECT 1; DELETE FROM orders",
        "SELECT 1) AS checked(value); DELETE FROM orders; --",
        "SELECT nextval('numbers')",
        "SELECT set_config('transaction_read_only', 'off', false)::bool::int",
        "COMMIT",
        "CREATE TABLE more (id int)",
    ];
    let checks = queries.map(|query| json!({ "query": query, "max": "9" }));
    let (verdicts, _) = ask_all(&bench, &bench.target(Some(&facts)), &checks);
    for (query, verdict) in queries.iter().zip(verdicts) {
        assert_eq!(verdict.passed, Finding::CannotTell, "{query}: {verdict:?}");
    }
    let left = bench.login.sql("SELECT (SELECT count(*) FROM orders), is_called, to_regclass('more') FROM numbers");
    assert_eq!(left, "3|f|");
}

#[test]
fn a_query_that_takes_too_long_is_ended() {
    let (bench, facts) = shop("check_slow");
    let slow = json!({ "query": "SELECT 1 FROM pg_sleep(60)", "max": "9", "timeout": "300ms" });
    let (verdict, _) = ask(&bench, bench.target(Some(&facts)), slow);
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("57014"), "{verdict:?}");
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(60)%' \
                  AND pid <> pg_backend_pid()";
    assert_eq!(bench.login.sql(others), "0");
}

#[test]
fn a_database_that_is_not_who_it_was_is_not_asked() {
    let (bench, facts) = shop("check_other");
    let check = json!({ "query": "SELECT 1", "max": "1" });
    let other = Identity { oid: 1, ..facts.identity.clone() };
    let target = DatabaseTarget { expect: Some(other), ..bench.target(Some(&facts)) };
    let (verdict, _) = ask(&bench, target, check.clone());
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("oid was 1"), "{verdict:?}");
    let target = DatabaseTarget { endpoint: Some("elsewhere:5432".into()), ..bench.target(Some(&facts)) };
    let (verdict, _) = ask(&bench, target, check.clone());
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("elsewhere:5432"), "{verdict:?}");
    let secret = bench.secret_with("wrong", &[("password", Some("wrong"))]);
    let (verdict, _) = ask(&bench, DatabaseTarget { secret, ..bench.target(Some(&facts)) }, check);
    assert!(verdict.passed == Finding::CannotTell && verdict.detail.contains("28P01"), "{verdict:?}");
}

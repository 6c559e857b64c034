//! Migrations by files of SQL.

use std::fs;

use switchback::{
    api::{Duration, Reason},
    protocol::{Answer, MigrateParameters, MigrationState, MigrationWork},
};

use crate::bench::{Bench, applied, failed, refused};

const TWO: [(&str, &str); 2] = [
    ("001_make.sql", "CREATE TABLE t (id int PRIMARY KEY, at text DEFAULT current_setting('search_path'));"),
    ("002_fill.sql", "-- two statements\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);"),
];

fn revision(parameters: MigrateParameters, name: &str) -> MigrateParameters {
    MigrateParameters { revision: name.into(), ..parameters }
}

#[test]
fn files_are_applied_in_order_once_and_recorded() {
    let (bench, facts) = Bench::marked("files");
    let parameters = bench.sql(&facts, &[TWO[1], TWO[0]]);
    let result = applied(bench.migrate(&parameters));
    assert_eq!(result.files, 2);
    assert_eq!(bench.ledger(), "Applied|1|");
    // Users' statements see their own search_path, not ours.
    assert_eq!(bench.login.sql("SELECT at FROM t LIMIT 1"), "\"$user\", public");
    let again = applied(bench.migrate(&parameters));
    assert_eq!((again.files, again.began_at), (0, None));
    assert_eq!(bench.ledger(), "Applied|1|");

    let three = [TWO[0], TWO[1], ("003_more.sql", "INSERT INTO t VALUES (3)")];
    let next = revision(bench.sql(&facts, &three), "v1-next");
    assert_eq!(applied(bench.migrate(&next)).files, 1);
    assert_eq!(bench.login.sql("SELECT count(*) FROM t"), "3");
}

#[test]
fn inspect_says_what_is_pending() {
    let (bench, facts) = Bench::marked("pending");
    let folder = bench.files("first", &TWO);
    let plan = bench.plan(&facts, &folder);
    assert_eq!((plan.state, plan.files, plan.pending), (MigrationState::NotStarted, 2, 2));
    assert_eq!(plan.pending_names, ["001_make.sql", "002_fill.sql"]);
    assert_eq!((plan.findings, plan.found), (vec![], 0));
    applied(bench.migrate(&bench.sql(&facts, &TWO[..1])));
    let plan = bench.plan(&facts, &folder);
    assert_eq!(
        (plan.state, plan.pending, plan.pending_names),
        (MigrationState::Applied, 1, vec!["002_fill.sql".into()])
    );
}

#[test]
fn inspect_says_what_is_risky_in_files_that_are_due_and_in_no_others() {
    let (bench, facts) = Bench::marked("risky");
    let risky = ("003_index.sql", "\nCREATE INDEX by_id ON t (id);\nUPDATE t SET at = NULL;\n");
    let folder = bench.files("risky", &[TWO[0], TWO[1], risky]);
    let plan = bench.plan(&facts, &folder);
    let found: Vec<(&str, u32, &str)> =
        plan.findings.iter().map(|found| (found.file.as_str(), found.line, found.rule.as_str())).collect();
    let expected =
        [("003_index.sql", 2, "require-concurrent-index-creation"), ("003_index.sql", 3, "unbounded-update")];
    assert_eq!((found.as_slice(), plan.found), (&expected[..], 2));
    applied(bench.migrate(&bench.sql(&facts, &[TWO[0], TWO[1], risky])));
    assert_eq!((bench.plan(&facts, &folder).findings, bench.plan(&facts, &folder).found), (vec![], 0));
}

#[test]
fn a_file_that_was_added_to_an_applied_revision_is_due() {
    let (bench, facts) = Bench::marked("added");
    applied(bench.migrate(&bench.sql(&facts, &TWO[..1])));
    // Also of an attempt that could use the backup of the one before: rows alone change no schema.
    let both = bench.sql(&facts, &TWO);
    assert_eq!((applied(bench.migrate(&both)).files, bench.ledger()), (1, "Applied|2|".into()));
    assert_eq!(bench.login.sql("SELECT count(*) FROM t"), "2");
    // A Job that follows a lost one finds that all is done.
    let again = MigrateParameters { again: true, ..both };
    assert_eq!((applied(bench.migrate(&again)).files, bench.ledger()), (0, "Applied|2|".into()));
}

#[test]
fn input_07_files_that_changed_after_the_approval_do_not_run() {
    let (bench, facts) = Bench::marked("stale");
    let parameters = bench.sql(&facts, &TWO);
    let MigrationWork::Sql { folder, .. } = &parameters.work else { panic!() };
    fs::write(folder.join("002_fill.sql"), "DROP TABLE t").unwrap();
    refused(bench.migrate(&parameters), Reason::ApprovalStale);
    assert_eq!(bench.ledger(), "");
}

#[test]
fn input_34_a_history_that_does_not_fit_is_refused_and_says_where() {
    let (bench, facts) = Bench::marked("history");
    applied(bench.migrate(&bench.sql(&facts, &TWO)));
    let cases = [
        ("changed", vec![TWO[0], ("002_fill.sql", "SELECT 1")], "002_fill.sql was applied as"),
        ("missing", vec![TWO[1]], "was applied and is missing now"),
        (
            "late",
            vec![TWO[0], ("001_z.sql", "SELECT 1"), TWO[1]],
            "001_z.sql was not applied but stands before 002_fill",
        ),
    ];
    for (name, files, says) in cases {
        let folder = bench.files(name, &files);
        let seen = bench.inspect(&bench.target(Some(&facts)), Some(folder.clone())).result;
        let Some(Answer::Refused(refusal)) = seen.migration else { panic!("{seen:?}") };
        assert_eq!(refusal.reason, Reason::MigrationHistoryDiverged);
        assert!(refusal.message.contains(says), "{}", refusal.message);
    }
}

#[test]
fn an_earlier_version_finds_nothing_due_in_a_database_that_is_ahead_of_it() {
    let (bench, facts) = Bench::marked("ahead");
    applied(bench.migrate(&bench.sql(&facts, &TWO)));
    let folder = bench.files("earlier", &[TWO[0]]);
    let seen = bench.inspect(&bench.target(Some(&facts)), Some(folder)).result;
    let Some(Answer::Done(found)) = seen.migration else { panic!("{seen:?}") };
    assert_eq!((found.files, found.pending), (1, 0));
}

#[test]
fn rule_13_a_job_that_follows_a_lost_one_tells_its_failure_and_does_not_repeat_it() {
    let (bench, facts) = Bench::marked("follows");
    let parameters = bench.sql(&facts, &[TWO[0], ("002_fill.sql", "SELEC")]);
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::MigrationFailed);
    let again = MigrateParameters { again: true, ..parameters };
    let told = failed(bench.migrate(&again), MigrationState::Failed, Reason::MigrationFailed);
    assert_eq!(told.split(';').next(), said.split(';').next());
}

#[test]
fn input_32_a_failing_statement_is_named_and_its_file_undone() {
    let (bench, facts) = Bench::marked("failing");
    let cases = [
        ("SELECT 1;\n\n/* x */ INSERT INTO t\nVALUES (1),\n(oops);", "line 5: INSERT INTO t: ERROR: column \"oops\""),
        ("INSERT INTO t VALUES (1);\nINSERT INTO t\nVALUES (1);", "line 2: INSERT INTO t: ERROR: duplicate key"),
        ("INSERT INTO t VALUES (9);\nSELEC;", "line 2: SELEC: ERROR: syntax error"),
    ];
    for (number, (text, says)) in cases.into_iter().enumerate() {
        let parameters = revision(bench.sql(&facts, &[TWO[0], ("002_fill.sql", text)]), &format!("v1-{number}"));
        let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::MigrationFailed);
        assert!(said.starts_with(&format!("002_fill.sql {says}")), "{said}");
        let pending = if number == 0 { "; 1 of 2 pending files were applied" } else { "; 0 of 1 pending files" };
        assert!(said.contains(pending), "{said}");
        assert_eq!(bench.login.sql("SELECT count(*) FROM t"), "0");
    }
    assert!(bench.ledger().contains("Failed|1|MigrationFailed: 002_fill.sql line 5"), "{}", bench.ledger());
    // What failed may be tried again, corrected.
    let parameters = revision(bench.sql(&facts, &TWO), "v1-0");
    assert_eq!(applied(bench.migrate(&parameters)).files, 1);
    assert!(bench.ledger().contains("Applied|2|"), "{}", bench.ledger());
}

#[test]
fn what_would_break_out_of_its_transaction_never_begins() {
    let (bench, facts) = Bench::marked("breakout");
    for (number, (text, says)) in [
        ("SELECT 1;\nCOMMIT;", "line 2: COMMIT: the file is one transaction already"),
        ("begin; SELECT 1; end", "line 1: begin: the file"),
        ("COPY t FROM STDIN;\n1\n\\.", "line 1: COPY t FROM STDIN: COPY has no input"),
        ("-- switchback: no-transaction\nSELECT 1; SELECT 2", "has 2 statements; it must have exactly one"),
        ("-- switchback: no-transaction\nUPDATE t SET n = n + 1", "line 2: UPDATE t SET n = n + 1: it needs no place"),
        (
            "-- switchback: no-transaction\nCREATE INDEX i ON t (n)",
            "line 2: CREATE INDEX i ON t (n): it needs no place",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = bench.files(&number.to_string(), &[("1.sql", text)]);
        let seen = bench.inspect(&bench.target(Some(&facts)), Some(folder)).result;
        let Some(Answer::Refused(refusal)) = seen.migration else { panic!("{seen:?}") };
        assert!(refusal.message.starts_with("nothing ran: 1.sql") && refusal.message.contains(says), "{refusal:?}");
    }
    // A file that changes role and path still is recorded by us.
    let text = "SET search_path = nowhere; SET ROLE pg_read_all_stats; SELECT 1";
    crate::postgres::Postgres::shared().superuser("postgres").sql("GRANT pg_read_all_stats TO breakout");
    applied(bench.migrate(&bench.sql(&facts, &[("1.sql", text), ("2.sql", "CREATE TABLE public.made ()")])));
    assert_eq!(bench.login.sql("SELECT count(*) FROM switchback.ledger_files"), "2");
}

#[test]
fn an_index_is_built_outside_a_transaction_and_an_invalid_one_is_no_success() {
    let (bench, facts) = Bench::marked("indexes");
    let index = "-- switchback: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS once ON n (id);";
    let files = [("1.sql", "CREATE TABLE n (id int); INSERT INTO n VALUES (1), (1)"), ("2.sql", index)];
    let parameters = bench.sql(&facts, &files);
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::MigrationFailed);
    assert!(
        said.contains("could not create unique index") && said.contains("; the index public.once is invalid; 1 of 2"),
        "{said}"
    );
    bench.login.sql("DELETE FROM n");
    // IF NOT EXISTS finds the invalid one and is content; we are not.
    let ran = bench.migrate(&parameters);
    assert!(ran.output.contains("note: index public.once is invalid"), "{}", ran.output);
    let said = failed(ran, MigrationState::Failed, Reason::MigrationFailed);
    assert!(said.contains("the index public.once is invalid; drop it"), "{said}");
    bench.login.sql("DROP INDEX once");
    applied(bench.migrate(&parameters));
    assert_eq!(bench.login.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'once'::regclass"), "t");
    assert_eq!(bench.ledger(), "Applied|3|");
}

#[test]
fn input_31_a_lock_that_is_not_given_is_asked_for_again_and_then_named() {
    let (bench, facts) = Bench::marked("locked");
    bench.login.sql("CREATE TABLE busy (id int)");
    let hold = |seconds: &str| {
        let mut psql = bench.login.psql();
        psql.args(["--command", &format!("BEGIN; LOCK TABLE busy; SELECT pg_sleep({seconds})")]);
        let child = psql.spawn().unwrap();
        bench.wait_for("pg_sleep");
        child
    };
    let files = [("1.sql", "CREATE TABLE before (); ALTER TABLE busy ADD more int")];
    let mut holder = hold("60");
    let parameters = bench.sql(&facts, &files);
    let ran = bench.migrate(&parameters);
    assert_eq!(ran.output.matches("trying again").count(), 4, "{}", ran.output);
    let said = failed(ran, MigrationState::Failed, Reason::LockTimeout);
    assert!(said.contains("1.sql line 1: ALTER TABLE busy ADD more int: ERROR: canceling"), "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(bench.login.sql("SELECT to_regclass('before') IS NULL"), "t");
    bench.login.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' \
        AND pid <> pg_backend_pid()",
    );
    // Released in time, it goes through.
    let mut holder = hold("0.8");
    let result = applied(bench.migrate(&parameters));
    assert_eq!(result.files, 1);
    holder.wait().unwrap();
}

#[test]
fn input_37_a_statement_that_never_ends_is_ended_at_the_deadline() {
    let (bench, facts) = Bench::marked("deadline");
    let files = [("1.sql", "CREATE TABLE kept ()"), ("2.sql", "CREATE TABLE gone (); SELECT pg_sleep(100)")];
    let parameters = MigrateParameters { timeout: Duration::from_secs(2), ..bench.sql(&facts, &files) };
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::DeadlineExceeded);
    assert!(said.contains("did not end within 2 s"), "{said}");
    assert_eq!(bench.backends(), "0");
    assert_eq!(bench.login.sql("SELECT to_regclass('kept') IS NULL, to_regclass('gone') IS NULL"), "f|t");
    assert!(bench.ledger().starts_with("Failed|1|DeadlineExceeded: "), "{}", bench.ledger());
}

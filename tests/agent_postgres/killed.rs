//! Agents that die, connections that break: what is not known is said not to be known, and nothing runs twice.

use switchback::{
    api::{Duration, Reason},
    protocol::{Answer, MigrateParameters, MigrateResult, MigrationState},
};

use crate::{
    bench::{Agent, Bench, applied, failed},
    postgres::Postgres,
    process::{signal, soon},
};

const SLOW: [(&str, &str); 2] = [
    ("1.sql", "CREATE TABLE runs (id int)"),
    ("2.sql", "INSERT INTO runs VALUES (1); SELECT pg_sleep(4) /* slowly */"),
];

/// Ends sessions of a database by their application name, as an administrator.
fn terminate(bench: &Bench, like: &str) {
    let name = &bench.login.dbname;
    let ended = Postgres::shared().superuser("postgres").sql(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}' \
         AND application_name LIKE '{like}'"
    ));
    assert_ne!(ended, "0", "{like}");
}

#[test]
fn i1_an_agent_that_is_killed_leaves_no_statement_that_works_on_beside_the_next() {
    let (bench, facts) = Bench::marked("killed");
    let parameters = bench.sql(&facts, &SLOW);
    let agent = bench.start(&parameters);
    bench.wait_for("slowly");
    agent.kill();
    assert_eq!(bench.ledger(), "Started|1|");
    applied(bench.migrate(&parameters));
    assert_eq!(bench.ledger(), "Applied|2|");
    assert_eq!(bench.login.sql("SELECT count(*) FROM runs"), "1");
}

#[test]
fn a_backend_of_an_earlier_attempt_is_ended_before_anything_begins() {
    let (bench, facts) = Bench::marked("orphan");
    // The server notices within seconds that an agent is gone; this one's network has swallowed the news.
    let mut psql = bench.login.psql();
    psql.env("PGAPPNAME", "switchback migrate some-release").args(["--command", "SELECT pg_sleep(60) /* orphan */"]);
    let mut orphan = psql.spawn().unwrap();
    bench.wait_for("orphan */");
    let ran = bench.migrate(&bench.sql(&facts, &[("1.sql", "SELECT 1")]));
    assert!(ran.output.contains("ended 1 backends of an earlier attempt"), "{}", ran.output);
    applied(ran);
    assert!(!orphan.wait().unwrap().success());
}

#[test]
fn i1_two_agents_at_once_are_one_migration() {
    let (bench, facts) = Bench::marked("two");
    let parameters = bench.sql(&facts, &SLOW);
    let agents: Vec<Agent> = (0..3).map(|_| bench.start(&parameters)).collect();
    let files: u32 = agents.into_iter().map(|agent| applied(agent.end()).files).sum();
    assert_eq!(files, 2);
    assert_eq!(bench.ledger(), "Applied|1|");
    assert_eq!(bench.login.sql("SELECT count(*) FROM runs"), "1");
}

#[test]
fn an_orphan_is_found_though_its_driver_renamed_its_session() {
    let (bench, facts) = Bench::marked("renamed");
    let work = "psql \"$DATABASE_URL\" -c \"SET application_name = 'mine'\" -c 'SELECT pg_sleep(30) /* renamed */'";
    let parameters = MigrateParameters { idempotent: true, ..bench.command(&facts, &["sh", "-c", work]) };
    let agent = bench.start(&parameters);
    bench.wait_for("renamed");
    // psql outlives its agent but not the agent's port; its backend would, for a while.
    agent.kill();
    let parameters = bench.command(&facts, &["psql", "-c", "SELECT 1"]);
    let parameters = MigrateParameters { idempotent: true, ..parameters };
    applied(bench.migrate(&parameters));
    assert_eq!(bench.ledger(), "Applied|2|");
}

#[test]
fn what_is_not_idempotent_does_not_run_again_after_an_unknown_end() {
    let (bench, facts) = Bench::marked("unknown");
    let parameters = bench.command(&facts, &["psql", "-c", "SELECT pg_sleep(30) /* once */"]);
    let agent = bench.start(&parameters);
    bench.wait_for("once");
    agent.kill();
    let said = failed(bench.migrate(&parameters), MigrationState::Started, Reason::MigrationUncertain);
    assert!(said.contains("not declared idempotent"), "{said}");
    assert!(bench.ledger().starts_with("Started|1|"), "{}", bench.ledger());
    assert_eq!(bench.backends(), "0");
}

#[test]
fn a_lock_that_is_lost_ends_files_and_leaves_the_end_open() {
    let (bench, facts) = Bench::marked("lost");
    let agent = bench.start(&bench.sql(&facts, &SLOW));
    bench.wait_for("slowly");
    terminate(&bench, "switchback lock %");
    let said = failed(agent.end::<Answer<MigrateResult>>(), MigrationState::Started, Reason::MigrationUncertain);
    assert!(said.contains("administrator command") && said.contains("nothing of it works on"), "{said}");
    assert_eq!(bench.backends(), "0");
    assert_eq!(bench.ledger(), "Started|1|");
}

#[test]
fn a_lock_that_is_lost_ends_the_child() {
    let (bench, facts) = Bench::marked("lostchild");
    let agent = bench.start(&bench.command(&facts, &["psql", "-c", "SELECT pg_sleep(60) /* child */"]));
    bench.wait_for("child");
    terminate(&bench, "switchback lock %");
    failed(agent.end::<Answer<MigrateResult>>(), MigrationState::Started, Reason::MigrationUncertain);
    assert_eq!(bench.backends(), "0");
    assert_eq!(bench.ledger(), "Started|1|");
}

#[test]
fn a_control_session_that_is_lost_is_made_anew() {
    let (bench, facts) = Bench::marked("control");
    let agent = bench.start(&bench.sql(&facts, &SLOW));
    bench.wait_for("slowly");
    terminate(&bench, "switchback control %");
    applied(agent.end::<Answer<MigrateResult>>());
    assert_eq!(bench.ledger(), "Applied|1|");
}

#[test]
fn a_work_session_that_is_ended_by_somebody_is_a_failure_that_is_undone() {
    let (bench, facts) = Bench::marked("worker");
    let agent = bench.start(&bench.sql(&facts, &SLOW));
    bench.wait_for("slowly");
    terminate(&bench, "switchback migrate %");
    let said = failed(agent.end::<Answer<MigrateResult>>(), MigrationState::Failed, Reason::MigrationFailed);
    assert!(said.contains("2.sql"), "{said}");
    assert_eq!(bench.login.sql("SELECT count(*) FROM runs"), "0");
}

#[test]
fn an_agent_that_is_told_to_end_does_and_says_so() {
    let (bench, facts) = Bench::marked("told");
    let mut agent = bench.start(&bench.sql(&facts, &SLOW));
    bench.wait_for("slowly");
    signal("TERM", agent.child.id());
    assert!(soon(|| agent.child.try_wait().unwrap().is_some()));
    let said = failed(agent.end::<Answer<MigrateResult>>(), MigrationState::Failed, Reason::DeadlineExceeded);
    assert!(said.contains("SIGTERM"), "{said}");
    assert_eq!(bench.login.sql("SELECT count(*) FROM runs"), "0");
}

#[test]
fn input_38_killed_again_and_again_it_ends_the_same() {
    let (bench, facts) = Bench::marked("sweep");
    let files: Vec<(String, String)> = (0..20)
        .map(|number| (format!("{number:02}.sql"), format!("CREATE TABLE t{number} (); SELECT pg_sleep(0.01)")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let parameters = MigrateParameters { timeout: Duration::from_secs(30), ..bench.sql(&facts, &files) };
    for number in 0..12 {
        let agent = bench.start(&parameters);
        std::thread::sleep(std::time::Duration::from_millis(40 + number * 17));
        agent.kill();
    }
    applied(bench.migrate(&parameters));
    assert_eq!(bench.login.sql("SELECT count(*) FROM switchback.ledger"), "1");
    assert_eq!(bench.login.sql("SELECT count(*) FROM switchback.ledger_files"), "20");
    assert_eq!(bench.login.sql("SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$'"), "20");
}

#[test]
fn what_earlier_work_left_behind_is_told_and_not_touched() {
    let (bench, facts) = Bench::marked("leftovers");
    bench.login.sql(
        "CREATE TABLE databasechangeloglock (id int, locked boolean, lockedby text); \
         INSERT INTO databasechangeloglock VALUES (1, true, 'pod-7')",
    );
    bench.login.sql("BEGIN; CREATE TABLE half (); PREPARE TRANSACTION 'stuck'");
    let ran = bench.migrate(&bench.sql(&facts, &[("1.sql", "SELECT 1")]));
    for note in ["transaction stuck is prepared", "lock public.databasechangeloglock is held by pod-7"] {
        assert!(ran.output.contains(note), "{}", ran.output);
    }
    applied(ran);
    bench.login.sql("ROLLBACK PREPARED 'stuck'");
}

#[test]
fn i1_who_gets_a_lost_lock_ends_the_former_holders_work_and_is_not_ended_by_it() {
    let (bench, facts) = Bench::marked("takeover");
    let parameters = bench.sql(&facts, &SLOW);
    let first = bench.start(&parameters);
    bench.wait_for("slowly");
    let second = bench.start(&parameters);
    bench.wait_for("pg_try_advisory_lock");
    bench.login.sql(&format!("SELECT pg_terminate_backend({})", bench.lock_holder()));
    failed(first.end::<Answer<MigrateResult>>(), MigrationState::Started, Reason::MigrationUncertain);
    applied(second.end::<Answer<MigrateResult>>());
    assert_eq!(bench.ledger(), "Applied|2|");
    assert_eq!(bench.login.sql("SELECT count(*) FROM runs"), "1");
}

#[test]
fn a_lock_whose_session_falls_silent_counts_as_lost() {
    let (bench, facts) = Bench::marked("silent");
    let agent = bench.start(&bench.command(&facts, &["psql", "-c", "SELECT pg_sleep(60) /* unheard */"]));
    bench.wait_for("unheard");
    let lock = bench.lock_holder();
    // As a network that swallows everything: the session is there and says nothing.
    signal("STOP", lock);
    let ran = agent.end::<Answer<MigrateResult>>();
    signal("CONT", lock);
    let said = failed(ran, MigrationState::Started, Reason::MigrationUncertain);
    assert!(said.contains("did not answer within 10 s") && said.contains("nothing of it works on"), "{said}");
}

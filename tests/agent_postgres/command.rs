//! Migrations by a command, which reaches the database through the agent's port.

use std::fs;

use switchback::{
    api::{Duration, Reason},
    protocol::{MigrateParameters, MigrationState, MigrationWork},
};

use crate::{
    bench::{Agent, Bench, applied, failed},
    process::soon,
};

/// A shell that runs this; the agent itself knows no shell.
fn shell(bench: &Bench, facts: &switchback::protocol::DatabaseFacts, script: &str) -> MigrateParameters {
    bench.command(facts, &["sh", "-c", script])
}

#[test]
fn a_command_needs_no_password_and_its_sessions_are_known() {
    let (bench, facts) = Bench::marked("port");
    let script = "set -e; psql \"$DATABASE_URL\" -c 'CREATE TABLE seen AS SELECT application_name AS name, \
         current_setting($$lock_timeout$$) AS wait, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
         WHERE pid = pg_backend_pid()'; \
         PGAPPNAME=other PGOPTIONS='-c lock_timeout=1h -c work_mem=1234kB' psql -c 'INSERT INTO seen \
         SELECT application_name, current_setting($$lock_timeout$$) || current_setting($$work_mem$$), true \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()'; echo \"${PGPASSWORD-none}\" \"$(env | grep -c password)\"";
    let ran = bench.migrate(&shell(&bench, &facts, script));
    assert!(ran.output.contains("none 0"), "{}", ran.output);
    applied(ran);
    let name = format!("switchback migrate {}", crate::bench::UID);
    assert_eq!(bench.login.sql("SELECT * FROM seen"), format!("{name}|300ms|t\n{name}|300ms1234kB|t"));
    assert_eq!(bench.ledger(), "Applied|1|");
    assert_eq!(bench.backends(), "0");
}

#[test]
fn many_connections_at_once_and_large_results_pass() {
    let (bench, facts) = Bench::marked("many");
    let script = "set -e; for i in 1 2 3 4 5 6; do psql -Atc \"SELECT repeat('x', 1000000)\" | wc -c & done; wait; \
         seq 100000 > \"$OUT\"; psql -c 'CREATE TABLE n (id int)' -c \"\\copy n FROM '$OUT'\""
        .replace("$OUT", bench.folder.path().join("numbers").to_str().unwrap());
    let ran = bench.migrate(&shell(&bench, &facts, &script));
    assert_eq!(ran.output.matches("1000001").count(), 6, "{}", ran.output);
    applied(ran);
    assert_eq!(bench.login.sql("SELECT count(*) FROM n"), "100000");
}

#[test]
fn input_32_a_command_that_fails_is_told_with_its_last_words() {
    let (bench, facts) = Bench::marked("words");
    let password = &bench.login.password;
    let script = format!("seq 2000; echo half a secret: {password}; psql -c 'SELECT oops' ; exit 7");
    let said = failed(bench.migrate(&shell(&bench, &facts, &script)), MigrationState::Failed, Reason::MigrationFailed);
    assert!(said.starts_with("the command ended with exit code 7: ") && said.len() < 1200, "{said}");
    assert!(said.contains("half a secret: ***") && said.contains("column \"oops\" does not exist"), "{said}");
    assert!(bench.ledger().starts_with("Failed|1|MigrationFailed: the command ended with exit code 7"));
}

#[test]
fn a_command_that_cannot_start_or_is_killed_is_a_failure() {
    let (bench, facts) = Bench::marked("nostart");
    let parameters = bench.command(&facts, &["/nowhere/migrate", "up"]);
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::MigrationFailed);
    assert!(said.contains("cannot be started: /nowhere/migrate: No such file"), "{said}");
    let parameters = shell(&bench, &facts, "psql -c 'SELECT 1'; kill -9 $$");
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::MigrationFailed);
    assert!(said.contains("was killed by signal 9"), "{said}");
}

#[test]
fn threat_t12_arguments_are_words_and_no_shell_reads_them() {
    let (bench, facts) = Bench::marked("words2");
    let file = bench.folder.path().join("injected");
    let word = format!("SELECT 1; -- $(touch {0}) `touch {0}` ; touch {0}", file.display());
    applied(bench.migrate(&bench.command(&facts, &["psql", "-c", &word])));
    assert!(!file.exists());
}

#[test]
fn input_37_a_command_that_never_ends_and_ignores_sigterm_is_ended_with_all_it_started() {
    let (bench, facts) = Bench::marked("never");
    let pids = bench.folder.path().join("pids");
    bench.login.sql("CREATE TABLE w (id int)");
    let script = format!(
        "trap '' TERM; psql -c 'BEGIN; INSERT INTO w VALUES (1); SELECT pg_sleep(100)' & \
         sh -c \"trap '' TERM; echo \\$\\$ > {}; while :; do sleep 1; done\" & while :; do sleep 1; done",
        pids.display()
    );
    let parameters = shell(&bench, &facts, &script);
    let parameters = MigrateParameters { timeout: Duration::from_secs(5), ..parameters };
    let said = failed(bench.migrate(&parameters), MigrationState::Failed, Reason::DeadlineExceeded);
    assert!(said.contains("was ended: the migration did not end within 5 s"), "{said}");
    let pid = fs::read_to_string(pids).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    assert!(soon(|| fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z ")) || fs::metadata(&stat).is_err()));
    assert_eq!(bench.backends(), "0");
    assert_eq!(bench.login.sql("SELECT count(*) FROM w"), "0");
}

#[test]
fn input_33_success_without_having_been_at_the_database_is_none() {
    let (bench, facts) = Bench::marked("mismatch");
    let said = failed(
        bench.migrate(&bench.command(&facts, &["true"])),
        MigrationState::Failed,
        Reason::MigrationResultMismatch,
    );
    assert!(said.contains("never connected"), "{said}");
    // Somebody that the command left behind still works.
    let script = "setsid psql -c 'SELECT pg_sleep(100) /* behind */' >/dev/null 2>&1 & \
         until psql -Atc \"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%behind%'\" \
         | grep -q 1; do sleep 0.1; done; exit 0";
    let said =
        failed(bench.migrate(&shell(&bench, &facts, script)), MigrationState::Failed, Reason::MigrationResultMismatch);
    assert!(said.contains("1 of its sessions were still at work"), "{said}");
    assert_eq!(bench.backends(), "0");
}

#[test]
fn a_cancel_request_reaches_the_session_it_is_for() {
    let (bench, facts) = Bench::marked("cancel");
    let script = "psql -c 'SELECT pg_sleep(50) /* cancelled */' & \
         until psql -Atc \"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%cancelled%'\" \
         | grep -q 1; do sleep 0.1; done; kill -INT $!; wait $!; psql -Atc \"SELECT 'after'\"";
    let ran = bench.migrate(&shell(&bench, &facts, script));
    assert!(ran.output.contains("canceling statement due to user request"), "{}", ran.output);
    assert!(ran.output.contains("after"), "{}", ran.output);
    applied(ran);
}

#[test]
fn a_command_that_connects_by_itself_gets_a_file_and_no_secret_in_its_environment() {
    let (bench, facts) = Bench::marked("direct");
    let script = "set -e; test \"$(env | grep -c password-of)\" = 0; stat -c %a \"$PGPASSFILE\"; \
         psql -Atc 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()' \"$DATABASE_URL\"; psql -c 'SELECT 1'";
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let parameters =
        MigrateParameters { work: MigrationWork::Command { argv, direct: true }, ..bench.command(&facts, &[]) };
    let ran = bench.migrate(&parameters);
    assert!(ran.output.contains("600\nt\n"), "{}", ran.output);
    applied(ran);
}

/// Its own address is for what connects by itself; through the port it would lead away from the verified server.
#[test]
fn an_address_of_the_templates_own_stays_with_what_connects_by_itself_and_with_nothing_else() {
    let own = "postgres://shop:password-of-somewhere@elsewhere/shop";
    let shown = "postgres://shop:***@elsewhere/shop";
    for (direct, kept) in [(true, true), (false, false)] {
        let (bench, facts) = Bench::marked(if direct { "own-address" } else { "ports-address" });
        let script = "echo \"address: $DATABASE_URL\"; psql -c 'SELECT 1'";
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let work = MigrationWork::Command { argv, direct };
        let parameters = MigrateParameters { work, ..bench.command(&facts, &[]) };
        let ran = Agent::start_with(bench.folder.path(), "migrate", &parameters, &[("DATABASE_URL", own)]).end();
        assert_eq!(ran.output.contains(&format!("address: {shown}\n")), kept, "direct: {direct}: {}", ran.output);
        applied(ran);
    }
}

#[test]
fn a_driver_that_wants_a_newer_protocol_is_told_of_the_one_there_is() {
    let (bench, facts) = Bench::marked("protocol");
    let script = "exec 3<>/dev/tcp/127.0.0.1/$PGPORT; printf '\\0\\0\\0\\x19\\0\\3\\0\\2user\\0x\\0_pq_.y\\0z\\0\\0' >&3; \
         head -c 29 <&3 | od -An -v -tx1 -w29";
    let ran = bench.migrate(&bench.command(&facts, &["bash", "-c", script]));
    let answer = "76 00 00 00 13 00 03 00 00 00 00 00 01 5f 70 71 5f 2e 79 00 52 00 00 00 08 00 00 00 00";
    assert!(ran.output.contains(answer), "{}", ran.output);
    applied(ran);
}

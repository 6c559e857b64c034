//! A migration's own command says whether anything is due, in sessions that only read.

use std::fs;

use switchback::{
    api::{Duration, Reason},
    protocol::{Answer, DatabaseFacts, PendingParameters, PendingResult},
};

use crate::{
    bench::{Bench, Ran, done, refused},
    process::soon,
};

fn ask(bench: &Bench, facts: Option<&DatabaseFacts>, argv: &[&str]) -> Ran<Answer<PendingResult>> {
    let parameters = PendingParameters {
        database: bench.target(facts),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        timeout: Duration::from_secs(5),
        lock_timeout: Duration::from_millis(300),
    };
    bench.run("pending", &parameters)
}

fn shell(bench: &Bench, script: &str) -> Ran<Answer<PendingResult>> {
    ask(bench, None, &["sh", "-c", script])
}

#[test]
fn two_exit_codes_say_whether_anything_is_due() {
    // Nobody has marked it, and nothing of ours is in it afterwards.
    let bench = Bench::new("pending_codes");
    for (code, due) in [(0, false), (1, true)] {
        let ran = shell(&bench, &format!("psql \"$DATABASE_URL\" -Atc 'SELECT 1'; exit {code}"));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(done(ran), PendingResult { due });
    }
    assert_eq!(bench.login.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'switchback'"), "0");
    assert_eq!(bench.backends(), "0");
}

#[test]
fn the_command_reads_and_cannot_write_by_mistake() {
    let bench = Bench::new("pending_reads");
    bench.login.sql("CREATE TABLE history (id int)");
    let script = "psql -Atc \"SELECT application_name, current_setting('lock_timeout'), \
         current_setting('default_transaction_read_only') FROM pg_stat_activity WHERE pid = pg_backend_pid()\"; \
         export PGOPTIONS='-c default_transaction_read_only=off'; psql -c 'INSERT INTO history VALUES (1)'; \
         psql -c 'CREATE TABLE made (id int)'; echo \"${PGPASSWORD-none}\"; exit 0";
    let ran = shell(&bench, script);
    assert!(ran.output.contains("switchback pending|300ms|on"), "{}", ran.output);
    assert_eq!(ran.output.matches("in a read-only transaction").count(), 2, "{}", ran.output);
    assert!(ran.output.contains("none"), "{}", ran.output);
    assert_eq!(done(ran), PendingResult { due: false });
    assert_eq!(bench.login.sql("SELECT count(*), to_regclass('made') IS NULL FROM history"), "0|t");
}

#[test]
fn what_a_driver_asks_for_by_name_does_not_count_either() {
    let bench = Bench::new("pending_names");
    let script = "exec 3<>/dev/tcp/127.0.0.1/$PGPORT; \
         printf '\\0\\0\\0\\x32\\0\\3\\0\\0user\\0x\\0Default_Transaction_Read_Only\\0off\\0\\0X\\0\\0\\0\\4' >&3; \
         tr '\\0' '|' <&3 | grep -ao 'default_transaction_read_only|o[nf]*'; exit 1";
    let ran = ask(&bench, None, &["bash", "-c", script]);
    assert!(ran.output.contains("default_transaction_read_only|on"), "{}", ran.output);
    assert_eq!(done(ran), PendingResult { due: true });
}

#[test]
fn whatever_else_happens_says_neither() {
    let bench = Bench::new("pending_unknown");
    let psql = "psql -Atc 'SELECT 1'";
    let password = &bench.login.password;
    let table: [(&[&str], &str); 6] = [
        (
            &["sh", "-c", &format!("{psql}; echo half a secret: {password}; exit 3")],
            "exit code 3: 1\nhalf a secret: ***",
        ),
        (&["sh", "-c", &format!("{psql}; kill -9 $$")], "was killed by signal 9"),
        (&["/nowhere/migrate", "pending"], "cannot be started: /nowhere/migrate: No such file"),
        // A program that breaks at its start ends like one that has found something, and one that does nothing like one
        // that has found nothing.
        (&["true"], "exit code 0 and never connected to DATABASE_URL"),
        (&["sh", "-c", "echo Traceback; exit 1"], "exit code 1 and never connected to DATABASE_URL: Traceback"),
        (&["sh", "-c", &format!("{psql} -h /nowhere; exit 0")], "never connected"),
    ];
    for (argv, words) in table {
        let said = refused(ask(&bench, None, argv), Reason::PendingUnknown);
        assert!(said.contains(words) && said.contains("exit code 0 says that nothing is"), "{argv:?}: {said}");
    }
}

#[test]
fn one_that_never_ends_is_ended_with_all_it_started() {
    let bench = Bench::new("pending_never");
    let pids = bench.folder.path().join("pids");
    let script = format!(
        "trap '' TERM; psql -c 'SELECT pg_sleep(100)' & \
         sh -c \"trap '' TERM; echo \\$\\$ > {}; while :; do sleep 1; done\" & while :; do sleep 1; done",
        pids.display()
    );
    let said = refused(shell(&bench, &script), Reason::PendingUnknown);
    assert!(said.contains("was ended: it did not end within 5 s"), "{said}");
    let pid = fs::read_to_string(pids).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    assert!(soon(|| fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z ")) || fs::metadata(&stat).is_err()));
    assert!(soon(|| bench.backends() == "0"));
}

#[test]
fn another_database_is_asked_nothing() {
    let (bench, facts) = Bench::marked("pending_identity");
    let file = bench.folder.path().join("ran");
    let script = format!("touch {}; psql -c 'SELECT 1'; exit 0", file.display());
    bench.login.sql("UPDATE switchback.identity SET uuid = gen_random_uuid()");
    refused(ask(&bench, Some(&facts), &["sh", "-c", &script]), Reason::IdentityUncertain);
    assert!(!file.exists());
}

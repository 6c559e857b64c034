//! Credentials that are changed while the agent runs: it is let in with the new ones, once.

use std::fs;

use switchback::api::Reason;

use crate::{
    bench::{Agent, Bench, applied, refused},
    postgres::Postgres,
    process::soon,
};

/// Changes the role's password at the server; its Secret follows later.
fn rotate(bench: &mut Bench, password: &str) {
    let role = &bench.login.username;
    Postgres::shared().superuser("postgres").sql(&format!("ALTER ROLE \"{role}\" PASSWORD '{password}'"));
    password.clone_into(&mut bench.login.password);
}

fn mount(bench: &Bench, password: &str) {
    fs::write(bench.login.secret.join("password"), password).unwrap();
}

/// How often the server has refused the role's password.
fn refusals(bench: &Bench) -> usize {
    let line = format!("password authentication failed for user \"{}\"", bench.login.username);
    Postgres::shared().log().matches(&line).count()
}

#[test]
fn input_24_a_password_that_is_changed_is_tried_again_once_with_the_new_value() {
    let (mut bench, facts) = Bench::marked("rotated");
    let parameters = bench.sql(&facts, &[("1.sql", "CREATE TABLE a (id int);")]);
    rotate(&mut bench, "password-of-the-second-day");
    let agent = bench.start(&parameters);
    assert!(soon(|| refusals(&bench) == 1), "it was not asked for the password");
    mount(&bench, "password-of-the-second-day");
    applied(agent.end());
    assert_eq!(refusals(&bench), 1);
}

#[test]
fn input_24_a_new_value_that_is_wrong_as_well_is_told_and_not_tried_for_ever() {
    let (mut bench, facts) = Bench::marked("rotated_wrong");
    rotate(&mut bench, "password-of-the-second-day");
    let parameters = switchback::protocol::MarkParameters { database: bench.target(Some(&facts)) };
    let agent = Agent::start(bench.folder.path(), "mark", &parameters);
    assert!(soon(|| refusals(&bench) == 1), "it was not asked for the password");
    mount(&bench, "password-of-nobody");
    let said = refused::<switchback::protocol::DatabaseFacts>(agent.end(), Reason::AuthenticationFailed);
    assert!(said.contains("28P01"), "{said}");
    assert_eq!(refusals(&bench), 2);
}

#[test]
fn input_24_the_sessions_of_a_command_that_runs_begin_with_the_new_value() {
    let (mut bench, facts) = Bench::marked("rotated_port");
    let (here, go) = (bench.folder.path().join("here"), bench.folder.path().join("go"));
    let script = format!(
        "set -e; psql -c 'CREATE TABLE a (id int)'; touch {}; until [ -e {} ]; do sleep 0.05; done; \
         psql -c 'CREATE TABLE b (id int)'",
        here.display(),
        go.display()
    );
    let agent = bench.start(&bench.command(&facts, &["sh", "-c", &script]));
    assert!(soon(|| here.exists()), "the command did not begin");
    rotate(&mut bench, "password-of-the-second-day");
    fs::write(go, "").unwrap();
    assert!(soon(|| refusals(&bench) == 1), "it was not asked for the password");
    mount(&bench, "password-of-the-second-day");
    applied(agent.end());
    assert_eq!(bench.login.sql("SELECT count(*) FROM pg_tables WHERE tablename IN ('a', 'b')"), "2");
}

//! The demo application with a real PostgreSQL: what it serves on which schema, and its migrations.

use std::net::SocketAddr;
use std::process::Output;

use serde_json::Value;

use crate::postgres::{Login, Postgres};
use crate::programs::{Program, demo, demo_command, demo_task, eventually, get, status};

fn place(login: &Login, schema: &'static str) -> [(&'static str, String); 2] {
    [("DATABASE_SECRET_DIR", login.secret.display().to_string()), ("SCHEMA", schema.to_owned())]
}

fn migrate(environment: &[(&str, String)], arguments: &[&str]) -> Output {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    demo_command(&[&["migrate"], arguments].concat(), &environment).output().unwrap()
}

fn code(environment: &[(&str, String)], arguments: &[&str]) -> i32 {
    migrate(environment, arguments).status.code().unwrap()
}

/// Starts the application and waits until it knows whether it is ready.
fn serve(environment: &[(&str, String)]) -> (Program, SocketAddr) {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (program, address) = demo(&environment);
    eventually("the database has answered", || !get(address, "/ready", "").body.contains("not answered yet"));
    (program, address)
}

#[test]
fn each_version_serves_on_the_schemas_that_hold_what_it_reads() {
    let login = Postgres::shared().database("served");
    let (_one, one) = serve(&place(&login, "1"));
    assert_eq!([status(one, "/ready"), status(one, "/"), status(one, "/healthz")], [503, 500, 200]);
    assert_eq!(code(&place(&login, "1"), &["up"]), 0);
    eventually("version 1 is ready", || status(one, "/ready") == 200);

    let (_two, two) = serve(&place(&login, "2"));
    let answer = get(two, "/", "");
    assert_eq!((answer.status, status(two, "/ready")), (500, 503));
    assert!(answer.body.contains("delivery_slot"), "{}", answer.body);
    assert_eq!(code(&place(&login, "2"), &["up"]), 0);
    eventually("version 2 is ready", || status(two, "/ready") == 200);
    assert_eq!([status(one, "/ready"), status(one, "/"), status(two, "/")], [200, 200, 200]);
    let placed: Value = serde_json::from_str(&get(one, "/order", "").body).unwrap();
    let newest: Value = serde_json::from_str(&get(two, "/", "").body).unwrap();
    assert_eq!(newest["order"]["id"], placed["order"]["id"]);
    assert_eq!(newest["order"]["delivery_slot"], "any time");

    assert_eq!(code(&place(&login, "3"), &["up"]), 0);
    eventually("version 1 cannot read the new schema", || status(one, "/ready") == 503);
    assert_eq!(status(one, "/"), 500);
}

#[test]
fn a_second_worker_on_a_queue_is_written_down() {
    let login = Postgres::shared().database("queue");
    let place = place(&login, "1");
    let work = |version: &'static str, more: &[(&'static str, &'static str)]| {
        let place = place.iter().map(|(name, value)| (*name, value.as_str()));
        let environment: Vec<_> = place.chain(more.iter().copied()).chain([("VERSION", version)]).collect();
        demo_task(&["work"], &environment)
    };
    let seen = |sql: &str| login.sql(sql);
    let first = work("1", &[]);
    eventually("the tables are there", || seen("SELECT to_regclass('demo_violations') IS NOT NULL") == "t");
    eventually("the first works", || seen("SELECT count(*) FROM demo_work WHERE version = '1'") == "1");
    assert_eq!(seen("SELECT count(*) FROM demo_violations"), "0");
    let second = work("2", &[]);
    eventually("the second is seen", || seen("SELECT string_agg(version, ',') FROM demo_violations") == "2");
    let beside = work("3", &[("QUEUE", "pictures"), ("QUEUE_SHARED", "true")]);
    eventually("another queue", || seen("SELECT count(*) FROM demo_work WHERE queue = 'pictures'") == "1");
    drop(first);
    eventually("the second has its turn", || seen("SELECT count(*) FROM demo_work WHERE version = '2'") == "1");
    drop((second, beside));
    assert_eq!(seen("SELECT count(*) FROM demo_violations"), "1");
}

#[test]
fn a_migration_is_due_until_it_was_applied_and_is_applied_once() {
    let login = Postgres::shared().database("due");
    let place = place(&login, "2");
    let pending = migrate(&place, &["pending"]);
    assert_eq!(pending.status.code(), Some(1));
    assert_eq!(String::from_utf8(pending.stdout).unwrap(), "due: 1 orders\ndue: 2 delivery slots\n");
    assert_eq!([code(&place, &["up"]), code(&place, &["up"]), code(&place, &["pending"])], [0, 0, 0]);
    assert_eq!(login.sql("SELECT count(*) FROM orders"), "1000");
    assert_eq!(login.sql("SELECT string_agg(version::text, ',') FROM demo_migrations"), "1,2");
    let nowhere = [("DATABASE_URL", "postgres://me:hidden@127.0.0.1:1/shop".to_owned())];
    let unknown = migrate(&nowhere, &["pending"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(!String::from_utf8(unknown.stderr).unwrap().contains("hidden"));
}

#[test]
fn migrations_go_wrong_as_told() {
    let login = Postgres::shared().database("wrong");
    let place = place(&login, "2");
    let failed = migrate(&place, &["up", "--fail-in", "2"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(said.contains("migration 2 (delivery slots) failed: ERROR: division by zero (22012)"), "{said}");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'delivery_slot'";
    assert_eq!(login.sql(columns), "0");

    let mut hanging = demo_command(&["migrate", "up", "--hang-in", "2"], &[]);
    let mut hanging = hanging.envs(place.clone()).spawn().unwrap();
    let asleep = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'demo-app' AND datname = current_database() AND query LIKE '%pg_sleep($1)%'";
    eventually("the migration hangs", || login.sql(asleep) == "1");
    hanging.kill().unwrap();
    hanging.wait().unwrap();
    // What a killed client asked for goes on in the server.
    assert_eq!(login.sql(asleep), "1");
    let end = asleep.replace("count(*)", "pg_terminate_backend(pid)");
    assert_eq!(login.sql(&end), "t");
    eventually("it has ended", || login.sql(asleep) == "0");

    assert_eq!(code(&place, &["up", "--exit-after-commit", "7"]), 7);
    assert_eq!((login.sql(columns).as_str(), code(&place, &["pending"])), ("1", 0));
}

#[test]
fn a_database_that_does_not_answer_fails_pages_soon_and_nothing_else() {
    let login = Postgres::shared().database("slow");
    assert_eq!(code(&place(&login, "1"), &["up"]), 0);
    let (_demo, address) = serve(&place(&login, "1"));
    assert_eq!(status(address, "/"), 200);
    let lock = "BEGIN; LOCK TABLE orders; SELECT pg_sleep(600)";
    let mut holder = login.psql().args(["--command", lock]).spawn().unwrap();
    let locked = "SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND granted AND mode = 'AccessExclusiveLock'";
    eventually("the table is locked", || login.sql(locked) == "1");
    // More requests than there are connections.
    let pages: Vec<_> = (0..20).map(|_| std::thread::spawn(move || status(address, "/"))).collect();
    assert_eq!([status(address, "/healthz"), status(address, "/ready")], [200, 200]);
    assert!(pages.into_iter().all(|page| page.join().unwrap() == 503));
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND datname = 'slow'";
    assert_eq!(login.sql(end), "t");
    holder.wait().unwrap();
    eventually("pages are served again", || status(address, "/") == 200);
}

#[test]
fn a_url_leads_to_a_server_on_this_machine_without_tls() {
    let postgres = Postgres::start();
    let login = postgres.database("plain");
    let open = "COPY (SELECT 'host all all 127.0.0.1/32 scram-sha-256') TO PROGRAM 'cat >>pg_hba.conf'";
    let admin = postgres.superuser("postgres");
    admin.sql(open);
    admin.sql("SELECT pg_reload_conf()");
    let url = format!("postgres://plain:{}@127.0.0.1:{}/plain", login.password, login.port);
    let elsewhere = ("DATABASE_SECRET_DIR", "/nowhere".to_owned());
    eventually("migrated", || code(&[("DATABASE_URL", url.clone()), elsewhere.clone()], &["up"]) == 0);
    let (_demo, address) = serve(&[("DATABASE_URL", url.clone())]);
    assert_eq!([status(address, "/ready"), status(address, "/")], [200, 200]);
}

//! The database's lock between agents, and between migrations and backups.

use std::time::Duration;

use switchback::{
    agent::postgres::{connect, lock},
    api::Reason,
    protocol::MigrateParameters,
};

use crate::bench::{Bench, applied, refused};

const NONE: Duration = Duration::ZERO;

#[tokio::test]
async fn backups_share_the_lock_and_a_migration_has_it_alone() {
    let (bench, facts) = Bench::marked("sharing");
    let target = bench.target(Some(&facts));
    let session = async || connect(&target, "backup of shop").await.unwrap();
    let first = lock::try_shared(session().await, NONE).await.unwrap();
    let second = lock::try_shared(session().await, NONE).await.unwrap();
    let refusal = lock::try_exclusive(session().await, NONE).await.map(|_| ()).unwrap_err();
    assert_eq!(refusal.reason, Reason::DatabaseBusy);
    for pid in [first.pid, second.pid] {
        let holder = format!("switchback backup of shop (process {pid}, since 20");
        assert!(refusal.message.contains(&holder), "{}", refusal.message);
    }
    drop(first);
    drop(second);
    let alone = lock::try_exclusive(session().await, Duration::from_secs(5)).await.unwrap();
    lock::try_shared(session().await, NONE).await.map(|_| ()).unwrap_err();
    assert!(alone.is_held());
    bench.login.sql(&format!("SELECT pg_terminate_backend({})", alone.pid));
    let why = tokio::time::timeout(Duration::from_secs(20), alone.lost()).await.unwrap();
    assert!(why.contains("administrator command") && !alone.is_held(), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waits_for_a_backup_and_says_for_whom() {
    let (bench, facts) = Bench::marked("waiting");
    let target = bench.target(Some(&facts));
    let backup = lock::try_shared(connect(&target, "backup").await.unwrap(), NONE).await.unwrap();
    let parameters = bench.sql(&facts, &[("1.sql", "SELECT 1")]);
    let short = MigrateParameters { timeout: switchback::api::Duration::from_secs(1), ..parameters.clone() };
    let said = refused(bench.migrate(&short), Reason::DatabaseBusy);
    assert!(said.contains("held by switchback backup"), "{said}");
    let agent = bench.start(&parameters);
    bench.wait_for("pg_try_advisory_lock");
    drop(backup);
    applied(agent.end());
}

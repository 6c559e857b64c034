//! What a good backup is.

use std::{process::Command, thread, time::Duration};

use switchback::{
    api::{ProofLevel, Reason},
    protocol::BackupParameters,
};

use crate::{
    support::s3::S3,
    world::{SHOP, World, files, s3_target},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_backup_is_in_every_storage_proven_and_equal_to_the_database() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let storages = [s3_target(&s3), world.volume()];
    let scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&storages) };
    let result = world.backup(&parameters).await.unwrap();

    assert_eq!((result.tables, result.rows), (4, 1012), "{result:?}");
    assert_eq!(result.proof.level, ProofLevel::Restored);
    let seconds = result.proof.seconds.unwrap();
    assert!(seconds.fetch > 0.0 && seconds.restore > Some(0.0) && seconds.check > Some(0.0), "{seconds:?}");
    for storage in &storages {
        let manifest = world.manifest(storage, &result).await;
        let rows: Vec<(&str, i64)> =
            manifest.content.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
        assert_eq!(rows, [("Odd \"name", 2), ("child", 10), ("empty", 0), ("orders", 1000)]);
        assert_eq!(manifest.content.sequences[0].last, 1000);
        assert_eq!((manifest.content.large_objects, manifest.content.encoding.as_str()), (1, "UTF8"));
        assert_eq!(manifest.database, result.database);
        assert!(manifest.content.roles.iter().any(|role| role["rolname"] == "shop"), "{manifest:?}");
        assert_eq!(manifest.data.stored.bytes, result.size_bytes);
        assert!(manifest.tools.dump.contains("15."), "{}", manifest.tools.dump);
    }
    assert!(!scratch.is_alive() || crate::support::process::soon(|| !scratch.is_alive()));
    assert_eq!(files(&world.path("memory")), Vec::<std::path::PathBuf>::new());
    let left = world.postgres.superuser("shop").sql(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'switchback %' \
         AND backend_start < now() - interval '10 s'",
    );
    assert_eq!(left, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_several_pieces_is_read_and_restored_whole() {
    let big = "CREATE TABLE big AS SELECT n, sha512(n::text::bytea) a, sha512((-n)::text::bytea) b \
         FROM generate_series(1, 150000) n";
    let (world, s3) = (World::start(big).await, S3::start());
    let storages = [s3_target(&s3), world.volume()];
    let _scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&storages) };
    let result = world.backup(&parameters).await.unwrap();
    let manifest = world.manifest(&storages[0], &result).await;
    assert!(manifest.data.pieces.len() >= 2, "{} bytes", result.size_bytes);
    assert_eq!(manifest.data.pieces.iter().map(|piece| piece.sum.bytes).sum::<u64>(), result.size_bytes);
    assert_eq!(result.rows, 150_000);
    for (storage, copy) in storages.iter().zip(&result.copies) {
        let read = world.prove(storage, copy, ProofLevel::Readable).await.unwrap();
        assert_eq!(read.seconds.and_then(|seconds| seconds.recovery()), None, "who has only read cannot know");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_44_a_table_that_is_rewritten_meanwhile_is_whole_or_the_backup_fails() {
    const AGAIN: &str = "VACUUM FULL orders";
    let rewrites: [&'static [&str]; 3] = [
        &["BEGIN; ALTER TABLE orders ALTER COLUMN id TYPE numeric; SELECT pg_sleep(2); COMMIT"],
        &[AGAIN; 5],
        &["BEGIN; CREATE TABLE next AS TABLE orders; DROP TABLE orders CASCADE; \
             ALTER TABLE next RENAME TO orders; SELECT pg_sleep(2); COMMIT"],
    ];
    let world = World::start(SHOP).await;
    for (attempt, rewrite) in (1..).zip(rewrites) {
        let login = world.login.clone();
        let rewriting = thread::spawn(move || rewrite.iter().for_each(|statement| drop(login.sql(statement))));
        thread::sleep(Duration::from_millis(700));
        let _scratch = world.scratch();
        let parameters = BackupParameters {
            proof: ProofLevel::Restored,
            attempt,
            // On a busy machine the dump takes long enough to make the rewrites wait.
            yield_to_ddl: false,
            ..world.parameters(&[world.volume()])
        };
        let result = world.backup(&parameters).await.unwrap();
        rewriting.join().unwrap();
        let manifest = world.manifest(&world.volume(), &result).await;
        let orders = manifest.content.tables.iter().find(|table| table.name == "orders").unwrap();
        assert_eq!(orders.rows, 1000, "{rewrite:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_44_rows_that_come_and_go_meanwhile_do_not_matter() {
    let world = World::start(SHOP).await;
    let login = world.login.clone();
    let mut writer: std::process::Child = {
        let mut psql: Command = login.psql();
        let endless = "DO $$ BEGIN LOOP INSERT INTO orders (note) VALUES ('x'); COMMIT; END LOOP; END $$";
        psql.args(["--command", endless]).spawn().unwrap()
    };
    let _scratch = world.scratch();
    let parameters = BackupParameters { proof: ProofLevel::Restored, ..world.parameters(&[world.volume()]) };
    let result = world.backup(&parameters).await;
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(result.unwrap().rows >= 1012);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_has_keys_of_its_own_and_nothing_is_written_twice() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    let storages = [s3_target(&s3), world.volume()];
    let first = world.backup(&world.parameters(&storages)).await.unwrap();
    let before = [files(&s3.objects), files(&world.path("volume"))].concat();
    let second = world.backup(&BackupParameters { attempt: 2, ..world.parameters(&storages) }).await.unwrap();
    for (one, two) in first.copies.iter().zip(&second.copies) {
        assert_ne!(one.manifest, two.manifest);
    }
    let after = [files(&s3.objects), files(&world.path("volume"))].concat();
    assert!(before.iter().all(|file| after.contains(file)));
    for (storage, copy) in storages.iter().zip(&first.copies) {
        world.prove(storage, copy, ProofLevel::Readable).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_who_it_must_be_is_not_read() {
    let world = World::start(SHOP).await;
    let mut parameters = world.parameters(&[world.volume()]);
    parameters.database.expect.as_mut().unwrap().system_identifier = "1".into();
    let refusal = world.backup(&parameters).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::IdentityUncertain, "{refusal:?}");
    let mut parameters = world.parameters(&[world.volume()]);
    parameters.database.expect = None;
    assert_eq!(world.backup(&parameters).await.unwrap_err().reason, Reason::NotMarked);
    assert!(files(&world.path("volume")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_behind_a_policy_are_counted_and_dumped_or_the_backup_is_refused() {
    let world = World::start(SHOP).await;
    world.login.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; ALTER TABLE orders FORCE ROW LEVEL SECURITY");
    let refusal = world.backup(&world.parameters(&[world.volume()])).await.unwrap_err();
    assert!([Reason::InsufficientPrivilege, Reason::BackupFailed].contains(&refusal.reason), "{refusal:?}");
    assert!(refusal.message.contains("row-level security"), "{refusal:?}");
    assert!(files(&world.path("volume")).is_empty());

    world.postgres.superuser("shop").sql("ALTER ROLE shop BYPASSRLS");
    let _scratch = world.scratch();
    let parameters =
        BackupParameters { attempt: 2, proof: ProofLevel::Restored, ..world.parameters(&[world.volume()]) };
    assert_eq!(world.backup(&parameters).await.unwrap().rows, 1012);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_29_tools_of_another_major_version_are_refused() {
    let world = World::start(SHOP).await;
    let programs = world.path("programs");
    std::fs::create_dir(&programs).unwrap();
    let script = "#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9 (Debian)'\n";
    let file = programs.join("pg_dump");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let places = switchback::agent::backup::Places { programs, ..world.places() };
    let parameters = world.parameters(&[world.volume()]);
    let refusal = switchback::agent::backup::run(&parameters, &places, crate::world::SMALL).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::UnsupportedVersion);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a gigabyte takes minutes in a program that is not optimised"]
async fn memory_does_not_grow_with_the_database() {
    let big = "CREATE TABLE big AS SELECT n, sha512(n::text::bytea) a FROM generate_series(1, 4500000) n";
    let (world, s3) = (World::start(big).await, S3::start());
    let _scratch = world.scratch();
    let parameters = BackupParameters {
        proof: ProofLevel::Restored,
        timeout: switchback::api::Duration::from_secs(900),
        ..world.parameters(&[s3_target(&s3), world.volume()])
    };
    let agent = world.agent(&parameters);
    let status = format!("/proc/{}/status", agent.child.id());
    let watching = thread::spawn(move || {
        let (mut most, mut anonymous) = (0_u64, 0_u64);
        while let Ok(text) = std::fs::read_to_string(&status) {
            let kib = |name: &str| -> Option<u64> {
                text.lines().find_map(|line| line.strip_prefix(name))?.trim().trim_end_matches(" kB").parse().ok()
            };
            let (Some(now), Some(its_own)) = (kib("VmHWM:"), kib("RssAnon:")) else { break };
            (most, anonymous) = (most.max(now), anonymous.max(its_own));
            thread::sleep(Duration::from_millis(50));
        }
        (most, anonymous)
    });
    let (code, answer, _) = agent.end();
    let (most, anonymous) = watching.join().unwrap();
    println!("{most} KiB at most, {anonymous} KiB without the program itself: {answer:?}");
    assert_eq!(code, Some(0), "{answer:?}");
    assert!(most < 64 << 10, "{most} KiB");
}

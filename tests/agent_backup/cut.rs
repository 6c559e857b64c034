//! Backups that are cut: nothing may be left that looks like one.

use std::{thread, time::Duration};

use switchback::{
    api::{Duration as Wait, ProofLevel, Reason},
    protocol::{BackupParameters, StorageTarget},
};

use crate::{
    support::{
        process::{signal, soon},
        s3::S3,
    },
    world::{Agent, World, children, command, files, s3_target},
};

/// More than the pipe and the buffers between server and storage hold.
const BIG: &str = "CREATE TABLE big AS SELECT n, sha512(n::text::bytea) a FROM generate_series(1, 400000) n";

/// A world whose backup goes to both kinds of storage and is stopped in the middle of its dump.
struct Stopped {
    world: World,
    s3: S3,
    storages: Vec<StorageTarget>,
    agent: Agent,
    dump: u32,
}

impl Stopped {
    async fn new(change: impl FnOnce(BackupParameters) -> BackupParameters) -> Self {
        let (world, s3) = (World::start(BIG).await, S3::start());
        let storages = vec![s3_target(&s3), world.volume()];
        let agent = world.agent(&change(world.parameters(&storages)));
        let dump = world.stop_dump(&agent);
        Self { world, s3, storages, agent, dump }
    }

    /// Fails when anything is left that could be seen, or of an upload.
    fn assert_nothing_is_left(world: &World, s3: &S3) {
        let left = [files(&s3.objects), files(&world.path("volume")), files(&world.path("memory"))].concat();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_43_a_dump_whose_backend_is_ended_leaves_nothing() {
    let Stopped { world, s3, agent, dump, .. } = Stopped::new(|parameters| parameters).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %'";
    world.postgres.superuser("shop").sql(end);
    signal("CONT", dump);
    let refusal = agent.refused();
    assert_eq!(refusal.reason, Reason::BackupFailed, "{refusal:?}");
    assert!(refusal.message.contains("pg_dump"), "{refusal:?}");
    Stopped::assert_nothing_is_left(&world, &s3);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_43_a_dump_that_is_killed_leaves_nothing() {
    let Stopped { world, s3, agent, dump, .. } = Stopped::new(|parameters| parameters).await;
    signal("KILL", dump);
    assert_eq!(agent.refused().reason, Reason::BackupFailed);
    Stopped::assert_nothing_is_left(&world, &s3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_asked_to_end_takes_everything_back() {
    let Stopped { world, s3, agent, dump, .. } = Stopped::new(|parameters| parameters).await;
    signal("TERM", agent.child.id());
    let refusal = agent.refused();
    assert!(refusal.message.contains("asked to end"), "{refusal:?}");
    assert!(soon(|| command(dump).is_empty()));
    Stopped::assert_nothing_is_left(&world, &s3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_keeps_its_deadline_by_itself() {
    let short = |parameters| BackupParameters { timeout: Wait::from_secs(25), ..parameters };
    let Stopped { world, s3, agent, .. } = Stopped::new(short).await;
    assert_eq!(agent.refused().reason, Reason::DeadlineExceeded);
    Stopped::assert_nothing_is_left(&world, &s3);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'switchback %'";
    assert!(soon(|| world.postgres.superuser("shop").sql(sessions) == "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_gives_way_to_somebody_who_changes_a_table() {
    let Stopped { world, s3, agent, .. } = Stopped::new(|parameters| parameters).await;
    let login = world.login.clone();
    let changing = thread::spawn(move || login.sql("ALTER TABLE big ADD COLUMN more int"));
    let refusal = agent.refused();
    assert_eq!(refusal.reason, Reason::YieldedToDDL, "{refusal:?}");
    assert!(refusal.message.contains("big"), "{refusal:?}");
    changing.join().unwrap();
    Stopped::assert_nothing_is_left(&world, &s3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_must_not_give_way_goes_on() {
    let stay = |parameters| BackupParameters { yield_to_ddl: false, ..parameters };
    let Stopped { world, s3, agent, dump, .. } = Stopped::new(stay).await;
    let login = world.login.clone();
    let changing = thread::spawn(move || login.sql("ALTER TABLE big ADD COLUMN more int"));
    thread::sleep(Duration::from_secs(8));
    signal("CONT", dump);
    let (code, answer, _) = agent.end();
    assert_eq!(code, Some(0), "{answer:?}: {}", s3.log());
    changing.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_left_is_removed_by_the_next_attempt() {
    let Stopped { world, s3, storages, mut agent, .. } = Stopped::new(|parameters| parameters).await;
    // Its dump ends with it, or the lock on the tables would stay.
    let dumps = children(agent.child.id());
    let uploads =
        |s3: &S3| files(&s3.objects).iter().filter(|file| file.display().to_string().contains("multipart")).count();
    assert!(soon(|| uploads(&s3) > 0), "{:?}", files(&s3.objects));
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    dumps.into_iter().for_each(|pid| signal("KILL", pid));
    let staged = |world: &World| {
        files(&world.path("volume")).iter().filter(|file| file.display().to_string().contains('#')).count()
    };
    assert!(staged(&world) > 0, "{:?}", files(&world.path("volume")));

    let parameters = BackupParameters { attempt: 2, proof: ProofLevel::Readable, ..world.parameters(&storages) };
    world.backup(&parameters).await.unwrap();
    assert_eq!(uploads(&s3), 0, "{:?}", files(&s3.objects));
    assert_eq!(staged(&world), 0, "{:?}", files(&world.path("volume")));
}

//! Migrations on a restored copy: what is seen there, what is refused there, and that nothing else is touched.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde::de::DeserializeOwned;
use switchback::{
    agent::postgres::{connect, fingerprint::Catalogue},
    api::{Duration as Wait, Environment, ProofLevel, Reason, Taken},
    protocol::{
        Answer, BackupParameters, BackupResult, DatabaseTarget, MigrateParameters, MigrateResult, MigrationState,
        MigrationWork, ProofSeconds, RESULT_BYTES, Refusal, RehearseParameters, RehearseResult, StorageTarget,
    },
};

use crate::{
    support::{
        postgres::bin,
        process::{Running, free_port, soon},
        s3::S3,
    },
    world::{SHOP, World, s3_target},
};

const RELEASE: &str = "6f1b3c60-0000-4000-8000-00000000000a";
const REVISION: &str = "v1-0123456789";

/// A database with a backup, and the scratch container beside.
struct Scene {
    world: World,
    storage: StorageTarget,
    backup: BackupResult,
    port: u16,
    _scratch: Running,
    _s3: S3,
}

impl Scene {
    async fn start(statements: &str) -> Self {
        let (world, s3) = (World::start(statements).await, S3::start());
        let storage = s3_target(&s3);
        let parameters =
            BackupParameters { proof: ProofLevel::Readable, ..world.parameters(std::slice::from_ref(&storage)) };
        let backup = world.backup(&parameters).await.unwrap();
        let port = free_port();
        let scratch = world.scratch_at(port);
        Self { world, storage, backup, port, _scratch: scratch, _s3: s3 }
    }

    fn parameters(&self, work: MigrationWork) -> RehearseParameters {
        let copy = DatabaseTarget {
            name: "the copy of shop".into(),
            secret: self.world.path("sockets").join("database"),
            environment: Environment::Production,
            expect: None,
            endpoint: None,
        };
        RehearseParameters {
            storage: self.storage.clone(),
            copy: self.backup.copies[0].clone(),
            migration: MigrateParameters {
                database: copy,
                release_uid: RELEASE.into(),
                revision: REVISION.into(),
                backup_uid: self.world.uid.clone(),
                idempotent: false,
                schema: String::new(),
                again: false,
                work,
                timeout: Wait::from_secs(60),
                lock_timeout: Wait::from_millis(500),
            },
            down: Vec::new(),
            production: self.backup.database.endpoint.clone(),
        }
    }

    fn sql(&self, files: &[(&str, &str)]) -> RehearseParameters {
        let folder = self.world.folder.secret("sql", files);
        let checksum = switchback::agent::migrate::files::read(&folder).unwrap().checksum;
        self.parameters(MigrationWork::Sql { folder, checksum })
    }

    fn command(&self, script: &str) -> RehearseParameters {
        self.parameters(MigrationWork::Command { argv: shell(script), direct: false })
    }

    /// Runs one container's agent.
    fn run<T: DeserializeOwned + std::fmt::Debug>(
        &self,
        verb: &str,
        parameters: &RehearseParameters,
    ) -> Result<T, Refusal> {
        let result = self.world.path("rehearsed");
        let _ = fs::remove_file(&result);
        let path = std::env::var("PATH").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_switchback-agent"))
            .args([verb, "--parameters", &serde_json::to_string(parameters).unwrap(), "--result"])
            .arg(&result)
            .arg("--memory")
            .arg(self.world.path("memory"))
            .arg("--shared")
            .arg(self.world.path("sockets"))
            .env("PATH", format!("{}:{path}", bin().display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let text = fs::read_to_string(&result).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(text.len() <= RESULT_BYTES, "{text}");
        assert!(!text.contains("password-of-") && !said.contains("password-of-"), "{text} {said}");
        match serde_json::from_str(&text).unwrap() {
            Answer::Done(done) => {
                assert_eq!(output.status.code(), Some(0), "{said}");
                Ok(done)
            }
            Answer::Refused(refusal) => {
                assert_eq!(output.status.code(), Some(1), "{said}");
                Err(refusal)
            }
        }
    }

    /// Runs what the pod's containers run, in their order.
    fn rehearse(&self, parameters: &RehearseParameters) -> Result<RehearseResult, Refusal> {
        self.run::<ProofSeconds>("rehearse-restore", parameters)?;
        self.run::<serde_json::Value>("rehearse-migrate", parameters)?;
        self.run("rehearse", parameters)
    }

    async fn schema(&self) -> String {
        let session = connect(&self.world.target, "test").await.unwrap();
        Catalogue::read(&session.client).await.unwrap().fingerprint()
    }

    /// Asks the copy as a container of users does: through the port, without a password, as anybody.
    fn ask(&self, statement: &str) -> Result<String, String> {
        let url = format!("postgres://anybody@127.0.0.1:{}/anything?sslmode=disable", self.port);
        let psql = Command::new(bin().join("psql")).args(["-XAtc", statement, &url]).env_clear().output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if psql.status.success() { Ok(text(&psql.stdout)) } else { Err(text(&psql.stderr)) }
    }
}

fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_tells_time_locks_rewrites_and_rows_and_touches_nothing_else() {
    let scene = Scene::start(SHOP).await;
    let before = scene.schema().await;
    assert_eq!(scene.backup.schema, before);
    let files = [
        ("001_wide.sql", "ALTER TABLE orders ALTER COLUMN id TYPE numeric; SELECT pg_sleep(0.4);"),
        ("002_mark.sql", "UPDATE orders SET note = note || '!' WHERE id > 0;"),
    ];
    let result = scene.rehearse(&scene.sql(&files)).unwrap();
    let findings = result.findings;
    assert!(result.restored.restore > 0.0 && result.restored.check > 0.0);
    assert!(findings.took >= Wait::from_millis(400), "{findings:?}");
    assert_eq!(findings.files[0].name, "001_wide.sql");
    assert!(findings.files[0].took >= Wait::from_millis(400) && findings.files.len() == 2, "{findings:?}");
    let lock = findings.locks.iter().find(|lock| lock.table == "public.orders").unwrap();
    assert_eq!(lock.mode, "AccessExclusiveLock");
    assert!(lock.held >= Wait::from_millis(300), "{findings:?}");
    assert_eq!(findings.rewritten, ["public.orders"]);
    assert!(findings.rows >= 1000 && findings.changes == 1, "{findings:?}");
    // No NetworkPolicy stands between the two here; where nothing answers, that is told.
    assert!(findings.reaches_production);
    let apart = Scene::start(SHOP).await;
    let production = format!("127.0.0.1:{}", free_port());
    let findings = apart.rehearse(&RehearseParameters { production, ..apart.sql(&files) }).unwrap().findings;
    assert!(!findings.reaches_production);
    assert_eq!(scene.schema().await, before);
    assert_eq!(scene.world.login.sql("SELECT count(*) FROM switchback.ledger"), "0");
    assert_eq!(scene.world.login.sql("SELECT note FROM orders WHERE id = 1"), "order 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_on_the_copy_names_its_statement_and_an_unreachable_production_is_told() {
    let scene = Scene::start(SHOP).await;
    let before = scene.schema().await;
    let files = [("001_a.sql", "CREATE TABLE a ();"), ("002_b.sql", "SELECT 1;\nALTER TABLE nowhere ADD b int;")];
    let production = format!("127.0.0.1:{}", free_port());
    let parameters = RehearseParameters { production, ..scene.sql(&files) };
    let refusal = scene.rehearse(&parameters).unwrap_err();
    assert_eq!(refusal.reason, Reason::RehearsalFailed);
    let said = &refusal.message;
    assert!(said.contains("On a restored copy") && said.contains("002_b.sql line 2: ALTER TABLE nowhere"), "{said}");
    assert!(said.contains("1 of 2 pending files were applied"), "{said}");
    assert_eq!(scene.schema().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_owners_may_do_in_production_they_may_do_on_the_copy() {
    let setup = format!(
        "{SHOP} CREATE SCHEMA app; CREATE TABLE app.inside (id int); ALTER DATABASE shop SET search_path = app, public"
    );
    let scene = Scene::start(&setup).await;
    // A setting of the database, a role that owns things, a grant to it.
    let files = [(
        "001.sql",
        "ALTER TABLE inside ADD note text; ALTER TABLE orders OWNER TO shop; GRANT SELECT ON inside TO shop; \
         SET ROLE shop; ALTER TABLE app.inside ADD more int; RESET ROLE; ALTER TABLE app.inside ADD last int;",
    )];
    let findings = scene.rehearse(&scene.sql(&files)).unwrap().findings;
    assert_eq!(findings.changes, 3, "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_33_a_command_that_never_came_to_the_copy_or_lacks_what_was_secret_fails() {
    let scene = Scene::start(SHOP).await;
    let refusal = scene.rehearse(&scene.command("exit 0")).unwrap_err();
    assert_eq!(refusal.reason, Reason::RehearsalFailed);
    assert!(refusal.message.contains("MigrationResultMismatch: the command ended with exit code 0"), "{refusal:?}");
    // The other way round: it has committed, and says that it failed.
    let scene = Scene::start(SHOP).await;
    let committed = "psql -v ON_ERROR_STOP=1 -c 'CREATE TABLE half (id int)' && test -n \"$PAYMENT_TOKEN\"";
    let refusal = scene.rehearse(&scene.command(committed)).unwrap_err();
    assert_eq!(refusal.reason, Reason::RehearsalFailed);
    assert!(refusal.message.contains("ended with exit code 1"), "{refusal:?}");
    assert_eq!(scene.world.login.sql("SELECT to_regclass('half') IS NULL"), "t", "production has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn down_is_tried_and_must_restore_the_schema() {
    let up = "psql -v ON_ERROR_STOP=1 -c 'ALTER TABLE orders ADD slot int' -c 'CREATE TABLE slots (id int)'";
    let scene = Scene::start(SHOP).await;
    let good = "psql -v ON_ERROR_STOP=1 -c 'ALTER TABLE orders DROP slot' -c 'DROP TABLE slots'";
    let parameters = RehearseParameters { down: shell(good), ..scene.command(up) };
    scene.run::<ProofSeconds>("rehearse-restore", &parameters).unwrap();
    scene.run::<serde_json::Value>("rehearse-migrate", &parameters).unwrap();
    // What a container of the old version does: it works on the migrated copy and cannot be told to let go of it.
    assert_eq!(scene.ask("SELECT count(slot), count(*) FROM orders").unwrap(), "0|1000");
    let findings = scene.run::<RehearseResult>("rehearse", &parameters).unwrap().findings;
    assert!(findings.down.is_some() && findings.changes == 3, "{findings:?}");
    let taken = |table: &str, column: Option<&str>| Taken { table: table.into(), column: column.map(str::to_owned) };
    assert_eq!(findings.takes, [taken("public.orders", Some("slot")), taken("public.slots", None)]);
    assert!(scene.ask("SELECT 1").is_err());

    let scene = Scene::start(SHOP).await;
    let parameters = RehearseParameters { down: shell("psql -c 'DROP TABLE slots'"), ..scene.command(up) };
    let refusal = scene.rehearse(&parameters).unwrap_err();
    assert_eq!(refusal.reason, Reason::RehearsalFailed);
    assert!(
        refusal.message.contains("does not restore the schema")
            && refusal.message.contains("column public.orders.slot is new"),
        "{refusal:?}"
    );

    let scene = Scene::start(SHOP).await;
    let parameters = RehearseParameters { down: shell("psql -c 'SELECT oops'; exit 3"), ..scene.command(up) };
    let refusal = scene.rehearse(&parameters).unwrap_err();
    assert!(refusal.message.contains("ended with exit code 3"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_backup_of_this_attempt_is_restored_and_only_whole() {
    let scene = Scene::start(SHOP).await;
    let mut parameters = scene.command("exit 0");
    parameters.migration.backup_uid = uuid::Uuid::new_v4().to_string();
    let refusal = scene.rehearse(&parameters).unwrap_err();
    assert_eq!(refusal.reason, Reason::BackupVerificationFailed);
    let mut parameters = scene.command("exit 0");
    parameters.copy.sha256 = "0".repeat(64);
    let refusal = scene.rehearse(&parameters).unwrap_err();
    assert!(refusal.message.contains("was altered"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_changed_since_the_backup_is_not_migrated_and_a_way_back_makes_it_due_again() {
    let scene = Scene::start(SHOP).await;
    let migrate = |work, schema: &str| {
        let expect = scene.world.target.clone();
        let rehearsed = scene.parameters(work).migration;
        let parameters = MigrateParameters { database: expect, schema: schema.to_owned(), ..rehearsed };
        let result = scene.world.path("migrated");
        let status = Command::new(env!("CARGO_BIN_EXE_switchback-agent"))
            .args(["migrate", "--parameters", &serde_json::to_string(&parameters).unwrap(), "--result"])
            .arg(&result)
            .arg("--memory")
            .arg(scene.world.path("memory"))
            .env("PATH", format!("{}:{}", bin().display(), std::env::var("PATH").unwrap()))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.code().is_some());
        serde_json::from_str::<Answer<MigrateResult>>(&fs::read_to_string(result).unwrap()).unwrap()
    };
    let up = || MigrationWork::Command { argv: shell("psql -c 'CREATE TABLE slots (id int)'"), direct: false };
    let takes = || {
        let (slots, note) = (("public.slots", None), ("public.orders", Some("gone")));
        let taken =
            |(table, column): (&str, Option<&str>)| Taken { table: table.into(), column: column.map(str::to_owned) };
        Some(vec![taken(slots), taken(note)])
    };
    let down = || MigrationWork::Down { argv: shell("psql -c 'DROP TABLE slots'"), takes: takes(), direct: false };
    scene.world.login.sql("CREATE INDEX somebody ON orders (note)");
    match migrate(up(), &scene.backup.schema) {
        Answer::Refused(refusal) => assert_eq!(refusal.reason, Reason::SchemaChanged, "{refusal:?}"),
        Answer::Done(done) => panic!("{done:?}"),
    }
    scene.world.login.sql("DROP INDEX somebody");
    let state = |answer| match answer {
        Answer::Done(MigrateResult { state, problem: None, .. }) => state,
        other => panic!("{other:?}"),
    };
    // The ledger of an earlier version could not say it.
    scene.world.login.sql("ALTER TABLE switchback.ledger DROP CONSTRAINT ledger_state_check, ADD CONSTRAINT ledger_state_check CHECK (state IN ('Started', 'Applied', 'Failed'))");
    // Nothing to take back yet.
    assert_eq!(state(migrate(down(), "")), MigrationState::Undone);
    assert_eq!(state(migrate(up(), &scene.backup.schema)), MigrationState::Applied);
    // Not at the cost of a row, nor of what a column holds beyond its default.
    let costs = |statement: &str, cost: &str| {
        scene.world.login.sql(statement);
        match migrate(down(), "") {
            Answer::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::WouldLoseData, "{refusal:?}");
                assert!(refusal.message.contains(cost), "{refusal:?}");
            }
            Answer::Done(done) => panic!("{done:?}"),
        }
    };
    costs("INSERT INTO slots VALUES (1), (2)", "2 rows of public.slots would be lost");
    costs(
        "TRUNCATE slots; ALTER TABLE orders ADD gone text DEFAULT 'none'; UPDATE orders SET gone = 'x' WHERE id < 4",
        "what column gone of public.orders holds in 3 rows",
    );
    scene.world.login.sql("UPDATE orders SET gone = 'none'");
    assert_eq!(state(migrate(down(), "")), MigrationState::Undone);
    scene.world.login.sql("ALTER TABLE orders DROP gone");
    assert_eq!(scene.world.login.sql("SELECT state FROM switchback.ledger"), "Undone");
    assert_eq!(scene.schema().await, scene.backup.schema);
    // Taken back once, and due again.
    assert_eq!(state(migrate(down(), "")), MigrationState::Undone);
    assert_eq!(state(migrate(up(), &scene.backup.schema)), MigrationState::Applied);
    assert_eq!(scene.world.login.sql("SELECT count(*) FROM slots"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_goes_with_its_container() {
    let scene = Scene::start(SHOP).await;
    scene.run::<ProofSeconds>("rehearse-restore", &scene.command("exit 0")).unwrap();
    let folder: PathBuf = scene.world.path("sockets").join("database");
    let port = fs::read_to_string(folder.join("port")).unwrap();
    let Scene { _scratch: scratch, .. } = scene;
    crate::support::process::signal("TERM", scratch.pid());
    assert!(soon(|| !scratch.is_alive()));
    assert!(soon(|| std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err()));
}

//! A backup that takes the place of its database: everything that it was, nothing of what it must not be, and the same end
//! wherever the agent is killed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde::de::DeserializeOwned;
use switchback::{
    agent::postgres::connect,
    api::{DataLoss, Duration as Wait, ProofLevel, Reason, TableLoss},
    protocol::{
        Answer, BackupParameters, BackupResult, RESULT_BYTES, Refusal, RestoreDataParameters, RestoreDataResult,
        RoleTarget, SafetyBackup,
    },
};
use uuid::Uuid;

use crate::{
    support::{
        postgres::{Login, bin},
        process::soon,
    },
    world::{SHOP, World},
};

/// What a database is beyond what is in it.
const DRESS: &str = "SELECT d.datdba::regrole, (SELECT array_agg(a::text ORDER BY a::text) \
       FROM unnest(d.datacl) a), d.datconnlimit, shobj_description(d.oid, 'pg_database'), \
     pg_encoding_to_char(d.encoding), d.datcollate, \
     (SELECT array_agg(coalesce(r.rolname, '') || s.setconfig::text ORDER BY 1) FROM pg_db_role_setting s \
       LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid) \
     FROM pg_database d WHERE datname = 'shop'";
/// Every database of users, and whether it is open.
const DATABASES: &str = "SELECT string_agg(datname || CASE WHEN datallowconn THEN '' ELSE ' closed' END, ',' \
     ORDER BY datname) FROM pg_database WHERE datname LIKE 'shop%'";
const REPLACED: &str = "shop,shop_before_a1 closed";

/// A database with a backup, and a role that may make databases.
struct Scene {
    world: World,
    backup: BackupResult,
    admin: Login,
    root: Login,
}

impl Scene {
    async fn start(statements: &str) -> Self {
        Self::of(World::start(statements).await).await
    }

    async fn of(world: World) -> Self {
        let root = world.postgres.superuser("postgres");
        root.sql("CREATE ROLE keeper LOGIN CREATEDB PASSWORD 'password-of-keeper'; GRANT shop TO keeper");
        root.sql("GRANT pg_signal_backend, pg_read_all_stats TO keeper");
        let admin = world.postgres.login("shop", "keeper", "password-of-keeper");
        let parameters = BackupParameters { proof: ProofLevel::Readable, ..world.parameters(&[world.volume()]) };
        let backup = world.backup(&parameters).await.unwrap();
        Self { world, backup, admin, root }
    }

    fn parameters(&self) -> RestoreDataParameters {
        RestoreDataParameters {
            database: self.world.target.clone(),
            reader: RoleTarget { secret: self.world.login.secret.clone() },
            admin: RoleTarget { secret: self.admin.secret.clone() },
            maintenance: "postgres".into(),
            storage: self.world.volume(),
            copy: self.backup.copies[0].clone(),
            backup_uid: self.world.uid.clone(),
            id: "a1".into(),
            capacity_bytes: 4 << 30,
            safety: SafetyBackup {
                storages: vec![self.world.volume()],
                backup_uid: Uuid::new_v4().to_string(),
                attempt: 1,
                proof: ProofLevel::Readable,
            },
            timeout: Wait::from_secs(120),
        }
    }

    fn begin(&self, verb: &str, parameters: &RestoreDataParameters) -> Run {
        let result = self.world.path(&format!("result-{}", Uuid::new_v4()));
        let child = Command::new(env!("CARGO_BIN_EXE_switchback-agent"))
            .args([verb, "--parameters", &serde_json::to_string(parameters).unwrap()])
            .args([Path::new("--result"), &result, Path::new("--programs"), bin()])
            .args([
                Path::new("--memory"),
                &self.world.path("memory"),
                Path::new("--scratch"),
                &self.world.path("sockets"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = child.unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Run { child, said, result }
    }

    fn loss(&self, parameters: &RestoreDataParameters) -> Result<DataLoss, Refusal> {
        self.begin("restore-loss", parameters).end()
    }

    fn restore(&self, parameters: &RestoreDataParameters) -> Result<RestoreDataResult, Refusal> {
        self.begin("restore-data", parameters).end()
    }

    /// Fails unless both verbs refuse, and nothing has changed.
    fn refused(&self, parameters: &RestoreDataParameters, reason: Reason, words: &str) {
        let before = self.root.sql(DATABASES);
        let refusals = [self.loss(parameters).unwrap_err(), self.restore(parameters).unwrap_err()];
        for refusal in refusals {
            assert_eq!(refusal.reason, reason, "{refusal:?}");
            assert!(refusal.message.contains(words), "{refusal:?}");
        }
        assert_eq!(self.root.sql(DATABASES), before);
    }

    /// Fails unless the backup serves, and nothing else is left than the former database.
    fn is_replaced(&self, result: &RestoreDataResult) {
        assert_eq!(self.root.sql(DATABASES), REPLACED);
        assert_eq!(self.world.login.sql("SELECT count(*), max(id) FROM orders"), "1000|1000");
        assert_eq!(result.before, "shop_before_a1");
        let oid = |name: &str| self.root.sql(&format!("SELECT oid FROM pg_database WHERE datname = '{name}'"));
        assert_eq!(oid("shop"), result.database.identity.oid.to_string());
        assert_eq!(oid("shop_before_a1"), result.before_oid.to_string());
        let was = self.world.target.expect.as_ref().unwrap();
        assert_eq!(result.before_oid, was.oid);
        let marker = |identity: &switchback::protocol::Identity| identity.marker.as_ref().unwrap().uuid;
        assert_ne!(marker(&result.database.identity), marker(was));
    }

    /// Lets a superuser look into the former database.
    fn before(&self, statement: &str) -> String {
        self.root.sql("ALTER DATABASE shop_before_a1 ALLOW_CONNECTIONS true");
        let said = self.world.postgres.superuser("shop_before_a1").sql(statement);
        self.root.sql("ALTER DATABASE shop_before_a1 ALLOW_CONNECTIONS false");
        said
    }
}

/// The agent at work.
struct Run {
    child: Child,
    said: BufReader<ChildStdout>,
    result: PathBuf,
}

impl Run {
    /// Waits until it says a line that begins like this.
    fn until(&mut self, begin: &str) {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended before it said {begin:?}: {all}");
            if line.starts_with(begin) {
                return;
            }
            all.push_str(&line);
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn end<T: DeserializeOwned>(mut self) -> Result<T, Refusal> {
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.said, &mut said).unwrap();
        let code = self.child.wait().unwrap().code();
        let text = fs::read_to_string(&self.result).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(text.len() <= RESULT_BYTES, "{text}");
        assert!(!text.contains("password-of-") && !said.contains("password-of-"), "{text} {said}");
        match serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")) {
            Answer::Done(done) => {
                assert_eq!(code, Some(0), "{said}");
                Ok(done)
            }
            Answer::Refused(refusal) => {
                assert_eq!(code, Some(1), "{said}");
                Err(refusal)
            }
        }
    }
}

fn table(name: &str, was: Option<i64>, is: Option<i64>, written: Option<i64>) -> TableLoss {
    TableLoss { table: name.into(), was, is, written }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_the_place_of_its_database_with_everything_that_it_was() {
    let setup = format!("{SHOP} CREATE EXTENSION pg_trgm; CREATE SCHEMA app; CREATE TABLE app.inside (id int)");
    let world = World::start(&setup).await;
    let root = world.postgres.superuser("shop");
    root.sql("CREATE ROLE teller; CREATE ROLE reader; COMMENT ON DATABASE shop IS 'the shop''s'");
    for statement in [
        "ALTER DATABASE shop SET search_path = \"$user\", app, public",
        "ALTER DATABASE shop CONNECTION LIMIT 50",
        "REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC",
        "GRANT CONNECT ON DATABASE shop TO reader WITH GRANT OPTION",
        "ALTER ROLE teller IN DATABASE shop SET statement_timeout = '30s'",
    ] {
        root.sql(statement);
    }
    world.login.sql("GRANT SELECT, INSERT ON orders TO teller; COMMENT ON TABLE orders IS 'kept'");
    drop(root);
    let scene = Scene::of(world).await;
    // Settings of other roles are set by who may.
    scene.root.sql("ALTER ROLE keeper CREATEROLE");
    let dress = scene.root.sql(DRESS);
    let shop = |statement: &str| scene.world.login.sql(statement);
    shop(
        "INSERT INTO orders (note) SELECT 'new' FROM generate_series(1, 5); UPDATE orders SET note = 'x' WHERE id < 4",
    );
    shop("DELETE FROM orders WHERE id = 10; CREATE TABLE added AS SELECT generate_series(1, 7); DROP TABLE empty");

    let loss = scene.loss(&scene.parameters()).unwrap();
    let expected = [
        table("public.orders", Some(1000), Some(1004), Some(8)),
        table("app.added", None, Some(7), Some(7)),
        table("public.empty", Some(0), None, None),
    ];
    assert_eq!((loss.rows, loss.more, loss.tables.as_slice()), (15, 0, expected.as_slice()));
    assert_eq!(scene.root.sql(DATABASES), "shop");

    let parameters = scene.parameters();
    let result = scene.restore(&parameters).unwrap();
    scene.is_replaced(&result);
    assert_eq!(result.loss.tables, expected);
    assert!(result.loss.seconds >= loss.seconds);
    assert_eq!(scene.root.sql(DRESS), dress);
    assert_eq!(shop("SELECT note FROM orders WHERE id = 1"), "order 1");
    assert_eq!(
        shop("SELECT has_table_privilege('teller', 'orders', 'INSERT'), obj_description('orders'::regclass)"),
        "t|kept"
    );
    assert_eq!(shop("SELECT count(*) FROM pg_stats WHERE tablename = 'orders'"), "2");
    assert_eq!(scene.before("SELECT count(*) FROM orders"), "1004");
    let safety = scene.world.prove(&scene.world.volume(), &result.safety[0], ProofLevel::Readable).await;
    safety.unwrap();
    // Whoever knew the former one does not take this one for it.
    let taken = connect(&scene.world.target, "test").await.err().unwrap();
    assert_eq!(taken.reason, Reason::IdentityUncertain, "{taken:?}");
    // Nothing is done twice.
    assert_eq!(scene.restore(&parameters).unwrap(), result);
    assert_eq!(scene.loss(&parameters).unwrap_err().reason, Reason::RestoreFailed);
}

/// The same in another Job: each has a number of its own, and so have the keys of what it backs up.
fn nth(parameters: &RestoreDataParameters, attempt: u8) -> RestoreDataParameters {
    let safety = SafetyBackup { attempt: attempt.into(), ..parameters.safety.clone() };
    RestoreDataParameters { safety, ..parameters.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_stage_the_next_attempt_ends_the_same() {
    let scene = Scene::start(SHOP).await;
    let parameters = scene.parameters();
    for (number, stage) in (1..).zip(["restoring", "restored and equal", "lost: ", "backed up"]) {
        let mut run = scene.begin("restore-data", &nth(&parameters, number));
        run.until(stage);
        run.kill();
        assert!(scene.root.sql(DATABASES).starts_with("shop,shop_restore_a1"), "{stage}");
        assert_eq!(scene.world.login.sql("SELECT count(*) FROM orders"), "1000", "{stage}");
    }
    // It is closed while somebody is in it whom this role cannot end.
    let inside = Inside::enter(&scene, "shop", "");
    let mut run = scene.begin("restore-data", &nth(&parameters, 5));
    run.until("closed");
    run.kill();
    assert_eq!(scene.root.sql(DATABASES), "shop closed,shop_restore_a1 closed");
    drop(inside);
    let result = scene.restore(&nth(&parameters, 6)).unwrap();
    scene.is_replaced(&result);
    assert_eq!(scene.restore(&nth(&parameters, 7)).unwrap(), result);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_ends_the_same() {
    let scene = Scene::start(SHOP).await;
    let parameters = scene.parameters();
    // However fast this machine is, some of these fall into the swap.
    for number in 0_u8..14 {
        let mut run = scene.begin("restore-data", &nth(&parameters, number + 1));
        if number % 2 == 0 {
            thread::sleep(Duration::from_millis(100 + u64::from(number) * 60));
        } else if scene.root.sql(DATABASES) != REPLACED {
            run.until("closing");
            thread::sleep(Duration::from_millis(number.into()));
        }
        run.kill();
        let serves = scene.root.sql("SELECT count(*) FROM pg_database WHERE datname = 'shop'");
        assert_eq!(serves, "1", "after {number}");
    }
    let result = scene.restore(&nth(&parameters, 15)).unwrap();
    scene.is_replaced(&result);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_one_restore() {
    let scene = Scene::start(SHOP).await;
    let parameters = scene.parameters();
    let runs: Vec<Run> = (0..2).map(|_| scene.begin("restore-data", &parameters)).collect();
    let results: Vec<RestoreDataResult> = runs.into_iter().map(|run| run.end().unwrap()).collect();
    assert_eq!(results[0], results[1]);
    scene.is_replaced(&results[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_write_meanwhile_is_in_one_of_the_two() {
    let scene = Scene::start(SHOP).await;
    let (stop, login) = (Arc::new(AtomicBool::new(false)), scene.world.login.clone());
    let stopped = Arc::clone(&stop);
    let writing = thread::spawn(move || {
        let (mut written, mut refused) = (Vec::new(), 0);
        for number in 0.. {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let insert = format!("INSERT INTO orders (note) VALUES ('live-{number}')");
            let done = login.psql().args(["--command", &insert]).stderr(Stdio::null()).status().unwrap();
            if done.success() { written.push(format!("live-{number}")) } else { refused += 1 }
        }
        (written, refused)
    });
    let result = scene.restore(&scene.parameters()).unwrap();
    let live = || scene.world.login.sql("SELECT count(*) FROM orders WHERE note LIKE 'live-%'").parse::<i32>().unwrap();
    let after = live();
    assert!(soon(|| live() > after));
    stop.store(true, Ordering::Relaxed);
    let (written, refused) = writing.join().unwrap();
    let list = "SELECT string_agg(note, ',') FROM orders WHERE note LIKE 'live-%'";
    let both = format!("{},{}", scene.world.login.sql(list), scene.before(list));
    let both: Vec<&str> = both.split(',').collect();
    let missing: Vec<&String> = written.iter().filter(|note| !both.contains(&note.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", written.len());
    println!("{} written, {refused} refused while it was closed", written.len());
    assert!(result.loss.rows > 0, "{result:?}");
}

/// Somebody whom only a superuser can end, in the middle of something.
struct Inside<'a> {
    scene: &'a Scene,
    psql: Child,
}

impl<'a> Inside<'a> {
    fn enter(scene: &'a Scene, database: &str, doing: &str) -> Self {
        let mut psql = scene.world.postgres.superuser(database).psql();
        let statements = format!("{doing} SELECT pg_sleep(100)");
        psql.env("PGAPPNAME", "inside").args(["--command", &statements]).stderr(Stdio::null());
        let psql = psql.spawn().unwrap();
        let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'inside' AND state = 'active'";
        assert!(soon(|| scene.root.sql(there) == "1"));
        Self { scene, psql }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.scene.root.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'inside'");
        self.psql.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_ended_leaves_the_database_open_and_as_it_was() {
    let scene = Scene::start(SHOP).await;
    // One that is in it, then one that is elsewhere and holds what a swap needs: nobody ends sessions of other databases.
    for (database, doing) in [("shop", ""), ("postgres", "BEGIN; COMMENT ON DATABASE shop IS 'ours';")] {
        let inside = Inside::enter(&scene, database, doing);
        let refusal = scene.restore(&scene.parameters()).unwrap_err();
        assert_eq!(refusal.reason, Reason::DatabaseBusy, "{refusal:?}");
        assert_eq!(scene.root.sql(DATABASES), "shop");
        assert_eq!(scene.world.login.sql("SELECT count(*) FROM orders"), "1000");
        drop(inside);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_to_the_database_keeps_it_from_being_replaced() {
    let scene = Scene::start(SHOP).await;
    scene.world.login.sql("BEGIN; INSERT INTO orders (note) VALUES ('half'); PREPARE TRANSACTION 'stuck'");
    scene.refused(&scene.parameters(), Reason::SwapBlocked, "transaction stuck is prepared");
    scene.world.login.sql("ROLLBACK PREPARED 'stuck'");
    let root = scene.world.postgres.superuser("shop");
    let subscribe = "CREATE SUBSCRIPTION follower CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)";
    root.sql(subscribe);
    scene.refused(&scene.parameters(), Reason::SwapBlocked, "subscription follower writes into it");
    root.sql("ALTER SUBSCRIPTION follower SET (slot_name = NONE); DROP SUBSCRIPTION follower");
    assert_eq!(scene.loss(&scene.parameters()).unwrap().rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_look_does_not_say_what_another_has_done() {
    let scene = Scene::start(SHOP).await;
    let first = scene.parameters();
    let second = nth(&first, 2);
    scene.restore(&first).unwrap();
    scene.root.sql("ALTER ROLE keeper NOLOGIN");
    let refusal = scene.restore(&second).unwrap_err();
    assert_eq!(refusal.reason, Reason::RestoreUncertain, "{refusal:?}");
    scene.root.sql("ALTER ROLE keeper LOGIN; ALTER ROLE shop CONNECTION LIMIT 0");
    // It was replaced, and whoever would say so does not get in.
    let refusal = scene.restore(&first).unwrap_err();
    assert_eq!(refusal.reason, Reason::RestoreUncertain, "{refusal:?}");
    scene.root.sql("ALTER ROLE shop CONNECTION LIMIT -1");
    scene.is_replaced(&scene.restore(&second).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn input_27_roles_that_may_too_little_or_too_much_are_named() {
    let scene = Scene::start(SHOP).await;
    let change = |statement: &str| drop(scene.root.sql(statement));
    let refused = |reason, words: &str| scene.refused(&scene.parameters(), reason, words);
    change("ALTER ROLE keeper NOCREATEDB");
    refused(Reason::InsufficientPrivilege, "role keeper (admin) may not make databases");
    change("ALTER ROLE keeper CREATEDB; REVOKE shop FROM keeper");
    refused(Reason::InsufficientPrivilege, "role keeper (admin) is no member of shop");
    change("GRANT shop TO keeper; REVOKE pg_read_all_stats FROM keeper");
    change("CREATE DATABASE private");
    change("REVOKE CONNECT ON DATABASE private FROM PUBLIC");
    refused(Reason::InsufficientPrivilege, "the size of database private may not be seen");
    change("GRANT pg_read_all_stats TO keeper; GRANT pg_execute_server_program TO shop");
    refused(Reason::SuperuserNotAllowed, "role shop would restore");
    change("REVOKE pg_execute_server_program FROM shop; CREATE ROLE other");
    let root = scene.world.postgres.superuser("shop");
    root.sql("CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO other");
    refused(Reason::InsufficientPrivilege, "public.theirs is other's");
    root.sql("DROP TABLE theirs");
    let small = RestoreDataParameters { capacity_bytes: 20 << 20, ..scene.parameters() };
    scene.refused(&small, Reason::NoSpace, "do not fit into its capacity of 20971520");
    scene.loss(&scene.parameters()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn input_48_only_a_whole_backup_of_this_very_database_takes_its_place() {
    let scene = Scene::start(SHOP).await;
    let mut parameters = scene.parameters();
    parameters.backup_uid = Uuid::new_v4().to_string();
    scene.refused(&parameters, Reason::BackupMismatch, "is of another DatabaseBackup");
    let mut parameters = scene.parameters();
    parameters.copy.sha256 = "0".repeat(64);
    scene.refused(&parameters, Reason::BackupCorrupt, "was altered");
    let mut parameters = scene.parameters();
    parameters.database.expect.as_mut().unwrap().oid += 1;
    scene.refused(&parameters, Reason::IdentityUncertain, "");
    let mut parameters = scene.parameters();
    parameters.database.expect.as_mut().unwrap().marker.as_mut().unwrap().epoch += 1;
    scene.refused(&parameters, Reason::IdentityUncertain, "an older copy");
    // One of a newer major version, whose manifest is what was recorded.
    let files = crate::world::files(&scene.world.path("volume"));
    let find = |name: &str| files.iter().find(|file| file.ends_with(name)).unwrap();
    let manifest = fs::read_to_string(find("manifest.json")).unwrap();
    let mut newer: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    newer["database"]["serverVersion"] = "99.1".into();
    let newer = newer.to_string();
    fs::write(find("manifest.json"), &newer).unwrap();
    // Without that record it is one that somebody has tampered with.
    scene.refused(&scene.parameters(), Reason::BackupCorrupt, "was altered");
    let mut parameters = scene.parameters();
    parameters.copy.sha256 = switchback::api::sha256_hex(&newer);
    scene.refused(&parameters, Reason::BackupMismatch, "the backup is of PostgreSQL 99.1");
    fs::write(find("manifest.json"), &manifest).unwrap();
    // Another database of this server takes backups into the same storage.
    let marked = scene.world.target.expect.clone().unwrap().marker.unwrap().uuid;
    let other = Uuid::new_v4();
    scene.world.login.sql(&format!("UPDATE switchback.identity SET uuid = '{other}'"));
    let mut parameters = scene.parameters();
    parameters.database.expect.as_mut().unwrap().marker.as_mut().unwrap().uuid = other;
    scene.refused(&parameters, Reason::BackupMismatch, "is of another database than shop");
    scene.world.login.sql(&format!("UPDATE switchback.identity SET uuid = '{marked}'"));
    // Altered in its middle, then cut short.
    let whole = fs::read(find("data-0000")).unwrap();
    let middle = whole.len() / 2;
    let mut altered = whole.clone();
    altered[middle] ^= 1;
    for bytes in [&altered, &whole[..middle].to_vec()] {
        fs::write(find("data-0000"), bytes).unwrap();
        let refusal = scene.restore(&scene.parameters()).unwrap_err();
        assert_eq!(refusal.reason, Reason::BackupCorrupt, "{refusal:?}");
        assert!(refusal.message.contains("data-0000 has "), "{refusal:?}");
        assert_eq!(scene.root.sql(DATABASES), "shop");
        assert_eq!(scene.world.login.sql("SELECT count(*) FROM orders"), "1000");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_49_what_has_the_name_of_the_new_database_is_never_restored_over() {
    let scene = Scene::start(SHOP).await;
    for name in ["shop_restore_a1", "shop_before_a1"] {
        scene.root.sql(&format!("CREATE DATABASE {name} OWNER shop"));
        let theirs = scene.world.postgres.superuser(name);
        theirs.sql("CREATE TABLE theirs AS SELECT generate_series(1, 3)");
        scene.refused(&scene.parameters(), Reason::NameTaken, name);
        let refusal = scene.restore(&scene.parameters()).unwrap_err();
        assert_eq!(refusal.reason, Reason::NameTaken, "{refusal:?}");
        assert_eq!(theirs.sql("SELECT count(*) FROM theirs"), "3");
        scene.root.sql(&format!("DROP DATABASE {name}"));
    }
    assert_eq!(scene.root.sql(DATABASES), "shop");
    assert_eq!(scene.world.login.sql("SELECT count(*) FROM orders"), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_t23_code_in_a_dump_runs_as_the_owner_and_nobody_else() {
    let world = World::start(SHOP).await;
    let spoils = world.path("spoils");
    fs::create_dir(&spoils).unwrap();
    fs::set_permissions(&spoils, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    // Runs at each row that is restored, and tells as whom.
    world.login.sql(&format!(
        "CREATE FUNCTION attack() RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
           BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {0}/program'''; EXCEPTION WHEN OTHERS THEN NULL; END;
           BEGIN EXECUTE 'SET ROLE keeper';
             EXECUTE 'ALTER DATABASE shop CONNECTION LIMIT 0'; EXCEPTION WHEN OTHERS THEN NULL; END;
           BEGIN EXECUTE 'COPY (SELECT 1) TO ''{0}/file'''; EXCEPTION WHEN OTHERS THEN NULL; END;
           RETURN true; END $f$;
         CREATE TABLE victims (id int CHECK (attack()));
         INSERT INTO victims VALUES (1), (2);",
        spoils.display()
    ));
    let scene = Scene::of(world).await;
    let limit = "SELECT datconnlimit FROM pg_database WHERE datname = 'shop'";
    let result = scene.restore(&scene.parameters()).unwrap();
    scene.is_replaced(&result);
    assert_eq!(scene.root.sql(limit), "-1");
    assert!(crate::world::files(&spoils).is_empty());
}

//! A database, a folder, and the agent's program to run against them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde::{Serialize, de::DeserializeOwned};
use switchback::{
    api::{Duration, Environment, Reason},
    protocol::{
        Answer, DatabaseFacts, DatabaseTarget, InspectParameters, InspectResult, MarkParameters, MigrateParameters,
        MigrateResult, MigrationFacts, MigrationState, MigrationTarget, MigrationWork, RESULT_BYTES, Refusal,
    },
};

use crate::{
    postgres::{Login, Postgres},
    process::Folder,
};

pub const UID: &str = "6f1b3c60-0000-4000-8000-00000000000a";
pub const REVISION: &str = "v1-0123456789";

/// A database of its own on the shared server, and a folder.
pub struct Bench {
    pub login: Login,
    pub folder: Folder,
}

/// What a run of the agent left.
#[derive(Debug)]
pub struct Ran<T> {
    pub code: Option<i32>,
    pub result: T,
    pub output: String,
}

/// An agent that runs.
pub struct Agent {
    pub child: Child,
    result: PathBuf,
    output: PathBuf,
}

impl Agent {
    pub fn start(folder: &Path, verb: &str, parameters: &impl Serialize) -> Self {
        Self::start_with(folder, verb, parameters, &[])
    }

    /// The same in an environment that has more.
    pub fn start_with(folder: &Path, verb: &str, parameters: &impl Serialize, env: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (result, output) = (folder.join(format!("result-{number}")), folder.join(format!("output-{number}")));
        let file = fs::File::create(&output).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_switchback-agent"))
            .args([verb, "--parameters", &serde_json::to_string(parameters).unwrap()])
            .arg("--result")
            .arg(&result)
            .arg("--memory")
            .arg(folder)
            .env("PGPASSWORD", "not-this-one")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, result, output }
    }

    pub fn end<T: DeserializeOwned>(mut self) -> Ran<T> {
        let code = self.child.wait().unwrap().code();
        let output = fs::read_to_string(&self.output).unwrap();
        let result = fs::read_to_string(&self.result).unwrap_or_else(|error| panic!("{error}: {output}"));
        assert!(result.len() <= RESULT_BYTES, "{} bytes", result.len());
        assert!(!result.contains("password-of-") && !output.contains("password-of-"), "{result} {output}");
        Ran { code, result: serde_json::from_str(&result).unwrap(), output }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Bench {
    pub fn new(name: &str) -> Self {
        Self::of(Postgres::shared().database(name))
    }

    /// A database as one of its roles reaches it.
    pub fn of(login: Login) -> Self {
        Self { folder: Folder::new(&login.username), login }
    }

    /// A database that was marked.
    pub fn marked(name: &str) -> (Self, DatabaseFacts) {
        let bench = Self::new(name);
        let facts = done(bench.mark(&bench.target(None)));
        (bench, facts)
    }

    pub fn target(&self, expect: Option<&DatabaseFacts>) -> DatabaseTarget {
        DatabaseTarget {
            name: "shop".into(),
            secret: self.login.secret.clone(),
            environment: Environment::Production,
            expect: expect.map(|facts| facts.identity.clone()),
            endpoint: expect.map(|facts| facts.endpoint.clone()),
        }
    }

    pub fn run<T: DeserializeOwned>(&self, verb: &str, parameters: &impl Serialize) -> Ran<T> {
        Agent::start(self.folder.path(), verb, parameters).end()
    }

    pub fn mark(&self, database: &DatabaseTarget) -> Ran<Answer<DatabaseFacts>> {
        self.run("mark", &MarkParameters { database: database.clone() })
    }

    pub fn inspect(&self, database: &DatabaseTarget, sql: Option<PathBuf>) -> Ran<InspectResult> {
        let migration = MigrationTarget { release_uid: UID.into(), revision: REVISION.into(), sql };
        let database = Some(database.clone());
        let parameters =
            InspectParameters { database, storages: Vec::new(), migration: Some(migration), schema: false };
        let ran: Ran<InspectResult> = self.run("inspect", &parameters);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// A secret with some of its files changed; nothing removes one.
    pub fn secret_with(&self, name: &str, changes: &[(&str, Option<&str>)]) -> PathBuf {
        let folder = self.folder.secret(name, &[]);
        for entry in fs::read_dir(&self.login.secret).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        for (key, value) in changes {
            match value {
                Some(value) => fs::write(folder.join(key), value).unwrap(),
                None => fs::remove_file(folder.join(key)).unwrap(),
            }
        }
        folder
    }

    /// Files of SQL, laid down as a mounted ConfigMap is.
    pub fn files(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.secret(name, &[]);
        let data = folder.join("..2026_11_21");
        fs::create_dir_all(&data).unwrap();
        std::os::unix::fs::symlink("..2026_11_21", folder.join("..data")).unwrap();
        for (file, text) in files {
            fs::write(data.join(file), text).unwrap();
            std::os::unix::fs::symlink(format!("..data/{file}"), folder.join(file)).unwrap();
        }
        folder
    }

    pub fn plan(&self, facts: &DatabaseFacts, sql: &Path) -> MigrationFacts {
        let seen = self.inspect(&self.target(Some(facts)), Some(sql.to_owned()));
        match seen.result.migration.clone() {
            Some(Answer::Done(facts)) => facts,
            other => panic!("{other:?}"),
        }
    }

    /// Parameters of a migration by files, as approved now.
    pub fn sql(&self, facts: &DatabaseFacts, files: &[(&str, &str)]) -> MigrateParameters {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = self.files(&format!("sql-{}", COUNT.fetch_add(1, Ordering::Relaxed)), files);
        let checksum = self.plan(facts, &folder).checksum;
        self.migration(facts, MigrationWork::Sql { folder, checksum })
    }

    pub fn command(&self, facts: &DatabaseFacts, argv: &[&str]) -> MigrateParameters {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        self.migration(facts, MigrationWork::Command { argv, direct: false })
    }

    fn migration(&self, facts: &DatabaseFacts, work: MigrationWork) -> MigrateParameters {
        MigrateParameters {
            database: self.target(Some(facts)),
            release_uid: UID.into(),
            revision: REVISION.into(),
            backup_uid: "backup".into(),
            again: false,
            schema: String::new(),
            idempotent: matches!(work, MigrationWork::Sql { .. }),
            work,
            timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_millis(300),
        }
    }

    pub fn start(&self, parameters: &MigrateParameters) -> Agent {
        Agent::start(self.folder.path(), "migrate", parameters)
    }

    pub fn migrate(&self, parameters: &MigrateParameters) -> Ran<Answer<MigrateResult>> {
        self.run("migrate", parameters)
    }

    /// Returns the ledger as `state|attempt|error`, one row each.
    pub fn ledger(&self) -> String {
        self.login.sql("SELECT state, attempt, coalesce(error, '') FROM switchback.ledger")
    }

    /// Returns how many backends of migrations live.
    pub fn backends(&self) -> String {
        let name = &self.login.dbname;
        Postgres::shared().superuser("postgres").sql(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND backend_type = 'client backend'"
        ))
    }

    /// Returns the process that holds the database's lock.
    pub fn lock_holder(&self) -> u32 {
        let ask = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.login.sql(ask).parse().unwrap()
    }

    /// Waits until a statement of this text runs in the database.
    pub fn wait_for(&self, text: &str) {
        let admin = Postgres::shared().superuser("postgres");
        let name = &self.login.dbname;
        let ask = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid() AND query LIKE '%{text}%'"
        );
        assert!(crate::process::soon(|| admin.sql(&ask) != "0"), "{text} never ran");
    }
}

/// Returns what was done.
#[track_caller]
pub fn done<T: std::fmt::Debug>(ran: Ran<Answer<T>>) -> T {
    match ran.result {
        Answer::Done(result) => result,
        Answer::Refused(refusal) => panic!("{refusal:?} {}", ran.output),
    }
}

/// Returns why nothing was done.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(ran: Ran<Answer<T>>, reason: Reason) -> String {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    match ran.result {
        Answer::Refused(Refusal { reason: found, message }) => {
            assert_eq!(found, reason, "{message}");
            message
        }
        Answer::Done(result) => panic!("{result:?}"),
    }
}

/// Returns why a migration that began did not end well, and asserts what the ledger says of it.
#[track_caller]
pub fn failed(ran: Ran<Answer<MigrateResult>>, state: MigrationState, reason: Reason) -> String {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let result = done(ran);
    let problem = result.problem.unwrap();
    assert_eq!((result.state, problem.reason), (state, reason), "{}", problem.message);
    problem.message
}

/// Asserts that a migration was applied.
#[track_caller]
pub fn applied(ran: Ran<Answer<MigrateResult>>) -> MigrateResult {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let result = done(ran);
    assert_eq!((result.state, &result.problem), (MigrationState::Applied, &None));
    result
}

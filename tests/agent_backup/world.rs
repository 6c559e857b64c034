//! A database with a marker, storages, and the agent in this process or as one of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use switchback::{
    agent::{
        backup::{self, Layout, Places},
        manifest::Manifest,
        mark, proof,
        store::Store,
    },
    api::{Duration as Wait, Environment, ProofLevel},
    protocol::{
        Answer, BackupParameters, BackupResult, CopyResult, DatabaseTarget, MarkParameters, ProofResult, Refusal,
        StoragePlace, StorageTarget,
    },
};
use uuid::Uuid;

use crate::support::{
    postgres::{Login, Postgres, bin},
    process::{Folder, Running, is_root, soon},
    s3::S3,
};

/// A database that was marked, with three tables, a sequence and a large object.
pub const SHOP: &str = "
    CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL CHECK (note <> ''));
    INSERT INTO orders (note) SELECT 'order ' || n FROM generate_series(1, 1000) n;
    CREATE TABLE empty (id int);
    CREATE TABLE \"Odd \"\"name\" (id int, owner name DEFAULT current_user);
    INSERT INTO \"Odd \"\"name\" VALUES (1), (2);
    CREATE TABLE parent (id int) PARTITION BY RANGE (id);
    CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (10);
    INSERT INTO parent SELECT generate_series(0, 9);
    CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM orders;
    SELECT lo_from_bytea(0, 'large');
";
/// Bytes of a part in tests: many parts of a small database. S3 wants at least 5 MiB.
pub const SMALL: Layout = Layout { part_bytes: 5 << 20, piece_parts: 2, patience: Duration::from_secs(10) };

pub struct World {
    pub postgres: Postgres,
    pub login: Login,
    pub target: DatabaseTarget,
    pub folder: Folder,
    pub uid: String,
}

impl World {
    /// Starts a server with the database `shop`, which is marked.
    pub async fn start(statements: &str) -> Self {
        static PROVIDER: std::sync::Once = std::sync::Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let postgres = Postgres::start();
        let login = postgres.database("shop");
        login.sql(statements);
        let mut target = DatabaseTarget {
            name: "shop".into(),
            secret: login.secret.clone(),
            environment: Environment::Production,
            expect: None,
            endpoint: None,
        };
        let marked = mark::run(&MarkParameters { database: target.clone() }).await.unwrap();
        (target.expect, target.endpoint) = (Some(marked.identity), Some(marked.endpoint));
        let folder = Folder::new("backup");
        for name in ["memory", "volume", "sockets", "scratch"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            // As a pod's folders are: another user works in some of them.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        Self { postgres, login, target, folder, uid: Uuid::new_v4().to_string() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn volume(&self) -> StorageTarget {
        StorageTarget { name: "volume".into(), place: StoragePlace::Volume { path: self.path("volume") } }
    }

    pub fn places(&self) -> Places {
        Places { programs: bin().to_owned(), memory: self.path("memory"), scratch: self.path("sockets") }
    }

    pub fn parameters(&self, storages: &[StorageTarget]) -> BackupParameters {
        BackupParameters {
            database: self.target.clone(),
            storages: storages.to_vec(),
            backup_uid: self.uid.clone(),
            attempt: 1,
            proof: ProofLevel::Stored,
            yield_to_ddl: true,
            timeout: Wait::from_secs(120),
        }
    }

    /// Takes a backup in this process.
    pub async fn backup(&self, parameters: &BackupParameters) -> Result<BackupResult, Refusal> {
        backup::run(parameters, &self.places(), SMALL).await
    }

    /// Starts the agent as a process of its own.
    pub fn agent(&self, parameters: &BackupParameters) -> Agent {
        let result = self.path("result");
        let _ = fs::remove_file(&result);
        let child = Command::new(env!("CARGO_BIN_EXE_switchback-agent"))
            .args(["backup", "--parameters", &serde_json::to_string(parameters).unwrap()])
            .args([Path::new("--result"), &result, Path::new("--programs"), bin()])
            .args([Path::new("--memory"), &self.path("memory"), Path::new("--scratch"), &self.path("sockets")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Agent { child, result }
    }

    /// Starts the scratch container's agent, as another user where that is possible.
    pub fn scratch(&self) -> Running {
        self.scratch_at(0)
    }

    /// Starts it so that a copy which is kept is found on this port.
    pub fn scratch_at(&self, port: u16) -> Running {
        let arguments = [
            "scratch",
            "--port",
            &port.to_string(),
            "--programs",
            &bin().display().to_string(),
            "--sockets",
            &self.path("sockets").display().to_string(),
            "--data",
            &self.path("scratch").display().to_string(),
        ];
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        Running::start(program(), &arguments, is_root().then_some("postgres"), &self.path("scratch.log"))
    }

    /// Proves a copy again, as a later Job does.
    pub async fn prove(
        &self,
        storage: &StorageTarget,
        copy: &CopyResult,
        level: ProofLevel,
    ) -> Result<ProofResult, Refusal> {
        let store = Store::open(storage, SMALL.patience).await?;
        let (attempt, manifest) = Manifest::read(&store, copy).await?;
        let places = self.places();
        let proven =
            proof::Proven { places: &places, attempt: &attempt, content: &manifest.content, data: &manifest.data };
        proof::prove(level, &[store], &proven).await
    }

    pub async fn manifest(&self, storage: &StorageTarget, result: &BackupResult) -> Manifest {
        let store = Store::open(storage, SMALL.patience).await.unwrap();
        let copy = result.copies.iter().find(|copy| copy.storage == storage.name).unwrap();
        Manifest::read(&store, copy).await.unwrap().1
    }

    /// Waits until some of what the agent's `pg_dump` says is on its way into the volume, and stops it there.
    pub fn stop_dump(&self, agent: &Agent) -> u32 {
        let mut found = None;
        let begun =
            || files(&self.path("volume")).iter().any(|file| fs::metadata(file).is_ok_and(|about| about.len() > 4096));
        let copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY %' AND state = 'active'";
        assert!(soon(|| {
            found = children(agent.child.id()).into_iter().find(|pid| command(*pid).contains("--snapshot="));
            found.is_some() && begun()
        }));
        crate::support::process::signal("STOP", found.unwrap());
        assert_eq!(self.postgres.superuser("shop").sql(copying), "1", "the dump was over before it could be stopped");
        found.unwrap()
    }
}

/// The agent as a process.
pub struct Agent {
    pub child: Child,
    result: PathBuf,
}

impl Agent {
    /// Waits for its end; returns its exit code, its answer, and everything that it said.
    pub fn end(self) -> (Option<i32>, Answer<BackupResult>, String) {
        let output = self.child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let text = fs::read_to_string(&self.result).unwrap_or_default();
        let answer = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text:?}: {}", String::from_utf8_lossy(&said));
        });
        (output.status.code(), answer, String::from_utf8(said).unwrap())
    }

    pub fn refused(self) -> Refusal {
        match self.end() {
            (Some(1), Answer::Refused(refusal), _) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

pub fn s3_target(s3: &S3) -> StorageTarget {
    let place = StoragePlace::S3 {
        bucket: s3.bucket.clone(),
        prefix: "team-a".into(),
        endpoint: Some(s3.endpoint.clone()),
        region: Some(s3.region.clone()),
        secret: s3.secret.clone(),
    };
    StorageTarget { name: "s3".into(), place }
}

/// Returns every file below a folder, of uploads that are not complete as well.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

pub fn command(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

pub fn environment(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).replace('\0', "\n")
}

/// Returns the agent's program where another user can run it.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(PathBuf, Folder)> = OnceLock::new();
    let (path, _) = PROGRAM.get_or_init(|| {
        let folder = Folder::new("program");
        let path = folder.path().join("switchback-agent");
        fs::copy(env!("CARGO_BIN_EXE_switchback-agent"), &path).unwrap();
        (path, folder)
    });
    path
}

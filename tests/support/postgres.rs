//! A real PostgreSQL server as a plain process on loopback: TLS with a certificate authority of its own, passwords, no
//! waiting for disks.
//!
//! Needs Debian's package `postgresql-15` (`tests/run` installs it) or `POSTGRES_BIN`, the folder of its programs.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::process::{Folder, Running, free_port, is_root, run, soon};

const SUPERUSER: &str = "postgres";
const SUPERUSER_PASSWORD: &str = "superusers-password";
/// How often another port is tried when somebody was faster.
const STARTS: usize = 5;

/// Who connects to which database, and how.
#[derive(Clone, Debug)]
pub struct Login {
    /// `localhost`, as in the certificate.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Role.
    pub username: String,
    /// Its password.
    pub password: String,
    /// File with the certificate authority's certificate, PEM.
    pub ca: PathBuf,
    /// Folder with the files `host`, `port`, `dbname`, `username`, `password`, `sslmode` (`verify-full`) and `ca.crt`, as
    /// a Secret is mounted.
    pub secret: PathBuf,
}

impl Login {
    /// Returns psql, told where to connect; the server's certificate is verified.
    pub fn psql(&self) -> Command {
        let mut command = Command::new(program("psql"));
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
            .env_clear()
            .envs([("PGHOST", &self.host), ("PGPORT", &self.port.to_string()), ("PGDATABASE", &self.dbname)])
            .envs([("PGUSER", &self.username), ("PGPASSWORD", &self.password)])
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &self.ca);
        command
    }

    /// Runs statements and returns the rows, columns parted by `|`.
    pub fn sql(&self, statements: &str) -> String {
        let output = self.psql().args(["--command", statements]).output().unwrap();
        assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

/// A server of one's own, which ends when this is dropped.
pub struct Postgres {
    // In the order in which they go: the process before its folder.
    process: Running,
    folder: Folder,
    port: u16,
}

impl Postgres {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with settings of `postgresql.conf`.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        for _ in 0..STARTS {
            let folder = Folder::new("postgres");
            let copy = ["--archive", "--no-target-directory"].map(str::to_owned);
            let from = template().path().display().to_string();
            let to = folder.path().display().to_string();
            run(Path::new("cp"), &[&copy[0], &copy[1], &from, &to], None);
            let port = free_port();
            let mut arguments = vec!["-D".to_owned(), data(&folder).display().to_string()];
            let port_text = port.to_string();
            for (name, value) in [("port", port_text.as_str())].iter().chain(settings) {
                arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
            }
            let log = folder.path().join("log");
            let process = Running::start(&program("postgres"), &arguments, user(), &log);
            let state = data(&folder).join("postmaster.pid");
            let ready = || fs::read_to_string(&state).is_ok_and(|text| text.lines().nth(7).is_some_and(is_ready));
            soon(|| ready() || !process.is_alive());
            let said = fs::read_to_string(&log).unwrap();
            if process.is_alive() && ready() {
                return Self { process, folder, port };
            }
            assert!(said.contains("Address already in use"), "PostgreSQL did not start: {said}");
        }
        panic!("no port was free {STARTS} times");
    }

    /// Returns the one server of this test process, for tests that need but a database of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes a database, and a role of the same name that owns it and may do nothing else.
    pub fn database(&self, name: &str) -> Login {
        let login = self.login(name, name, &format!("password-of-{name}"));
        // One by one: CREATE DATABASE stands in no transaction.
        let admin = self.superuser("postgres");
        admin.sql(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{}'", login.password));
        admin.sql(&format!("CREATE DATABASE \"{name}\" OWNER \"{name}\""));
        login
    }

    /// Returns the superuser's login to a database.
    pub fn superuser(&self, dbname: &str) -> Login {
        self.login(dbname, SUPERUSER, SUPERUSER_PASSWORD)
    }

    /// Returns anybody's login, and writes its Secret's files.
    pub fn login(&self, dbname: &str, username: &str, password: &str) -> Login {
        let ca = self.folder.path().join("ca.crt");
        let port = self.port.to_string();
        let authority = fs::read_to_string(&ca).unwrap();
        let files = [
            ("host", "localhost"),
            ("port", &port),
            ("dbname", dbname),
            ("username", username),
            ("password", password),
            ("sslmode", "verify-full"),
            ("ca.crt", &authority),
        ];
        let secret = self.folder.secret(&format!("secret-{dbname}-{username}"), &files);
        Login {
            host: "localhost".to_owned(),
            port: self.port,
            dbname: dbname.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            ca,
            secret,
        }
    }

    /// Returns the process id of the server's first process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns what the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Returns the folder of PostgreSQL's own programs.
pub fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let told = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
        let bin = told.unwrap_or_else(|| PathBuf::from("/usr/lib/postgresql/15/bin"));
        assert!(bin.join("initdb").exists(), "no initdb in {}: install Debian's postgresql-15", bin.display());
        bin
    })
}

/// Returns the path of one of them.
pub fn program(name: &str) -> PathBuf {
    bin().join(name)
}

/// PostgreSQL refuses to run as root.
fn user() -> Option<&'static str> {
    is_root().then_some("postgres")
}

fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}

fn is_ready(line: &str) -> bool {
    line.trim() == "ready"
}

/// Makes, once in a process, what each server begins as: a copy takes a tenth of the time of initdb.
fn template() -> &'static Folder {
    static TEMPLATE: OnceLock<Folder> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = Folder::new("postgres-template");
        give(folder.path());
        let password = folder.path().join("password");
        fs::write(&password, SUPERUSER_PASSWORD).unwrap();
        let data = data(&folder);
        let [data_text, password_text] = [&data, &password].map(|path| path.display().to_string());
        let arguments = [
            &["--pgdata", &data_text, "--pwfile", &password_text, "--username", SUPERUSER][..],
            &["--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"],
            // A small server is a quick copy.
            &["--wal-segsize", "1", "--no-sync", "--no-instructions"],
        ]
        .concat();
        run(&program("initdb"), &arguments, user());
        certificates(folder.path());
        fs::write(data.join("pg_hba.conf"), "hostssl all all all scram-sha-256\n").unwrap();
        fs::write(data.join("postgresql.conf"), SETTINGS).unwrap();
        folder
    })
}

const SETTINGS: &str = "
listen_addresses = 'localhost'
unix_socket_directories = ''
ssl = on
ssl_cert_file = '../server.crt'
ssl_key_file = '../server.key'
password_encryption = scram-sha-256
fsync = off
full_page_writes = off
dynamic_shared_memory_type = mmap
shared_buffers = 16MB
min_wal_size = 2MB
max_wal_size = 64MB
max_prepared_transactions = 8
log_line_prefix = '%m %u@%d %a '
";

/// Makes a certificate authority and the server's certificate.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let arguments: Vec<String> =
            arguments.split(' ').map(|word| word.replace("DIR", &folder.display().to_string())).collect();
        run(Path::new("openssl"), &arguments.iter().map(String::as_str).collect::<Vec<_>>(), None);
    };
    let key = "req -x509 -days 30 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    openssl(&format!("{key} -subj /CN=throwaway -keyout DIR/ca.key -out DIR/ca.crt"));
    openssl(&format!(
        "{key} -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
         -addext basicConstraints=critical,CA:FALSE -CA DIR/ca.crt -CAkey DIR/ca.key \
         -keyout DIR/server.key -out DIR/server.crt"
    ));
    give(&folder.join("server.key"));
}

/// Makes something the server's own.
fn give(path: &Path) {
    if let Some(user) = user() {
        let number = |option| {
            let output = run(Path::new("id"), &[option, user], None);
            String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        chown(path, Some(number("-u")), Some(number("-g"))).unwrap();
    }
}

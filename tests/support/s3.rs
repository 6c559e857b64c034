//! A real S3 server as a plain process on loopback: versitygw, which `lab/build versitygw` builds.
//!
//! It checks the condition of a conditional put before it writes, not while: of several at the same moment more than
//! one may succeed. One after the other they are refused as they should be.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::process::{Folder, Running, free_port, run, soon};

const ACCESS_KEY_ID: &str = "access-key-of-the-lab";
const SECRET_ACCESS_KEY: &str = "secret-key-of-the-lab";
const STARTS: usize = 5;

/// A server of one's own with one bucket, which ends when this is dropped.
pub struct S3 {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region that signatures name.
    pub region: String,
    /// Name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Folder with the files `accessKeyId` and `secretAccessKey`, as a Secret is mounted.
    pub secret: PathBuf,
    /// Folder of the bucket's objects, each a file named as its key: for tests that damage one.
    pub objects: PathBuf,
    // In the order in which they go.
    process: Running,
    folder: Folder,
}

impl S3 {
    /// Starts a server.
    pub fn start() -> Self {
        for _ in 0..STARTS {
            let folder = Folder::new("s3");
            let [buckets, sidecar] = ["buckets", "about"].map(|name| folder.path().join(name));
            let objects = buckets.join("backups");
            fs::create_dir_all(&objects).unwrap();
            fs::create_dir_all(&sidecar).unwrap();
            let secret =
                folder.secret("secret", &[("accessKeyId", ACCESS_KEY_ID), ("secretAccessKey", SECRET_ACCESS_KEY)]);
            let address = format!("127.0.0.1:{}", free_port());
            // Beside the objects, because not every file system of a temporary folder keeps attributes.
            let [sidecar, buckets] = [sidecar, buckets].map(|path| path.display().to_string());
            let arguments = ["--port", &address, "--access", ACCESS_KEY_ID, "--secret", SECRET_ACCESS_KEY, "--quiet"];
            let arguments = [&arguments[..], &["--keep-alive", "posix", "--sidecar", &sidecar, &buckets]].concat();
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            let log = folder.path().join("log");
            let process = Running::start(program(), &arguments, None, &log);
            soon(|| TcpStream::connect(&address).is_ok() || !process.is_alive());
            if process.is_alive() {
                return Self {
                    endpoint: format!("http://{address}"),
                    bucket: "backups".to_owned(),
                    region: "us-east-1".to_owned(),
                    access_key_id: ACCESS_KEY_ID.to_owned(),
                    secret_access_key: SECRET_ACCESS_KEY.to_owned(),
                    secret,
                    objects,
                    process,
                    folder,
                };
            }
            let said = fs::read_to_string(&log).unwrap();
            assert!(said.contains("address already in use"), "versitygw did not start: {said}");
        }
        panic!("no port was free {STARTS} times");
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns what the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// Returns the program, building it when nobody has yet.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/build");
        let output = run(&build, &["--print", "versitygw"], None);
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("versitygw")
    })
}

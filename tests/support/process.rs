//! Programs beside a test: processes that end with it, folders that go with it.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// How long a program may take to start or to end.
pub const SOON: Duration = Duration::from_secs(30);
/// In GiB.
const PLENTY: u64 = 4;
const STEP: Duration = Duration::from_millis(10);

/// A process that ends when this is dropped, and with the test process at the latest, however that ends.
pub struct Running {
    stop: mpsc::Sender<()>,
    keeper: Option<thread::JoinHandle<()>>,
    pid: u32,
}

impl Running {
    /// Starts a program, as this user or, for root, as another; what it says goes into a file.
    pub fn start(program: &Path, arguments: &[String], user: Option<&str>, log: &Path) -> Self {
        let file = fs::File::create(log).unwrap();
        // SIGINT is what both programs take as "now, but properly".
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]).args(as_user(user)).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let (stop, stopped) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        // The kernel's signal comes when the thread that started the process ends, so that thread stays.
        let keeper = thread::spawn(move || {
            let mut child = command.spawn().unwrap_or_else(|error| panic!("setpriv: {error}"));
            tell.send(child.id()).unwrap();
            let _ = stopped.recv();
            signal("INT", child.id());
            if !soon(|| child.try_wait().unwrap().is_some()) {
                child.kill().unwrap();
            }
            child.wait().unwrap();
        });
        Self { stop, keeper: Some(keeper), pid: told.recv().unwrap() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells whether it still runs. Not yet collected processes have ended too.
    pub fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Sends a signal by its short name.
pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Returns arguments of setpriv that make a program run as a user.
fn as_user(user: Option<&str>) -> Vec<String> {
    user.map(|user| vec![format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()])
        .unwrap_or_default()
}

/// Runs a program to its end, as a user or this one; fails unless it exits 0.
pub fn run(program: &Path, arguments: &[&str], user: Option<&str>) -> Output {
    let output = match user {
        Some(_) => Command::new("setpriv").args(as_user(user)).arg(program).args(arguments).current_dir("/").output(),
        None => Command::new(program).args(arguments).output(),
    };
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {said}", program.display());
    output
}

/// Tells whether something comes true within [`SOON`].
pub fn soon(mut ask: impl FnMut() -> bool) -> bool {
    let tries = SOON.as_millis() / STEP.as_millis();
    (0..tries).any(|_| {
        let yes = ask();
        if !yes {
            thread::sleep(STEP);
        }
        yes
    })
}

/// Returns a port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Tells whether this process is root's.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The folder of all folders of this test process. It goes when the process has ended, however that was.
fn root() -> &'static Path {
    static ROOT: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (path, _) = ROOT.get_or_init(|| {
        let path = place().join(format!("switchback-tests-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        // Reads to the end of a pipe whose other end this process holds, in a group that a terminal's ^C does not reach;
        // then lets servers end in their own time.
        let wait = "cat >/dev/null; sleep 1; rm -rf \"$1\"";
        let mut cleaner = Command::new("sh");
        cleaner.args(["-c", wait, "sh"]).arg(&path).process_group(0);
        cleaner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let cleaner = cleaner.spawn().unwrap();
        (path, cleaner)
    });
    path
}

/// Returns where folders are made: in memory where there is plenty, because a copy of a server's thousand files takes
/// 0.04 s there and up to 0.8 s on a disk. Never below the work tree: another user may not get there.
fn place() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let answer = Command::new("df").args(["--output=avail", "--block-size=1G"]).arg(shared).output();
    let text = answer.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let free = text.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok());
    if free.is_some_and(|gibibytes| gibibytes >= PLENTY) { shared.to_owned() } else { std::env::temp_dir() }
}

/// A folder for everybody to enter, which goes with its owner.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes an empty one.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root().join(format!("{name}-{number}"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder in it that holds these files, as a Secret is mounted.
    pub fn secret(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

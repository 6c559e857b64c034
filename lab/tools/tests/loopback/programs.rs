//! The two programs as child processes, and a raw request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use lab_tools::clock;
use serde_json::Value;

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(60);
const DEMO: &str = env!("CARGO_BIN_EXE_demo-app");
const LOAD: &str = env!("CARGO_BIN_EXE_load");

/// Waits until the condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = clock::now();
    while !holds() {
        assert!(clock::since(begun) < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child process that does not outlive its test, and the lines that it writes.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command, read: fn(&mut Child) -> Box<dyn Read + Send>) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(read(&mut child));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("another line")
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the program ends", || self.has_ended());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the demo application on a free port.
pub fn demo(environment: &[(&str, &str)]) -> (Program, SocketAddr) {
    let mut command = demo_command(&[], environment);
    let program = Program::start(command.stderr(Stdio::piped()), |child| Box::new(child.stderr.take().unwrap()));
    let line = program.line();
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    (program, SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("a port in {line:?}")))))
}

/// Starts a Job's task of the demo application, whose output can be read line by line.
pub fn demo_job(arguments: &[&str]) -> Program {
    demo_task(arguments, &[])
}

/// Starts any task of the demo application.
pub fn demo_task(arguments: &[&str], environment: &[(&str, &str)]) -> Program {
    let mut command = demo_command(arguments, environment);
    Program::start(command.stdout(Stdio::piped()), |child| Box::new(child.stdout.take().unwrap()))
}

pub fn demo_command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(DEMO);
    command.args(arguments).env("PORT", "0").envs(environment.iter().copied());
    command
}

/// The load generator under way.
pub struct Load {
    pub program: Program,
}

/// Starts the load generator, whose standard input stays open until it is closed.
pub fn load(address: SocketAddr, arguments: &[&str]) -> Load {
    let mut command = Command::new(LOAD);
    command.args(["--url", &format!("http://{address}/")]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Load { program: Program::start(&mut command, |child| Box::new(child.stdout.take().unwrap())) }
}

impl Load {
    /// Waits for the end: exit code and report.
    pub fn finish(mut self) -> (i32, Value) {
        let mut line = self.program.line();
        while !line.starts_with('{') {
            line = self.program.line();
        }
        (self.program.wait().code().unwrap(), serde_json::from_str(&line).unwrap())
    }
}

/// Runs the load generator to its end.
pub fn run_load(address: SocketAddr, arguments: &[&str]) -> (i32, Value) {
    load(address, arguments).finish()
}

/// One answer, as it came.
#[derive(Debug)]
pub struct Raw {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends one request on a connection of its own and reads to the end.
pub fn get(address: SocketAddr, path: &str, header: &str) -> Raw {
    let mut stream = TcpStream::connect(address).unwrap();
    ask(&mut stream, path, header)
}

/// Sends one request on this connection, which it asks to close, and reads to the end.
pub fn ask(stream: &mut TcpStream, path: &str, header: &str) -> Raw {
    send(stream, path, header);
    receive(stream)
}

/// Sends one request on this connection, which it asks to close.
pub fn send(stream: &mut TcpStream, path: &str, header: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
}

/// Reads an answer to the end of its connection.
pub fn receive(stream: &mut TcpStream) -> Raw {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("an answer instead of {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Raw { status, head: head.to_owned(), body: body.to_owned() }
}

/// The status of one request.
pub fn status(address: SocketAddr, path: &str) -> u16 {
    get(address, path, "").status
}

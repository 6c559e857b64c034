//! Servers for the tests: one that misbehaves as told, and one that forwards as a Service does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A good answer.
pub const OK: &str = "HTTP/1.1 200 OK\r\nx-version: 1\r\ncontent-length: 2\r\n\r\nok";

/// Accepts on a free port; each connection gets a thread, which ends with the test program at the latest.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A server that does to each connection what the test says.
pub fn scripted(script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    listen(move |mut stream| script(&mut stream))
}

/// Reads one request, or notices that there is none.
pub fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        request.extend(byte);
    }
    String::from_utf8(request).ok()
}

/// Writes an answer, or a part of one. A client that went away is part of some tests.
pub fn say(stream: &mut TcpStream, answer: &str) {
    let _ = stream.write_all(answer.as_bytes());
}

/// What a Service is to its clients: new connections go to the chosen server, open ones stay where they are.
pub struct Service {
    pub address: SocketAddr,
    chosen: Arc<Mutex<SocketAddr>>,
}

impl Service {
    pub fn start(first: SocketAddr) -> Self {
        let chosen = Arc::new(Mutex::new(first));
        let now = Arc::clone(&chosen);
        let address = listen(move |client| {
            let server = TcpStream::connect(*now.lock().unwrap()).unwrap();
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let upwards = std::thread::spawn(move || pass(from_client, to_server));
            pass(server, client);
            upwards.join().unwrap();
        });
        Self { address, chosen }
    }

    pub fn switch(&self, to: SocketAddr) {
        *self.chosen.lock().unwrap() = to;
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_nodelay(true);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

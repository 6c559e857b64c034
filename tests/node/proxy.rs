//! A proxy between one controller and the API server, which can hold a request for as long as a test likes: as a network
//! does, or a process that is stopped between its decision and its write. It speaks plain HTTP, so that it sees what goes
//! through; who asks is said by the token, which it passes on.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, Method, header},
    response::Response,
};
use kube::{Client, Config, config::AuthInfo};
use tokio::sync::watch;

/// What concerns one connection and not the request.
const HOP: [HeaderName; 4] = [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];

/// What a held request has to be: its method, and how its path ends.
type Which = (Method, String);

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Passing>,
}

struct Passing {
    client: Client,
    hold: Mutex<Option<Which>>,
    /// How many are held now.
    held: watch::Sender<usize>,
    /// Answers of those that were held.
    answers: watch::Sender<Vec<u16>>,
    released: watch::Sender<bool>,
    /// Every write that arrived, and its answer; leases are none.
    writes: Mutex<Vec<String>>,
}

impl Proxy {
    pub async fn start() -> Self {
        let mut config = Config::infer().await.unwrap();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let state = Arc::new(Passing {
            client: Client::try_from(config).unwrap(),
            hold: Mutex::default(),
            held: watch::Sender::new(0),
            answers: watch::Sender::new(vec![]),
            released: watch::Sender::new(false),
            writes: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state }
    }

    /// Holds every request of this kind from now on.
    pub fn hold(&self, method: Method, path_ends: &str) {
        *self.state.hold.lock().unwrap() = Some((method, path_ends.to_owned()));
    }

    /// Waits until one is held.
    pub async fn held(&self) {
        self.state.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    }

    /// Lets those that are held go on; returns what they were answered.
    pub async fn release(&self) -> Vec<u16> {
        *self.state.hold.lock().unwrap() = None;
        let held = *self.state.held.borrow();
        self.state.released.send_replace(true);
        self.state.answers.subscribe().wait_for(|answers| answers.len() >= held).await.unwrap().clone()
    }

    /// Returns every write that the API server was asked for, and what it answered.
    pub fn writes(&self) -> Vec<String> {
        self.state.writes.lock().unwrap().clone()
    }
}

async fn pass(State(state): State<Arc<Passing>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let method = parts.method.clone();
    let is = |which: &Which| which.0 == method && path.ends_with(&which.1);
    let hold = state.hold.lock().unwrap().as_ref().is_some_and(is);
    // Read before it is held: its sender may be stopped by then.
    let body = to_bytes(body, usize::MAX).await.unwrap();
    // In a task of its own: what has left arrives, whatever becomes of who sent it.
    let passed = tokio::spawn(async move {
        if hold {
            state.held.send_modify(|held| *held += 1);
            state.released.subscribe().wait_for(|released| *released).await.unwrap();
        }
        HOP.iter().for_each(|name| {
            parts.headers.remove(name);
        });
        let line = format!("{} {}", parts.method, path);
        let is_write = parts.method != Method::GET && !path.contains("/leases");
        let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        let answer = state.client.send(request).await.unwrap();
        let status = answer.status().as_u16();
        if is_write {
            state.writes.lock().unwrap().push(format!("{line}: {status}"));
        }
        if hold {
            state.answers.send_modify(|answers| answers.push(status));
        }
        answer
    });
    let (mut parts, body) = passed.await.unwrap().into_parts();
    HOP.iter().for_each(|name| {
        parts.headers.remove(name);
    });
    Response::from_parts(parts, Body::new(body))
}

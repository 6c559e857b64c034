//! Accepting, draining, ending: the part that must not lose a request.
//!
//! Serving → (SIGTERM) draining: everything is still accepted and answered, `/ready` says no, answers close their
//! connections → closing: the listener goes, requests in flight are finished → end. Kubernetes sends SIGTERM at the
//! same moment in which it starts to take the pod out of its Services, so requests keep coming for a while.

use std::convert::Infallible;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::App;
use crate::{clock, lines};

/// How long requests in flight may take after draining: longer than the longest ordinary one in the lab (20 s).
pub const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(25);
/// Connections that the kernel accepted and nobody took would be reset when the listener closes: it is emptied
/// until nothing came for this long …
const BACKLOG_QUIET: Duration = Duration::from_millis(50);
/// … or this has passed.
const BACKLOG_LIMIT: Duration = Duration::from_secs(1);
/// How long a connection that has not asked yet may wait with its first request when closing begins.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which is nearly always a lack of file descriptors and would fail again at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// How long the stages of ending may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between SIGTERM and the end of accepting.
    pub drain: Duration,
    /// Between the end of accepting and the end.
    pub in_flight: Duration,
}

/// How serving ended.
pub struct Ended {
    cut_off: usize,
}

impl Ended {
    /// Says how it ended; a request cut off makes it a failure.
    pub fn report(&self) -> ExitCode {
        if self.cut_off == 0 {
            lines::err("demo-app: drained, every request was answered");
            ExitCode::SUCCESS
        } else {
            lines::err(format_args!("demo-app: {} connections were still busy and are cut off", self.cut_off));
            ExitCode::FAILURE
        }
    }
}

/// Serves until `stop`, then drains.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>, limits: Limits) -> Ended {
    let (closing, _) = watch::channel(false);
    let mut connections = Connections { app, tasks: JoinSet::new(), closing };
    connections.accept_until(&listener, stop).await;
    lines::err(format_args!("demo-app: draining for {:?}", limits.drain));
    connections.app.start_draining();
    connections.accept_until(&listener, clock::sleep(limits.drain)).await;
    connections.empty_backlog(&listener).await;
    drop(listener);
    connections.close(limits.in_flight).await
}

struct Connections {
    app: Arc<App>,
    tasks: JoinSet<()>,
    closing: watch::Sender<bool>,
}

impl Connections {
    async fn accept_until(&mut self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.start(stream),
                    Err(error) => {
                        lines::err(format_args!("demo-app: could not accept: {error}"));
                        clock::sleep(ACCEPT_RETRY).await;
                    }
                },
                // Finished connections are forgotten, or the set would grow for ever.
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    async fn empty_backlog(&mut self, listener: &TcpListener) {
        let begun = clock::now();
        while clock::since(begun) < BACKLOG_LIMIT {
            let Ok(Ok((stream, _))) = timeout(BACKLOG_QUIET, listener.accept()).await else {
                return;
            };
            self.start(stream);
        }
    }

    fn start(&mut self, stream: TcpStream) {
        // Without it small answers can wait for an acknowledgement; a socket that refuses is answered all the same.
        let _ = stream.set_nodelay(true);
        self.tasks.spawn(serve_connection(stream, Arc::clone(&self.app), self.closing.subscribe()));
    }

    async fn close(mut self, limit: Duration) -> Ended {
        self.closing.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(limit, all).await;
        Ended { cut_off: self.tasks.len() }
    }
}

async fn serve_connection(stream: TcpStream, app: Arc<App>, mut closing: watch::Receiver<bool>) {
    let asked = Arc::new(Notify::new());
    let service = service_fn(|request| {
        asked.notify_one();
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    // hyper closes a connection that has not asked yet at once, and its first request may be under way. The
    // connection is looked at first: a request that lies in the socket is taken before it is decided to be idle.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = asked.notified() => {}
        () = clock::sleep(FIRST_REQUEST_GRACE) => {}
    }
    connection.as_mut().graceful_shutdown();
    // An error here is the client's end going away; there is nobody left to answer.
    let _ = connection.await;
}

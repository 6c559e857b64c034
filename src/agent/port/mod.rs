//! The port through which a migration's command reaches the database, and nothing else does.
//!
//! It listens on loopback and lets everybody in: who is in this pod is the migration. Each connection gets a session of
//! its own on the verified server, authenticated by the agent, with our application name and `lock_timeout`, recorded in
//! the ledger before a byte of the child's passes. Then bytes are copied. The port can be cut, all sessions at once.

mod local;
mod sessions;
mod upstream;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use self::local::Asked;
pub use self::{sessions::Sessions, upstream::Upstream};

/// An open port; dropped, it is cut.
pub struct Port {
    /// Where it listens.
    pub address: SocketAddr,
    /// Sessions that were opened through it so far.
    opened: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Port {
    /// Listens on loopback, on whatever port is free.
    pub async fn open(upstream: Upstream) -> io::Result<Self> {
        Self::open_at(upstream, 0).await
    }

    /// Listens on loopback, on this port; 0: on whatever is free.
    pub async fn open_at(upstream: Upstream, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let opened = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, Arc::new(upstream), Arc::clone(&opened)));
        Ok(Self { address, opened, task })
    }

    /// Returns how many sessions were opened through it so far.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Closes it and all connections through it.
    pub fn cut(&self) {
        // The task holds the connections' tasks: they end with it.
        self.task.abort();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn accept(listener: TcpListener, upstream: Arc<Upstream>, opened: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&upstream), Arc::clone(&opened)));
                }
                // Too many open files: those that end make room.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection to its end. Its failures are the child's to report: it sees the error or the end.
async fn connection(mut stream: TcpStream, upstream: Arc<Upstream>, opened: Arc<AtomicUsize>) {
    let _ = stream.set_nodelay(true);
    let startup = match local::asked(&mut stream).await {
        Ok(Asked::Session(startup)) => startup,
        Ok(Asked::Cancel { process_id, secret_key }) => {
            upstream.cancel(process_id, secret_key).await;
            return;
        }
        Err(_) => return,
    };
    let mut session = match upstream.session(&startup).await {
        Ok(session) => session,
        Err(refusal) => {
            let _ = stream.write_all(&local::fatal(&refusal.message)).await;
            return;
        }
    };
    opened.fetch_add(1, Ordering::SeqCst);
    if stream.write_all(&local::welcome(&startup, &session.greeting)).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut session.stream).await;
    }
    upstream.forget(&session);
}

//! Servers that answer well, badly, slowly or not at all; with TLS where a certificate is given.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::process::{Folder, run};

/// What a server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Ends the connection.
    Nothing,
    /// Says nothing and keeps the connection.
    Silence,
    /// Answers with this status line, these header lines and this body.
    Answer(&'static str, String, String),
    /// Answers and then sends one byte after the other, for ever.
    Drip,
    /// Answers and ends before what it promised is there.
    BreakOff,
    /// Answers with so many bytes.
    Huge(usize),
}

impl Reply {
    /// Answers with a status alone.
    pub fn status(status: &'static str) -> Self {
        Self::Answer(status, String::new(), String::new())
    }

    /// Answers 200 with a body.
    pub fn body(body: impl Into<String>) -> Self {
        Self::Answer("200 OK", String::new(), body.into())
    }
}

/// A server on loopback.
pub struct Server {
    /// Its port.
    pub port: u16,
    /// How many connections there were.
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    /// Where it is, without TLS.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// How many connections there were.
    pub fn asked(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Serves one reply per connection: what `answer` says for the number of the connection and the request.
pub async fn serve(answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
    serve_with(None, answer).await
}

/// The same with TLS.
pub async fn serve_tls(pair: &Pair, answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
    provider();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&pair.certificate).unwrap().collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain.unwrap(), key).unwrap();
    serve_with(Some(TlsAcceptor::from(Arc::new(config))), answer).await
}

/// The agent's program does this at its start.
pub fn provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
}

async fn serve_with(tls: Option<TlsAcceptor>, answer: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Server {
    provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (Arc::clone(&connections), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let (tls, answer) = (tls.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                match tls {
                    None => talk(stream, |request| answer(number, request)).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, |request| answer(number, request)).await;
                        }
                    }
                }
            });
        }
    });
    Server { port, connections }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&str) -> Reply) {
    let mut request = vec![0; 16 << 10];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let reply = answer(&String::from_utf8_lossy(&request[..read]));
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    match reply {
        Reply::Nothing => {}
        Reply::Silence => std::future::pending().await,
        Reply::Answer(status, headers, body) => {
            let length = body.len();
            let text =
                format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Drip => {
            let _ = stream.write_all(head(1 << 20).as_bytes()).await;
            while stream.write_all(b"x").await.is_ok() {
                let _ = stream.flush().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Reply::BreakOff => {
            let _ = stream.write_all(format!("{}half", head(8)).as_bytes()).await;
        }
        Reply::Huge(bytes) => {
            let _ = stream.write_all(head(bytes).as_bytes()).await;
            let chunk = vec![b'x'; 64 << 10];
            for _ in 0..bytes / chunk.len() {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = stream.shutdown().await;
}

/// A certificate and its key.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate authority with certificates for `localhost`.
pub struct Authority {
    folder: Folder,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let authority = Self { folder: Folder::new("authority") };
        authority.openssl(
            "req -x509 -days 300 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
             -subj /CN=throwaway -keyout DIR/ca.key -out DIR/ca.crt",
        );
        authority
    }

    /// File with its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Where files may be laid.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a certificate for `localhost` that is valid for so many days; with 0 it ends with the second that begins it.
    pub fn pair(&self, days: u32) -> Pair {
        let path = |kind: &str| self.folder.path().join(format!("server-{days}.{kind}"));
        let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n";
        std::fs::write(path("ext"), extensions).unwrap();
        let name = format!("DIR/server-{days}");
        self.openssl(&format!(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA DIR/ca.crt -CAkey DIR/ca.key -CAcreateserial -days {days} -extfile {name}.ext -out {name}.crt"
        ));
        Pair { certificate: path("crt"), key: path("key") }
    }

    fn openssl(&self, arguments: &str) {
        let folder = self.folder.path().display().to_string();
        let arguments: Vec<String> = arguments.split_whitespace().map(|word| word.replace("DIR", &folder)).collect();
        run(Path::new("openssl"), &arguments.iter().map(String::as_str).collect::<Vec<_>>(), None);
    }
}

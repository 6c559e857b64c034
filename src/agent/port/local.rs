//! What a client asks for when it connects, and what it is told.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Codes in the place of a protocol version.
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// The version that sessions here have: 3.0.
const PROTOCOL: u32 = 3 << 16;
/// PostgreSQL's own limit.
const LONGEST: usize = 10_000;

/// What a client asks for.
pub enum Asked {
    /// A session.
    Session(Startup),
    /// That another session's statement is cancelled.
    Cancel {
        /// The session's process.
        process_id: i32,
        /// What proves that it is the client's.
        secret_key: i32,
    },
}

/// How a client begins a session.
pub struct Startup {
    /// Minor version of the protocol.
    minor: u32,
    /// Options of the protocol, which nobody here knows.
    unknown: Vec<String>,
    /// Settings, in the order given.
    pub settings: Vec<(String, String)>,
}

/// Reads what a client asks for; TLS and GSS are declined: nothing leaves this pod unencrypted.
pub async fn asked(stream: &mut TcpStream) -> io::Result<Asked> {
    loop {
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        if !(8..=LONGEST).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = BytesMut::zeroed(length - 4);
        stream.read_exact(&mut body).await?;
        let mut body = body.freeze();
        match body.get_u32() {
            TLS | GSS => stream.write_all(b"N").await?,
            CANCEL if body.len() == 8 => {
                return Ok(Asked::Cancel { process_id: body.get_i32(), secret_key: body.get_i32() });
            }
            version if version >> 16 == 3 => return startup(version & 0xffff, &body).map(Asked::Session),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn startup(minor: u32, body: &Bytes) -> io::Result<Startup> {
    let text = std::str::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut parts = text.split('\0').map(str::to_owned);
    let mut startup = Startup { minor, unknown: Vec::new(), settings: Vec::new() };
    while let Some(name) = parts.next().filter(|name| !name.is_empty()) {
        let value = parts.next().ok_or(io::ErrorKind::InvalidData)?;
        if name.starts_with("_pq_.") {
            startup.unknown.push(name);
        } else {
            startup.settings.push((name, value));
        }
    }
    Ok(startup)
}

/// Returns what a client is told when its session stands: that it needs no password, then what the server said.
pub fn welcome(startup: &Startup, greeting: &[u8]) -> Bytes {
    let mut text = BytesMut::new();
    if startup.minor > 0 || !startup.unknown.is_empty() {
        message(&mut text, b'v', |body| {
            body.put_u32(PROTOCOL);
            body.put_u32(u32::try_from(startup.unknown.len()).unwrap_or(0));
            startup.unknown.iter().for_each(|name| put_text(body, name));
        });
    }
    message(&mut text, b'R', |body| body.put_u32(0));
    text.put_slice(greeting);
    text.freeze()
}

/// Returns what a client is told when there is no session for it.
pub fn fatal(why: &str) -> Bytes {
    let mut text = BytesMut::new();
    message(&mut text, b'E', |body| {
        for (field, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', "08006"), (b'M', why)] {
            body.put_u8(field);
            put_text(body, value);
        }
        body.put_u8(0);
    });
    text.freeze()
}

fn put_text(body: &mut BytesMut, text: &str) {
    body.put_slice(text.replace('\0', "").as_bytes());
    body.put_u8(0);
}

fn message(text: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    write(&mut body);
    text.put_u8(tag);
    text.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    text.put_slice(&body);
}

//! What a migration's command prints: passed through line by line without secrets, its end kept for the message.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::agent::redact::Redactor;

/// How much of the end is kept, in bytes.
const KEPT: usize = 1024;
/// A line that is longer is printed in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// The end of what was printed.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<String>>);

impl Tail {
    fn push(&self, line: &str) {
        let Ok(mut kept) = self.0.lock() else { return };
        kept.push_str(line);
        let mut from = kept.len().saturating_sub(KEPT);
        while !kept.is_char_boundary(from) {
            from += 1;
        }
        kept.drain(..from);
    }

    /// Returns it.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.lock().map(|kept| kept.trim().to_owned()).unwrap_or_default()
    }
}

/// Passes everything on until the other side ends.
pub async fn pass(mut from: impl AsyncRead + Unpin, redactor: Redactor, tail: Tail) {
    let mut held = Vec::new();
    let mut piece = [0; 8 << 10];
    loop {
        let read = from.read(&mut piece).await.unwrap_or(0);
        held.extend_from_slice(piece.get(..read).unwrap_or_default());
        let end = match held.iter().rposition(|byte| *byte == b'\n') {
            _ if read == 0 => held.len(),
            Some(newline) => newline + 1,
            // Not within a secret: its beginning would be printed.
            None if held.len() > LONGEST_LINE => held.len() - redactor.longest().min(held.len()),
            None => 0,
        };
        let whole: Vec<u8> = held.drain(..end).collect();
        let clean = redactor.text(&String::from_utf8_lossy(&whole));
        if !clean.is_empty() {
            tail.push(&clean);
            // Nobody may be reading; that is no reason to end a migration.
            let _ = std::io::stdout().lock().write_all(clean.as_bytes());
        }
        if read == 0 {
            return;
        }
    }
}

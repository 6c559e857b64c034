//! Lines for people and for programs that read along. A reader that went away is no reason to fail, which is why
//! these are not `println!` and `eprintln!`: those panic when the pipe is closed.

use std::fmt::Display;
use std::io::Write;

/// Writes one line to standard output, at once.
pub fn out(line: impl Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Writes one line to standard error.
pub fn err(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

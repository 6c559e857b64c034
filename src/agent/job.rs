//! A Job's command line: parameters in as one JSON argument, the result out as the container's termination message.
//!
//! Whatever leaves here is redacted, fits a termination message, and is whole JSON.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::redact::Redactor;
use crate::protocol::{Answer, Done, RESULT_BYTES, Refusal, Word};

/// Shortest that a message is cut to: verdicts of many checks are many messages.
const SHORTEST: usize = 4;

/// The variable that most programs read for the address of their database.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

/// What a Job was asked for.
pub struct Asked<P> {
    /// The parameters.
    pub parameters: P,
    /// What must not leave: every secret in a folder that the parameters name, and the password of an address in the
    /// environment.
    pub redactor: Redactor,
}

/// Reads parameters.
pub fn asked<P: DeserializeOwned>(json: &str) -> Result<Asked<P>, serde_json::Error> {
    let value: Value = serde_json::from_str(json)?;
    let mut folders = Vec::new();
    secrets(&value, &mut folders);
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let mut redactor = Redactor::of_folders(&folders);
    // In the image of users their template may have set it: what connects by itself prints it as it likes.
    if let Ok(address) = std::env::var(DATABASE_URL) {
        redactor.add_address(&address);
    }
    Ok(Asked { redactor, parameters: serde_json::from_value(value)? })
}

fn secrets(value: &Value, folders: &mut Vec<PathBuf>) {
    match value {
        Value::Object(map) => {
            folders.extend(map.get("secret").and_then(Value::as_str).map(PathBuf::from));
            map.values().for_each(|value| secrets(value, folders));
        }
        Value::Array(list) => list.iter().for_each(|value| secrets(value, folders)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Leaves an answer; returns whether it was done.
pub fn answer<T: Done>(came: Result<T, Refusal>, path: &Path, redactor: &Redactor) -> io::Result<bool> {
    let done = came.is_ok();
    leave(&came.map_or_else(Answer::Refused, Answer::Done), path, redactor)?;
    Ok(done)
}

/// Leaves a word.
pub fn leave(word: &impl Word, path: &Path, redactor: &Redactor) -> io::Result<()> {
    let text = message(word, redactor)?;
    // For people who read the log.
    println!("{text}");
    std::fs::write(path, text)
}

/// Returns a result as JSON that fits a termination message: messages are shortened until it does.
pub fn message(result: &impl Serialize, redactor: &Redactor) -> io::Result<String> {
    let mut value = serde_json::to_value(result)?;
    each_message(&mut value, &mut |text| *text = redactor.text(text));
    let mut longest = RESULT_BYTES;
    loop {
        let text = value.to_string();
        if text.len() <= RESULT_BYTES || longest < SHORTEST {
            return Ok(text);
        }
        longest /= 2;
        each_message(&mut value, &mut |text| {
            if text.chars().count() > longest {
                *text = text.chars().take(longest).chain(['…']).collect();
            }
        });
    }
}

/// Visits every text for people: the values named `message` or `detail`, and names of files.
fn each_message(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == "message" || name == "detail" => visit(text),
                    Value::Array(list) if name == "pendingNames" => list.iter_mut().for_each(|value| {
                        if let Value::String(text) = value {
                            visit(text);
                        }
                    }),
                    value => each_message(value, visit),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each_message(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::refuse, api::Reason};

    #[test]
    fn a_result_fits_and_stays_whole() {
        let refused: Answer<()> = Answer::Refused(refuse(Reason::MigrationFailed, "\u{1f600}\"\\".repeat(9000)));
        let text = message(&refused, &Redactor::default()).unwrap();
        assert!(text.len() <= RESULT_BYTES, "{} bytes", text.len());
        let read: Answer<()> = serde_json::from_str(&text).unwrap();
        assert!(matches!(read, Answer::Refused(refusal) if refusal.message.len() > 500));
    }
}

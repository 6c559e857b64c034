//! `inject`: the agent copies itself into a folder that a pod's other containers share.

use std::{io, os::unix::fs::PermissionsExt as _, path::Path};

/// Name of the program there.
const NAME: &str = "switchback-agent";

/// Copies this program into a folder; it appears there whole or not at all.
pub fn run(folder: &Path) -> io::Result<()> {
    let beside = folder.join(format!(".{NAME}"));
    std::fs::copy(std::env::current_exe()?, &beside)?;
    // Containers run under other users.
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(beside, folder.join(NAME))
}

//! Where PostgreSQL's programs are. Children get an environment of their own, without PATH, so a program is found
//! before it is started.

use std::path::{Path, PathBuf};

/// Returns the path of a program: in the folder that is named, else in the first of PATH that has it.
#[must_use]
pub fn find(folder: &Path, name: &str) -> PathBuf {
    if !folder.as_os_str().is_empty() {
        return folder.join(name);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| name.into())
}

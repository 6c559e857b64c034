//! What PostgreSQL's own programs are told: where they connect to, by files and environment. Nothing secret is in either
//! argv or environment.

use std::{
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{address::Address, tls::SslMode};

/// Files that only this process's user may read, removed when it is dropped.
pub struct Libpq {
    passfile: PathBuf,
    authorities: Option<PathBuf>,
}

impl Drop for Libpq {
    fn drop(&mut self) {
        for file in [Some(&self.passfile), self.authorities.as_ref()].into_iter().flatten() {
            // The folder is in memory and goes with the pod.
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Libpq {
    /// Writes what libpq reads: a passfile must be readable by its owner only, or it is ignored.
    ///
    /// # Errors
    /// The folder in memory cannot be written.
    pub fn write(memory: &Path, address: &Address) -> std::io::Result<Self> {
        let name = uuid::Uuid::new_v4();
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        let password = address.password.as_deref().unwrap_or_default();
        let line = format!("*:*:*:{}:{}\n", escaped(&address.username), escaped(password));
        let passfile = write_private(&memory.join(format!("{name}.pass")), &line)?;
        let authorities = address.authorities.as_deref();
        let authorities = authorities.map(|pem| write_private(&memory.join(format!("{name}.crt")), pem)).transpose()?;
        Ok(Self { passfile, authorities })
    }

    /// Returns the environment of a program whose sessions are called `switchback <name>`.
    #[must_use]
    pub fn environment(&self, address: &Address, name: &str) -> Vec<(&'static str, String)> {
        let mode = match address.mode {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        };
        let mut environment = vec![
            ("PGHOST", address.host.clone()),
            ("PGPORT", address.port.to_string()),
            ("PGDATABASE", address.dbname.clone()),
            ("PGUSER", address.username.clone()),
            ("PGPASSFILE", self.passfile.display().to_string()),
            ("PGSSLMODE", mode.to_owned()),
            ("PGAPPNAME", format!("switchback {name}")),
            ("PGCONNECT_TIMEOUT", "20".to_owned()),
            ("PGCLIENTENCODING", "UTF8".to_owned()),
            ("LC_ALL", "C".to_owned()),
        ];
        if let Some(authorities) = &self.authorities {
            environment.push(("PGSSLROOTCERT", authorities.display().to_string()));
        }
        environment
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<PathBuf> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(path.to_owned())
}

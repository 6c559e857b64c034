//! The application's PostgreSQL: how to get there. In: a URL, or the files of a mounted Secret. Out: connections.
//!
//! [`shop`] is what the application asks while it serves; [`migrate`] is its own migrations, in the role of a Job;
//! [`worker`] works on a queue.

mod migrate;
mod shop;
mod worker;

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::Database;
pub use migrate::run as migrate;
pub use shop::{Failure, Shop};
pub use worker::run as work;

/// How long a server may take to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Where the database is and who asks.
struct Login {
    config: Config,
    tls: Tls,
}

enum Tls {
    Off,
    /// Certificate and name of the server are verified.
    Verified(Box<MakeRustlsConnect>),
}

impl Login {
    /// Reads what the settings name. Nothing when they name nothing.
    fn read(settings: &Database) -> Result<Option<Self>, String> {
        // The URL goes first: in a migration it leads to the port that the migration is meant to use.
        let mut login = match (&settings.database_url, &settings.database_secret_dir) {
            (Some(url), _) => Self::from_url(url)?,
            (None, Some(folder)) => Self::from_folder(folder)?,
            (None, None) => return Ok(None),
        };
        login.config.connect_timeout(CONNECT_LIMIT).application_name("demo-app");
        Ok(Some(login))
    }

    /// A URL has no place for a certificate: it is for a server on this machine.
    fn from_url(url: &str) -> Result<Self, String> {
        // What is wrong with it is said without it, because of the password.
        let config: Config = url.parse().map_err(|_| "DATABASE_URL is not a URL that PostgreSQL knows".to_owned())?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err("DATABASE_URL asks for TLS, which needs the certificate in DATABASE_SECRET_DIR".to_owned());
        }
        Ok(Self { config, tls: Tls::Off })
    }

    fn from_folder(folder: &Path) -> Result<Self, String> {
        let file = |name: &str| read_file(&folder.join(name));
        let optional = |name: &str| folder.join(name).exists().then(|| file(name)).transpose();
        let port = optional("port")?.map_or(Ok(5432), |text| text.parse::<u16>());
        let mut config = Config::new();
        config
            .host(file("host")?)
            .port(port.map_err(|_| format!("{} holds no port", folder.join("port").display()))?)
            .dbname(file("dbname")?)
            .user(file("username")?)
            .password(file("password")?);
        let tls = if optional("sslmode")?.as_deref() == Some("disable") {
            config.ssl_mode(SslMode::Disable);
            Tls::Off
        } else {
            config.ssl_mode(SslMode::Require);
            Tls::Verified(Box::new(verified(&folder.join("ca.crt"))?))
        };
        Ok(Self { config, tls })
    }

    async fn connect(self) -> Result<Client, String> {
        // A connection is worked by a task; its end is seen by the next question.
        match self.tls {
            Tls::Off => self.config.connect(NoTls).await.map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }),
            Tls::Verified(tls) => self.config.connect(*tls).await.map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }),
        }
        .map_err(|error| words(&error))
    }
}

fn read_file(path: &PathBuf) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("could not read {}: {error}", path.display())
}

/// Trusts the authority in a file and nobody else, whatever sslmode says short of "disable".
fn verified(authority: &Path) -> Result<MakeRustlsConnect, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{} is of no use: {why}", authority.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Writes an error with what lies under it: on its own it often says no more than "db error".
fn words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{}: {} ({})", server.severity(), server.message(), server.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(url: Option<&str>, folder: Option<&Path>) -> Database {
        Database { database_url: url.map(str::to_owned), database_secret_dir: folder.map(Path::to_owned), schema: 1 }
    }

    #[test]
    fn without_settings_there_is_no_database_and_the_url_goes_before_the_folder() {
        assert!(Login::read(&database(None, None)).unwrap().is_none());
        let login = Login::read(&database(Some("postgres://me:secret@127.0.0.1/shop"), Some(Path::new("/nowhere"))));
        assert_eq!(login.unwrap().unwrap().config.get_dbname(), Some("shop"));
    }

    #[test]
    fn refusals_do_not_repeat_the_password() {
        for url in ["postgres://me:secret@127.0.0.1/shop?sslmode=require", "postgres://me:secret@127.0.0.1:x/shop"] {
            let refusal = Login::read(&database(Some(url), None)).err().unwrap();
            assert!(!refusal.contains("secret@"), "{refusal}");
        }
    }
}

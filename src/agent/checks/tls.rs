//! Certificates: the chain that a server shows must be trusted, made out for the name, and valid for long enough.

use std::{io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore, client::verify_server_cert_signed_by_trust_anchor,
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    client,
    judge::{Sample, Says},
};
use crate::{api::TlsCheck, clock};

/// A time at which every certificate has ended: 9999-12-31T23:59:59Z, the last that a certificate can name.
const FOR_EVER: Duration = Duration::from_secs(253_402_300_799);

/// What is asked, prepared.
pub(super) struct Prober<'a> {
    check: &'a TlsCheck,
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl<'a> Prober<'a> {
    pub fn new(check: &'a TlsCheck, ca: Option<&Path>) -> Result<Self, String> {
        let roots = Arc::new(roots(ca)?);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        let name = check.name().to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("{}: {error}", check.name()))?;
        Ok(Self { check, roots, config: Arc::new(config), name })
    }

    pub async fn sample(&self) -> Sample {
        let asked = tokio::time::timeout(self.check.timeout.as_std(), self.connect()).await;
        let (says, detail) = asked.unwrap_or((Says::Silent, "no answer in time".to_owned()));
        Sample::one(says, format!("{}:{}: {detail}", self.check.host, self.check.port))
    }

    async fn connect(&self) -> (Says, String) {
        let TlsCheck { host, port, .. } = self.check;
        let stream = match TcpStream::connect((host.as_str(), *port)).await {
            Ok(stream) => stream,
            Err(error) => return (Says::Silent, error.to_string()),
        };
        match TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream).await {
            Ok(stream) => self.judge(stream.get_ref().1.peer_certificates().unwrap_or_default()),
            Err(error) => refused(&error),
        }
    }

    /// Judges a chain that is valid now by whether it still will be.
    fn judge(&self, chain: &[CertificateDer<'_>]) -> (Says, String) {
        let Some((own, others)) = chain.split_first() else {
            return (Says::Silent, "the server showed no certificate".to_owned());
        };
        let end = ends(&self.verify(own, others, FOR_EVER));
        let until = end.map_or_else(String::new, |end| format!(" until {}", day(end)));
        let seconds = u64::try_from(clock::now().as_second()).unwrap_or(0);
        let then = Duration::from_secs(seconds).saturating_add(self.check.valid_for.as_std());
        let valid_for = self.check.valid_for;
        match self.verify(own, others, then) {
            Ok(()) => (
                Says::Within,
                format!("the certificate is trusted, made out for {} and valid{until}", self.check.name()),
            ),
            error @ Err(_) if ends(&error).is_some() => {
                let ended = ends(&error).map_or_else(String::new, day);
                (
                    Says::Breach,
                    format!("a certificate of the chain is valid until {ended} only, expected {valid_for} more"),
                )
            }
            Err(error) => (Says::Breach, format!("the chain is not valid {valid_for} from now: {error}")),
        }
    }

    fn verify(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], at: Duration) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(own)?;
        let algorithms = self.config.crypto_provider().signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(at);
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, at, algorithms)
    }
}

/// Returns whom to trust: the given authorities, else those of the image.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        Some(path) => client::authorities(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // Of the usual ones some may be too old for us; the others still count.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err("there are no certificate authorities to trust".to_owned()) } else { Ok(roots) }
}

/// Says why there is no connection: the certificate, or something that says nothing of it.
fn refused(error: &io::Error) -> (Says, String) {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            (Says::Breach, format!("the certificate has expired on {}", day(*not_after)))
        }
        Some(Error::InvalidCertificate(why)) => (Says::Breach, format!("the certificate is refused: {why}")),
        Some(Error::NoCertificatesPresented) => (Says::Breach, "the server showed no certificate".to_owned()),
        Some(other) => (Says::Silent, other.to_string()),
        None => (Says::Silent, error.to_string()),
    }
}

/// Returns when the first certificate ends of those for which it was too late.
fn ends(verified: &Result<(), Error>) -> Option<UnixTime> {
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(*not_after),
        Ok(()) | Err(_) => None,
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).strftime("%F %H:%M UTC").to_string()
}

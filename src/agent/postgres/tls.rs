//! TLS as libpq's `sslmode` means it.
//!
//! In: a mode and the authorities to trust. Out: a connector, and the server's key once it was seen. A connector is
//! for one connection: a resumed session would show no certificate.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::api::sha256_hex;

/// How much TLS is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disable,
    /// Where the server offers it; nothing is verified.
    Prefer,
    /// Always; the certificate is verified only when an authority is given, as libpq does.
    Require,
    /// The certificate must come from the authority.
    VerifyCa,
    /// It must also be made out for the host.
    VerifyFull,
}

impl SslMode {
    /// Reads libpq's name of a mode. `allow` is taken for `prefer`: it differs only in what is tried first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "disable" => Some(Self::Disable),
            "allow" | "prefer" => Some(Self::Prefer),
            "require" => Some(Self::Require),
            "verify-ca" => Some(Self::VerifyCa),
            "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }

    /// Returns libpq's name of the mode.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Where a connection leaves the SHA-256 of the server's key.
pub type SeenKey = Arc<OnceLock<String>>;

/// Returns a connector for one connection.
pub fn connector(mode: SslMode, authorities: Option<&str>) -> Result<(MakeRustlsConnect, SeenKey), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let seen = SeenKey::default();
    let verified = matches!(mode, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull);
    let trust =
        authorities.filter(|_| verified).map(|pem| Trust::read(pem, mode == SslMode::VerifyFull)).transpose()?;
    let verifier = Verifier { trust, provider: Arc::clone(&provider), seen: Arc::clone(&seen) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((MakeRustlsConnect::new(config), seen))
}

/// Whom to trust.
#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    name: bool,
}

impl Trust {
    fn read(pem: &str, name: bool) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let certificates = certificates.map_err(|error| format!("is not PEM: {error}"))?;
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
        }
        if roots.is_empty() {
            return Err("holds no certificate".to_owned());
        }
        Ok(Self { roots, certificates, name })
    }

    fn verify(&self, shown: &Shown<'_>, provider: &CryptoProvider) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(shown.certificate)?;
        let algorithms = provider.signature_verification_algorithms.all;
        let chain =
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, shown.intermediates, shown.now, algorithms);
        // A server whose certificate is its own authority is common, and libpq takes it; webpki says so only after it
        // has looked at the dates.
        match chain {
            Err(error)
                if format!("{error:?}").contains("CaUsedAsEndEntity")
                    && self.certificates.iter().any(|known| known == shown.certificate) => {}
            other => other?,
        }
        if self.name {
            verify_server_name(&parsed, shown.name)?;
        }
        Ok(())
    }
}

/// What a server showed.
struct Shown<'a> {
    certificate: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    name: &'a ServerName<'a>,
    now: UnixTime,
}

#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    provider: Arc<CryptoProvider>,
    seen: SeenKey,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(parsed) = ParsedCertificate::try_from(certificate) {
            // The first is kept: there is one certificate per connection.
            let _ = self.seen.set(sha256_hex(parsed.subject_public_key_info()));
        }
        if let Some(trust) = &self.trust {
            trust.verify(&Shown { certificate, intermediates, name, now }, &self.provider)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

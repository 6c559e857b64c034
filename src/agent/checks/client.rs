//! Clients for HTTP, certificate authorities, and answers that are not read further than they may be.

use std::{net::SocketAddr, path::Path};

use reqwest::{
    Certificate, Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// Returns a client for one address that follows no redirect, goes through no proxy, and connects anew for each request:
/// a kept connection would ask the same pod for ever.
pub(super) fn client(url: &str, ca: Option<&Path>, connect: Option<String>) -> Result<Client, String> {
    let mut builder = Client::builder().redirect(Policy::none()).no_proxy().pool_max_idle_per_host(0);
    builder = builder.user_agent("switchback-agent").referer(false);
    if let Some(path) = ca {
        let roots: Result<Vec<_>, _> = authorities(path)?
            .iter()
            .map(|der| Certificate::from_der(der).map_err(|error| innermost(&error)))
            .collect();
        builder = builder.tls_certs_only(roots?);
    } else if !url.starts_with("https:") {
        // Reading the usual authorities takes longer than many a request.
        builder = builder.tls_certs_only([]);
    }
    if let Some(instead) = connect {
        builder = builder.dns_resolver(Instead(instead));
    }
    builder.build().map_err(|error| innermost(&error))
}

/// Reads certificate authorities.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let place = path.display();
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("the certificate authorities of {place} cannot be read: {error}"))?;
    if found.is_empty() { Err(format!("there is no certificate in {place}")) } else { Ok(found) }
}

/// Resolves every name to the address of something else: the Service that is asked under another name.
struct Instead(String);

impl Resolve for Instead {
    fn resolve(&self, _: Name) -> Resolving {
        let instead = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host(instead).await?.collect();
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// A body, as far as it was read.
pub(super) struct Body {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub more: bool,
}

/// Reads a body to its end, or as far as it may be.
pub(super) async fn body(mut answer: Response, longest: usize) -> Result<Body, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let left = longest - bytes.len();
        if chunk.len() > left {
            bytes.extend(chunk.get(..left).unwrap_or_default());
            return Ok(Body { bytes, more: true });
        }
        bytes.extend(chunk);
    }
    Ok(Body { bytes, more: false })
}

/// Returns the cause: reqwest's own words repeat the address and say no more than that sending failed.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

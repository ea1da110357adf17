//! How the gateway's own outgoing connections are secured: TLS 1.2 and 1.3 with aws-lc-rs, the
//! system's authorities or a file of them, and a client certificate where the peer wants one.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

/// What a connection trusts and what it shows.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Authorities to trust: instead of the system's, but for upstreams.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The certificate that the gateway shows.
    pub identity: Option<Arc<CertifiedKey>>,
}

/// Why no TLS client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system has no certificate authority that can be used, and perhaps why.
    #[error(
        "no certificate authority was found on this system: install its CA certificates, name a file, or set SSL_CERT_FILE{0}"
    )]
    NoSystemAuthorities(String),
    /// One of the given authorities cannot be used.
    #[error("a certificate authority cannot be used: {0}")]
    Authority(rustls::Error),
    /// The library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// A TLS client that can be renewed: connections that are made from then on are made as it says then. Clones are one.
#[derive(Clone)]
pub struct TlsClient(Arc<ArcSwap<ClientConfig>>);

impl TlsClient {
    /// A client that connects in this way.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// From now on it connects in this way, and resumes no session from before.
    pub fn renew(&self, config: ClientConfig) {
        self.0.store(Arc::new(config));
    }

    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        self.0.load_full()
    }
}

/// How a connection was made, and whether one would be made so now.
#[derive(Clone)]
pub(crate) struct MadeWith {
    client: TlsClient,
    config: Arc<ClientConfig>,
}

impl MadeWith {
    /// Of a connection that is about to be made.
    pub(crate) fn now(client: &TlsClient) -> Self {
        let (client, config) = (client.clone(), client.current());
        Self { client, config }
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whether the client was not renewed since: perhaps the peer is not trusted any more.
    pub(crate) fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.config, &self.client.0.load())
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// A TLS client for protocols that need no ALPN (Redis, PostgreSQL).
///
/// # Errors
/// [`TlsError`].
pub fn client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    config(roots(tls.authorities.as_deref())?, tls.identity.as_ref())
}

/// A TLS client for HTTP/1.1.
///
/// # Errors
/// [`TlsError`].
pub fn http_client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    Ok(speaking(client_config(tls)?, &[b"http/1.1"]))
}

/// The same for upstreams, which may choose HTTP/2: the authorities are trusted besides the system's, which may have none then.
///
/// # Errors
/// [`TlsError`].
pub fn upstream_client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    let authorities = tls.authorities.as_deref().unwrap_or_default();
    let mut roots = match system_roots() {
        Err(TlsError::NoSystemAuthorities(_)) if !authorities.is_empty() => RootCertStore::empty(),
        system => system?,
    };
    add(&mut roots, authorities)?;
    Ok(speaking(
        config(roots, tls.identity.as_ref())?,
        &[b"h2", b"http/1.1"],
    ))
}

fn config(roots: RootCertStore, identity: Option<&Arc<CertifiedKey>>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots);
    Ok(match identity {
        Some(identity) => {
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(Arc::clone(identity)));
            builder.with_client_cert_resolver(shown)
        }
        None => builder.with_no_client_auth(),
    })
}

fn speaking(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// These authorities, or the system's.
pub(crate) fn roots(authorities: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, TlsError> {
    let Some(authorities) = authorities else {
        return system_roots();
    };
    let mut roots = RootCertStore::empty();
    add(&mut roots, authorities)?;
    Ok(roots)
}

fn add(roots: &mut RootCertStore, authorities: &[CertificateDer<'static>]) -> Result<(), TlsError> {
    let mut authorities = authorities.iter();
    authorities.try_for_each(|authority| roots.add(authority.clone()).map_err(TlsError::Authority))
}

/// The system's authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // System stores hold certificates that this library cannot use; those are left out.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        return Err(TlsError::NoSystemAuthorities(why.unwrap_or_default()));
    }
    Ok(roots)
}

#[cfg(test)]
pub(crate) mod tests {
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    /// The certificates of a PEM text.
    pub(crate) fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn tls_speaks_1_2_and_1_3_and_offers_http_1_1_to_http_servers_only() {
        let tls = ClientTls {
            authorities: Some(certificates(testkit::tls::Ca::new().pem())),
            identity: None,
        };
        assert!(client_config(&tls).unwrap().alpn_protocols.is_empty());
        assert_eq!(http_client_config(&tls).unwrap().alpn_protocols, [b"http/1.1"]);
        let of_upstreams = upstream_client_config(&tls).unwrap().alpn_protocols;
        assert_eq!(of_upstreams, [&b"h2"[..], b"http/1.1"]);
        let broken = ClientTls {
            authorities: Some(vec![CertificateDer::from(vec![0; 4])]),
            identity: None,
        };
        assert!(matches!(client_config(&broken), Err(TlsError::Authority(_))));
    }
}

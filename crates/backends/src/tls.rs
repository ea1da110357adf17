//! How the gateway's own outgoing connections are secured: TLS 1.2 and 1.3 with aws-lc-rs, the
//! system's authorities or a file of them, and a client certificate where the peer wants one.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

/// What a connection trusts and what it shows.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    /// Authorities to trust instead of the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// The certificate that the gateway shows.
    pub identity: Option<Arc<CertifiedKey>>,
}

/// Why no TLS client can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system has no certificate authority that can be used.
    #[error("no certificate authority was found on this system: install its CA certificates or name a file")]
    NoSystemAuthorities,
    /// One of the given authorities cannot be used.
    #[error("a certificate authority cannot be used: {0}")]
    Authority(rustls::Error),
    /// The library refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// A TLS client for protocols that need no ALPN (Redis, PostgreSQL).
///
/// # Errors
/// [`TlsError`].
pub fn client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots(tls.authorities.as_deref())?);
    Ok(match &tls.identity {
        Some(identity) => {
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(Arc::clone(identity)));
            builder.with_client_cert_resolver(shown)
        }
        None => builder.with_no_client_auth(),
    })
}

/// A TLS client for HTTP/1.1.
///
/// # Errors
/// [`TlsError`].
pub fn http_client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    let mut config = client_config(tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A TLS client for upstreams, which may choose HTTP/2.
///
/// # Errors
/// [`TlsError`].
pub fn upstream_client_config(tls: &ClientTls) -> Result<ClientConfig, TlsError> {
    let mut config = client_config(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// These authorities, or the system's.
pub(crate) fn roots(authorities: Option<&[CertificateDer<'static>]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(authorities) = authorities {
        for authority in authorities {
            roots.add(authority.clone()).map_err(TlsError::Authority)?;
        }
        return Ok(roots);
    }
    // System stores hold certificates that this library cannot use; those are left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemAuthorities);
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

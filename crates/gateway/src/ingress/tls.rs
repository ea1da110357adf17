//! TLS towards callers: 1.2 at least, 1.3 preferred (RFC 8446), AEAD suites with forward secrecy only.

use std::sync::Arc;

use config::ServerTls;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};

/// HTTP/2's name in ALPN (RFC 7301).
pub const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// How TLS is spoken with this certificate.
///
/// # Errors
/// The crypto library supports none of the two protocol versions.
pub fn server_config(server: &ServerTls) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let identity = Arc::clone(server.identity.certified_key());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
    Ok(config)
}

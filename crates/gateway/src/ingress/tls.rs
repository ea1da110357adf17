//! TLS towards callers: 1.2 at least, 1.3 preferred (RFC 8446), AEAD suites with forward secrecy only.

use std::collections::HashMap;
use std::sync::Arc;

use config::{ClientCertificates, ServerTls};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// HTTP/2's name in ALPN (RFC 7301).
pub const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// How TLS is spoken: which certificates are shown, and which are asked for.
///
/// # Errors
/// The crypto library supports none of the two protocol versions, or cannot use one of the authorities.
pub fn server_config(server: &ServerTls) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = clients(server.clients.as_ref(), &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Certificates::new(server)));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
    if server.clients.is_some() {
        // Whoever resumes a session is not asked again for a certificate, which may have expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}

fn clients(
    asked: Option<&ClientCertificates>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
    let Some(asked) = asked else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for authority in &asked.authorities.certificates {
        roots.add(authority.clone())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = match asked.are_required {
        true => verifier,
        false => verifier.allow_unauthenticated(),
    };
    verifier
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}

/// The certificates that callers are shown.
#[derive(Debug)]
struct Certificates {
    /// To callers who ask for no name, or for one that no other has.
    default: Arc<CertifiedKey>,
    /// By name in lower case; a first label `*` stands for any one.
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn new(server: &ServerTls) -> Self {
        let named = server.named.iter().flat_map(|named| named.iter());
        Self {
            default: Arc::clone(server.identity.certified_key()),
            named: named
                .map(|(name, identity)| (name.to_owned(), Arc::clone(identity.certified_key())))
                .collect(),
        }
    }

    fn of(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let named = name.filter(|_| !self.named.is_empty()).and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = |(_, parent): (&str, &str)| self.named.get(&format!("*.{parent}"));
            self.named
                .get(&name)
                .or_else(|| name.split_once('.').and_then(wildcard))
        });
        named.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.of(hello.server_name())))
    }
}

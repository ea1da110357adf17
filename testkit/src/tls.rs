//! A certificate authority made for one test, and TLS in front of anything on loopback.

use crate::http::Stream;
use crate::wait::PATIENCE;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A root certificate that signs what the test needs.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its chain and its key, in PEM.
pub struct Identity {
    /// The leaf first, then the intermediates; the root is not in it.
    pub certificate: String,
    /// The key, PKCS #8.
    pub key: String,
}

/// Where an [`Identity`] was written.
pub struct Files {
    /// The chain.
    pub certificate: PathBuf,
    /// The key, readable by the owner alone.
    pub key: PathBuf,
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

impl Ca {
    /// A new root with a new key.
    pub fn new() -> Self {
        let (params, key) = (authority("test root"), new_key());
        let certificate = params.self_signed(&key).expect("a root certificate");
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The root certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for these host names and addresses, signed by the root.
    pub fn server(&self, names: &[&str]) -> Identity {
        sign(
            &leaf(names, ExtendedKeyUsagePurpose::ServerAuth),
            &self.issuer,
            "",
        )
    }

    /// A server certificate signed by an intermediate, which stands second in the chain.
    pub fn server_with_chain(&self, names: &[&str]) -> Identity {
        let (params, key) = (authority("test intermediate"), new_key());
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("an intermediate certificate");
        let issuer = Issuer::new(params, key);
        sign(
            &leaf(names, ExtendedKeyUsagePurpose::ServerAuth),
            &issuer,
            &certificate.pem(),
        )
    }

    /// A server certificate that ran out in 2001.
    pub fn expired_server(&self, names: &[&str]) -> Identity {
        let mut params = leaf(names, ExtendedKeyUsagePurpose::ServerAuth);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        sign(&params, &self.issuer, "")
    }

    /// A client certificate for this common name.
    pub fn client(&self, name: &str) -> Identity {
        sign(
            &leaf(&[name], ExtendedKeyUsagePurpose::ClientAuth),
            &self.issuer,
            "",
        )
    }

    /// A client that trusts this root alone and offers these protocols (ALPN), `h2` or `http/1.1`.
    pub fn client_config(&self, protocols: &[&str]) -> ClientConfig {
        self.client_with(None, protocols)
    }

    /// The same, which shows this certificate.
    pub fn client_config_as(&self, identity: &Identity, protocols: &[&str]) -> ClientConfig {
        self.client_with(Some(identity), protocols)
    }

    fn client_with(&self, identity: Option<&Identity>, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root certificate");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("default protocol versions")
            .with_root_certificates(roots);
        let mut config = match identity.map(Identity::der) {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config
                .with_client_auth_cert(chain, key)
                .expect("a pair that fits"),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Connects by TLS to `addr` as `name`, without ALPN.
    ///
    /// # Panics
    /// When the handshake fails.
    pub async fn connect(&self, addr: SocketAddr, name: &str) -> Box<dyn Stream> {
        connect(addr, name, self.client_config(&[]))
            .await
            .expect("a TLS connection")
    }
}

/// Connects by TLS to `addr` as `name`.
///
/// # Errors
/// When the connection or the handshake fails, or takes longer than [`PATIENCE`].
pub async fn connect(addr: SocketAddr, name: &str, config: ClientConfig) -> std::io::Result<Box<dyn Stream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a host name or address");
    let handshake = async {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    };
    Ok(Box::new(timeout(PATIENCE, handshake).await??))
}

impl Identity {
    /// Writes `certificate.pem` and `key.pem` into `directory`.
    pub fn write_to(&self, directory: &Path) -> Files {
        Files {
            certificate: Self::write(directory, "certificate.pem", &self.certificate),
            key: Self::write(directory, "key.pem", &self.key),
        }
    }

    /// Writes a file that its owner alone may read.
    pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .expect("a new file");
        file.write_all(text.as_bytes()).expect("a written file");
        path
    }

    /// A server that shows this certificate and speaks these protocols (ALPN).
    pub fn server_config(&self, protocols: &[&str]) -> ServerConfig {
        self.server(protocols, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, for clients that show a certificate of this authority.
    pub fn demanding_config(&self, clients: &Ca, protocols: &[&str]) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.der.clone()).expect("a root certificate");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        self.server(protocols, verifier.build().expect("a verifier"))
    }

    fn server(&self, protocols: &[&str], clients: Arc<dyn ClientCertVerifier>) -> ServerConfig {
        let (chain, key) = self.der();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("default protocol versions")
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .expect("a certificate that fits its key");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes());
        (chain.expect("a chain in PEM"), key.expect("a key in PEM"))
    }
}

/// A listener that takes TLS off and passes the bytes on to a plain server. Ends when dropped.
pub struct TlsFront {
    addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl TlsFront {
    /// Listens on a free port of 127.0.0.1 in front of `target`.
    pub async fn start(target: SocketAddr, config: ServerConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("the address of a listener");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A handshake that fails, or a broken connection, is the business of the two ends.
                    let Ok(Ok(mut client)) = timeout(PATIENCE, acceptor.accept(client)).await else {
                        return;
                    };
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { addr, _tasks: tasks }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The one crypto provider, named so that no process-wide default is needed.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a new key")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(names: &[&str], usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).expect("host names and addresses");
    params.distinguished_name.push(DnType::CommonName, "test leaf");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>, intermediates: &str) -> Identity {
    let key = new_key();
    let certificate = params.signed_by(&key, issuer).expect("a signed certificate");
    Identity {
        certificate: certificate.pem() + intermediates,
        key: key.serialize_pem(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ca, TlsFront, connect};
    use crate::proxy::tests::echo;

    #[tokio::test]
    async fn front_is_trusted_by_name_and_through_a_chain_but_not_when_expired_or_foreign() {
        let ca = Ca::new();
        let (target, _echo) = echo().await;
        let names = ["api.example", "127.0.0.1"];
        for (identity, name, trusted) in [
            (ca.server(&names), "api.example", true),
            (ca.server_with_chain(&names), "127.0.0.1", true),
            (ca.server(&names), "other.example", false),
            (ca.expired_server(&names), "api.example", false),
            (Ca::new().server(&names), "api.example", false),
        ] {
            let front = TlsFront::start(target, identity.server_config(&["http/1.1"])).await;
            let stream = connect(front.addr(), name, ca.client_config(&["http/1.1"])).await;
            assert_eq!(stream.is_ok(), trusted, "{name}");
            if let Ok(mut stream) = stream {
                crate::http::write_all(&mut stream, b"through").await;
                assert_eq!(crate::http::read_exactly(&mut stream, 7).await, b"through");
            }
        }
    }
}

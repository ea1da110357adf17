//! How much of the server's certificate is judged, by libpq's rules.

use std::sync::Arc;

use admission::ports::Cause;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::pem::PemTls;
use crate::tls;

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it, its certificate unseen.
    Prefer,
    /// TLS or nothing; the certificate is judged when authorities are configured for it.
    Require,
    /// A certificate of a trusted authority, for whatever name.
    VerifyCa,
    /// A certificate of a trusted authority for this host name.
    VerifyFull,
}

/// The client side of TLS; none when the mode never uses it.
///
/// # Errors
/// When a certificate cannot be used, or the mode needs authorities and there are none.
pub(super) fn client(mode: SslMode, pem: &PemTls) -> Result<Option<ClientConfig>, Cause> {
    let provider = tls::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let authorities = pem
        .authorities
        .as_ref()
        .map(|pem| certificates(pem))
        .transpose()?;
    let roots = || tls::roots(authorities.as_deref()).map_err(|error| wrong(&error));
    // With authorities at hand, `require` judges the chain too, as libpq does.
    let builder = match (mode, &authorities) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::VerifyFull, _) => builder.with_root_certificates(roots()?),
        (SslMode::Prefer, _) | (SslMode::Require, None) => {
            let any = AnyName {
                chain: None,
                provider,
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(any))
        }
        (SslMode::Require | SslMode::VerifyCa, _) => {
            let chain =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots()?), Arc::clone(&provider));
            let chain = Some(chain.build().map_err(|error| wrong(&error))?);
            let any = AnyName { chain, provider };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(any))
        }
    };
    let config = match &pem.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(&identity.key).map_err(|error| wrong(&error))?;
            builder
                .with_client_auth_cert(certificates(&identity.certificate)?, key)
                .map_err(|error| wrong(&error))?
        }
    };
    Ok(Some(config))
}

/// At least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| wrong(&error))?;
    if certificates.is_empty() {
        return Err(Cause::new("postgres tls: no certificate in the file"));
    }
    Ok(certificates)
}

fn wrong(error: &dyn std::error::Error) -> Cause {
    Cause::new(format!("postgres tls: {error}"))
}

/// A certificate for whatever name: of a trusted chain, or any at all where `sslmode` asks for encryption and not for
/// proof of the other end.
#[derive(Debug)]
struct AnyName {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is the last thing that is judged: this error alone means that all else holds.
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

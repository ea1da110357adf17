//! A certificate chain and its private key, judged before anyone uses them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::file::read_file;

/// A certificate chain whose leaf matches its private key.
///
/// Its period of validity is known but not judged here: whether an expired certificate is an error depends on the mode.
#[derive(Clone)]
pub struct Identity {
    source: Source,
    certified: Arc<CertifiedKey>,
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// The two files and the variables that name them.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) certificate: (&'static str, PathBuf),
    pub(crate) private_key: (&'static str, PathBuf),
}

/// Why a certificate pair, or a file of authorities, cannot be used. Names the variable and the fix.
///
/// Neither a path nor anything of a file's content is shown: either may be key material put in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("{name}: the file it names cannot be read: {kind}")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The file holds no certificate that can be parsed.
    #[error("{name}: the file must hold PEM certificates (BEGIN CERTIFICATE), the leaf first")]
    NoCertificate {
        /// The variable.
        name: &'static str,
    },
    /// The file holds no private key that can be used.
    #[error(
        "{name}: the file must hold an unencrypted PEM private key (RSA of at least 2048 bits, ECDSA or Ed25519)"
    )]
    NoKey {
        /// The variable.
        name: &'static str,
    },
    /// The private key belongs to another certificate.
    #[error(
        "{key} does not match the first certificate in {cert}; put the leaf first, and its own key beside it"
    )]
    Mismatch {
        /// The certificate's variable.
        cert: &'static str,
        /// The key's variable.
        key: &'static str,
    },
}

impl Identity {
    pub(crate) fn load(source: Source) -> Result<Self, IdentityError> {
        let (cert_name, key_name) = (source.certificate.0, source.private_key.0);
        let chain_pem = read(cert_name, &source.certificate.1)?;
        let key_pem = read(key_name, &source.private_key.1)?;

        let chain = certificates(cert_name, &chain_pem)?;
        let no_certificate = IdentityError::NoCertificate { name: cert_name };
        let (not_before, not_after) = chain.first().and_then(validity).ok_or(no_certificate.clone())?;

        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .ok()
            .and_then(|der| any_supported_type(&der).ok());
        let key = key.ok_or(IdentityError::NoKey { name: key_name })?;

        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => no_certificate,
            _ => IdentityError::Mismatch {
                cert: cert_name,
                key: key_name,
            },
        })?;
        Ok(Self {
            source,
            certified: Arc::new(certified),
            chain_pem,
            key_pem,
            not_before,
            not_after,
        })
    }

    /// Reads the same files again, so that a renewed pair is judged like the first, but for its period of validity.
    ///
    /// # Errors
    /// As at start; the caller keeps the pair it has.
    pub fn reload(&self) -> Result<Self, IdentityError> {
        Self::load(self.source.clone())
    }

    /// The chain and the signing key as rustls takes them, for servers and clients alike.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The chain in PEM, for libraries that want it so.
    #[must_use]
    pub fn chain_pem(&self) -> &[u8] {
        &self.chain_pem
    }

    /// The private key in PEM, for libraries that want it so.
    #[must_use]
    pub fn expose_key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// When the leaf begins to be valid.
    pub(crate) fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When the leaf ceases to be valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How long the leaf is still valid; `None` when it has expired.
    pub(crate) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate_file", &self.source.certificate.1)
            .field("certificates", &self.certified.cert.len())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

pub(crate) fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    read_file(path).map_err(|error| IdentityError::Unreadable {
        name,
        kind: error.kind(),
    })
}

/// Every certificate in a PEM file: at least one, and each of them well formed.
pub(crate) fn certificates(
    name: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() && chain.iter().all(|der| validity(der).is_some()) => Ok(chain),
        _ => Err(IdentityError::NoCertificate { name }),
    }
}

fn validity(der: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    rest.is_empty().then_some((
        system_time(validity.not_before)?,
        system_time(validity.not_after)?,
    ))
}

/// Times before 1970 count as 1970.
fn system_time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

//! A certificate chain and its private key, judged before anyone uses them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::file::Contents;
use crate::pem::{Pem, PemFault};

/// A certificate chain whose leaf matches its private key.
///
/// Its period of validity is known but not judged here: whether an expired certificate is an error depends on the mode.
#[derive(Clone)]
pub struct Identity {
    source: Source,
    contents: Contents,
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
    /// The file holds no certificate, or one that cannot be parsed.
    #[error("{name}: the file {found}; it must hold PEM certificates (BEGIN CERTIFICATE), the leaf first")]
    NoCertificate {
        /// The variable.
        name: &'static str,
        /// What it holds.
        found: PemFault,
    },
    /// The file holds no private key that can be used.
    #[error(
        "{name}: the file {found}; it must hold an unencrypted PEM private key (RSA of at least 2048 bits, ECDSA or Ed25519)"
    )]
    NoKey {
        /// The variable.
        name: &'static str,
        /// What it holds.
        found: PemFault,
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
    /// Makes a pair of what was found in its two files.
    pub(crate) fn made_of(source: Source, contents: &Contents) -> Result<Self, IdentityError> {
        let (cert_name, key_name) = (source.certificate.0, source.private_key.0);
        let chain_pem = read(contents, &source.certificate)?;
        let key_pem = read(contents, &source.private_key)?;

        let no_certificate = |found| IdentityError::NoCertificate {
            name: cert_name,
            found,
        };
        let chain_pem = Pem::of(chain_pem).map_err(no_certificate)?;
        let chain = chain_pem.certificates().map_err(no_certificate)?;
        let malformed = || no_certificate(PemFault::MalformedCertificate(1));
        let (not_before, not_after) = chain.first().and_then(validity).ok_or_else(malformed)?;

        let no_key = |found| IdentityError::NoKey {
            name: key_name,
            found,
        };
        let key_pem = Pem::of(key_pem).map_err(no_key)?;
        let key = any_supported_type(&key_pem.private_key().map_err(no_key)?);
        let key = key.map_err(|_| no_key(PemFault::UnusableKey))?;

        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => malformed(),
            _ => IdentityError::Mismatch {
                cert: cert_name,
                key: key_name,
            },
        })?;
        Ok(Self {
            contents: contents.part(source.paths()),
            source,
            certified: Arc::new(certified),
            chain_pem: chain_pem.into_bytes(),
            key_pem: key_pem.into_bytes(),
            not_before,
            not_after,
        })
    }

    /// Where its chain lies.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        &self.source.certificate.1
    }

    /// The files that it is made of.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The DNS names of the leaf (RFC 5280 §4.2.1.6) in lower case, in their order and once each.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let leaf = self.certified.cert.first();
        let leaf = leaf.and_then(|der| X509Certificate::from_der(der).ok());
        let names = leaf
            .as_ref()
            .and_then(|(_, leaf)| leaf.subject_alternative_name().ok()?);
        let mut found = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            if let GeneralName::DNSName(name) = name {
                let name = name.to_ascii_lowercase();
                if !found.contains(&name) {
                    found.push(name);
                }
            }
        }
        found
    }

    /// What was found in them.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
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

impl Source {
    /// The two files.
    pub(crate) fn paths(&self) -> [&Path; 2] {
        [&self.certificate.1, &self.private_key.1]
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

/// What was found in the file that a variable names.
pub(crate) fn read<'c>(
    contents: &'c Contents,
    &(name, ref path): &(&'static str, PathBuf),
) -> Result<&'c [u8], IdentityError> {
    let found = contents.of(path);
    found.map_err(|kind| IdentityError::Unreadable { name, kind })
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

//! Certificates, keys and certificate authorities, read from PEM files at start.

use std::path::Path;
use std::time::{Duration, SystemTime};

use admission::mode::Mode;
use rustls_pki_types::CertificateDer;

use crate::identity::{self, Identity, Source};
use crate::keys::Key;
use crate::reader::{Read, Reader};
use crate::violation::Violation;
use crate::warning::Warning;

/// A certificate with less time left is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * DAY);

const DAY: u64 = 24 * 3600;

/// How a connection that the gateway makes is secured, beyond what its URL says.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Authorities to trust instead of the system's.
    pub authorities: Option<Authorities>,
    /// The certificate that the gateway shows.
    pub identity: Option<Identity>,
}

/// A file of certificate authorities, at least one.
#[derive(Clone)]
pub struct Authorities {
    /// The file's content, for libraries that want PEM.
    pub pem: Vec<u8>,
    /// The certificates in it.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authorities({})", self.certificates.len())
    }
}

impl Authorities {
    pub(crate) fn load(name: &'static str, path: &Path) -> Result<Self, Violation> {
        let pem = identity::read(name, path)?;
        let certificates = identity::certificates(name, &pem)?;
        Ok(Self { pem, certificates })
    }
}

/// The variables of one connection that the gateway makes.
pub(crate) struct ClientTlsKeys {
    /// The connection's address, named when it does not ask for TLS.
    pub(crate) url: &'static Key,
    pub(crate) authorities: &'static Key,
    pub(crate) certificate: &'static Key,
    pub(crate) private_key: &'static Key,
}

impl ClientTls {
    /// Reads the files. `in_use` is whether the connection's URL asks for TLS at all; where it is unknown
    /// (the URL is wrong itself), nothing is said about it.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        in_use: Read<bool>,
        keys: &ClientTlsKeys,
    ) -> Read<Self> {
        let authorities = match reader.file(keys.authorities) {
            Some(path) => reader
                .judge(Authorities::load(keys.authorities.name, &path))
                .map(Some),
            None => Ok(None),
        };
        let identity = read_identity(reader, mode, keys.certificate, keys.private_key);
        let (authorities, identity) = (authorities?, identity?);
        // Authorities or a client certificate for a connection in plain text are a mistake in one of the two.
        let asked = match (&authorities, &identity) {
            (Some(_), _) => Some(keys.authorities),
            (None, Some(_)) => Some(keys.certificate),
            (None, None) => None,
        };
        match (asked, in_use) {
            (Some(asked), Ok(false)) => Err(reader.report(Violation::TlsWithoutTls {
                name: asked.name,
                url: keys.url.name,
            })),
            _ => Ok(Self {
                authorities,
                identity,
            }),
        }
    }
}

/// Reads a certificate pair, if it is named, and judges its period of validity. One half without the other is refused.
pub(crate) fn read_identity(
    reader: &mut Reader<'_>,
    mode: Read<Mode>,
    certificate: &Key,
    private_key: &Key,
) -> Read<Option<Identity>> {
    let (cert, key) = (certificate.name, private_key.name);
    let source = match (reader.file(certificate), reader.file(private_key)) {
        (Some(cert_file), Some(key_file)) => Source {
            certificate: (cert, cert_file),
            private_key: (key, key_file),
        },
        (None, None) => return Ok(None),
        _ => return Err(reader.report(Violation::HalfPair { cert, key })),
    };
    load_identity(reader, mode, source).map(Some)
}

/// Loads a certificate pair and judges its period of validity.
pub(crate) fn load_identity(reader: &mut Reader<'_>, mode: Read<Mode>, source: Source) -> Read<Identity> {
    let cert = source.certificate.0;
    let identity = reader.judge(Identity::load(source).map_err(Violation::from))?;
    let period = certificate_period(mode.ok(), cert, &identity, reader.now());
    if let Some(warning) = reader.judge(period)? {
        reader.warn(warning);
    }
    Ok(identity)
}

/// Production refuses a certificate outside its period of validity; development warns of it.
fn certificate_period(
    mode: Option<Mode>,
    name: &'static str,
    identity: &Identity,
    now: SystemTime,
) -> Result<Option<Warning>, Violation> {
    let state = match (now.duration_since(identity.not_before()), identity.time_left(now)) {
        (Ok(_), Some(left)) if left >= EXPIRES_SOON => return Ok(None),
        (Ok(_), Some(left)) => {
            return Ok(Some(Warning::CertificateExpiresSoon {
                name,
                days: left.as_secs() / DAY,
            }));
        }
        (Ok(_), None) => {
            let ago = now.duration_since(identity.not_after()).unwrap_or_default();
            format!("expired {} days ago", ago.as_secs() / DAY)
        }
        (Err(early), _) => format!(
            "is not valid for another {} days",
            early.duration().as_secs().div_ceil(DAY)
        ),
    };
    match mode {
        Some(Mode::Dev(_)) | None => Ok(Some(Warning::CertificatePeriod { name, state })),
        Some(Mode::Production) => Err(Violation::CertificatePeriod(name, state)),
    }
}

//! Certificates, keys and certificate authorities, read from PEM files at start.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use admission::mode::Mode;
use rustls_pki_types::CertificateDer;

use crate::file::Contents;
use crate::identity::{self, Identity, IdentityError, Source};
use crate::keys::Key;
use crate::pem::Pem;
use crate::reader::{Read, Reader};
use crate::renewal::{Renewable, judged, or_kept};
use crate::violation::{Violation, Violations};
use crate::warning::Warning;

/// A certificate with fewer days left is worth a warning.
pub const EXPIRES_SOON_DAYS: u32 = 30;
const EXPIRES_SOON: Duration = Duration::from_secs(EXPIRES_SOON_DAYS as u64 * DAY);

const DAY: u64 = 24 * 3600;

/// How a connection that the gateway makes is secured, beyond what its URL says.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Authorities to trust, instead of the system's unless something else is said.
    pub authorities: Option<Authorities>,
    /// The certificate that the gateway shows.
    pub identity: Option<Identity>,
}

/// A file of certificate authorities, at least one.
#[derive(Clone)]
pub struct Authorities {
    /// The file and what names it.
    source: (&'static str, PathBuf),
    /// What was found in it.
    contents: Contents,
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
    /// Reads the file that a variable names.
    pub(crate) fn load(name: &'static str, path: PathBuf) -> Result<Self, Violation> {
        let contents = Contents::read([path.as_path()]);
        Self::made_of((name, path), &contents)
    }

    /// What was found in the file.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The same of what is in the file now.
    pub(crate) fn renewed(&self, contents: &Contents) -> Result<Self, Violation> {
        Self::made_of(self.source.clone(), contents)
    }

    fn made_of(source: (&'static str, PathBuf), contents: &Contents) -> Result<Self, Violation> {
        let name = source.0;
        let pem = Pem::of(identity::read(contents, &source)?);
        let pem = pem.and_then(|pem| pem.certificates().map(|certificates| (pem, certificates)));
        let (pem, certificates) = pem.map_err(|found| IdentityError::NoCertificate { name, found })?;
        Ok(Self {
            contents: contents.part([source.1.as_path()]),
            source,
            pem: pem.into_bytes(),
            certificates,
        })
    }
}

/// The variables of one connection that the gateway makes.
pub(crate) struct ClientTlsKeys {
    pub(crate) authorities: &'static Key,
    pub(crate) certificate: &'static Key,
    pub(crate) private_key: &'static Key,
}

impl ClientTls {
    /// Reads the files.
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>, keys: &ClientTlsKeys) -> Read<Self> {
        let authorities = match reader.file(keys.authorities) {
            Some(path) => reader
                .judge(Authorities::load(keys.authorities.name, path))
                .map(Some),
            None => Ok(None),
        };
        let identity = read_identity(reader, mode, keys.certificate, keys.private_key);
        Ok(Self {
            authorities: authorities?,
            identity: identity?,
        })
    }

    /// Reads the files for a connection whose URL may ask for TLS, or not: then they are a mistake in one of the two. Where
    /// that is unknown (the URL is wrong itself), nothing is said about it.
    pub(crate) fn read_for(
        reader: &mut Reader<'_>,
        mode: Read<Mode>,
        (url, in_use): (&Key, Read<bool>),
        keys: &ClientTlsKeys,
    ) -> Read<Self> {
        let tls = Self::read(reader, mode, keys)?;
        let asked = match (&tls.authorities, &tls.identity) {
            (Some(_), _) => Some(keys.authorities),
            (None, Some(_)) => Some(keys.certificate),
            (None, None) => None,
        };
        match (asked, in_use) {
            (Some(asked), Ok(false)) => Err(reader.report(Violation::TlsWithoutTls {
                name: asked.name,
                url: url.name,
            })),
            _ => Ok(tls),
        }
    }
}

impl Renewable for ClientTls {
    fn made_of(&self) -> Contents {
        let mut contents = Contents::default();
        let authorities = self.authorities.iter().map(Authorities::contents);
        let identity = self.identity.iter().map(Identity::contents);
        authorities
            .chain(identity)
            .for_each(|part| contents.add(part.clone()));
        contents
    }

    fn renewed(&self, contents: &Contents, mode: Mode, now: SystemTime) -> (Self, Option<Violations>) {
        judged(now, |reader| {
            let (authorities, identity) = (self.authorities.as_ref(), self.identity.as_ref());
            Self {
                authorities: authorities.map(|known| renewed_authorities(reader, known, contents)),
                identity: identity.map(|known| renewed_identity(reader, mode, known, contents)),
            }
        })
    }

    fn identities(&self) -> Vec<&Identity> {
        self.identity.iter().collect()
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
    let contents = Contents::read(source.paths());
    judge_identity(reader, mode, source, &contents)
}

/// Makes a certificate pair of what its files hold and judges its period of validity.
pub(crate) fn judge_identity(
    reader: &mut Reader<'_>,
    mode: Read<Mode>,
    source: Source,
    contents: &Contents,
) -> Read<Identity> {
    let cert = source.certificate.0;
    let identity = reader.judge(Identity::made_of(source, contents).map_err(Violation::from))?;
    let period = certificate_period(mode.ok(), cert, &identity, reader.now());
    if let Some(warning) = reader.judge(period)? {
        reader.warn(warning);
    }
    Ok(identity)
}

/// The pair as its files are now, or else as it is.
pub(crate) fn renewed_identity(
    reader: &mut Reader<'_>,
    mode: Mode,
    known: &Identity,
    contents: &Contents,
) -> Identity {
    let judged = judge_identity(reader, Ok(mode), known.source().clone(), contents);
    or_kept(judged, known)
}

/// The authorities as their file is now, or else as they are.
pub(crate) fn renewed_authorities(
    reader: &mut Reader<'_>,
    known: &Authorities,
    contents: &Contents,
) -> Authorities {
    let judged = known.renewed(contents);
    or_kept(reader.judge(judged), known)
}

/// Production refuses a certificate outside its period of validity; development warns of it.
pub(crate) fn certificate_period(
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

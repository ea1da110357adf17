//! Certificates, keys and certificate authorities, read from PEM files.
//!
//! The same function reads them at start and after a change on disk, so that a renewed pair is judged like the first.

mod identity;

use std::path::Path;

use admission::mode::Mode;
use rustls_pki_types::CertificateDer;

pub(crate) use identity::Source;
pub use identity::{Identity, IdentityError};

use crate::keys::Key;
use crate::reader::{Read, Reader};
use crate::rules;
use crate::violation::Violation;

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
    fn load(name: &'static str, path: &Path) -> Result<Self, Violation> {
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
        let tls = Self {
            authorities: authorities?,
            identity: identity?,
        };
        reader.judge(rules::client_tls_needs_a_tls_url(&tls, in_use.ok(), keys))?;
        Ok(tls)
    }
}

/// Reads a certificate pair, if it is named, and judges its period of validity.
pub(crate) fn read_identity(
    reader: &mut Reader<'_>,
    mode: Read<Mode>,
    certificate: &Key,
    private_key: &Key,
) -> Read<Option<Identity>> {
    let (cert, key) = (reader.file(certificate), reader.file(private_key));
    let pair = rules::certificate_pair((certificate.name, cert), (private_key.name, key));
    let Some(source) = reader.judge(pair)? else {
        return Ok(None);
    };
    let identity = reader.judge(Identity::load(source).map_err(Violation::from))?;
    let now = reader.now();
    if let Some(warning) = reader.judge(rules::certificate_period(
        mode.ok(),
        certificate.name,
        &identity,
        now,
    ))? {
        reader.warn(warning);
    }
    Ok(Some(identity))
}

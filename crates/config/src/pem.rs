//! PEM files as people make them: read where their meaning is certain, and else called what they are.
//!
//! The parser takes a line for a boundary only where it begins with one, and passes over everything else in silence. So a
//! byte order mark, an indented block or two blocks without a line break between them would cost it a certificate.

use std::fmt;

use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

const BEGIN: &str = "-----BEGIN ";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The text of a PEM file, one boundary or piece of a block on each line.
#[derive(Clone)]
pub(crate) struct Pem(Vec<u8>);

/// What is in a file that cannot be used. Its `Display` follows "the file", and repeats nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// Text of another encoding.
    #[error("is UTF-16 text (save it as ASCII or UTF-8)")]
    Utf16,
    /// A certificate in its binary form.
    #[error("is a certificate in DER form (`openssl x509 -inform DER -outform PEM` converts it)")]
    DerCertificate,
    /// A certificate and its key in one file of their own format.
    #[error("is a PKCS#12 archive (`openssl pkcs12 -nodes` takes it apart)")]
    Pkcs12,
    /// Another binary file.
    #[error("is binary, and no PEM text")]
    Binary,
    /// Text without blocks.
    #[error("has no PEM block (a line that begins with -----BEGIN)")]
    NoBlock,
    /// A block that begins and does not end.
    #[error("ends within a PEM block (it is cut off)")]
    CutOff,
    /// A boundary with more on its line.
    #[error("has lost its line breaks (each boundary of a PEM block is a line of its own)")]
    NoLineBreaks,
    /// A block whose text is no base64.
    #[error("has a PEM block that is damaged (its text is no base64)")]
    Damaged,
    /// A block that says that it is a certificate, counted from one.
    #[error("has a certificate that cannot be parsed (number {0} in it)")]
    MalformedCertificate(usize),
    /// A private key of a kind or a size that is not used.
    #[error("holds a private key that is malformed, or of a kind or size that cannot be used")]
    UnusableKey,
    /// Blocks of other kinds than the wanted one.
    #[error("holds {found} and no {wanted}")]
    Other {
        /// What it holds.
        found: Kinds,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// The kinds of the blocks in a file, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Vec<&'static str>);

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" and "))
    }
}

impl Pem {
    /// The text in `bytes`, or what is there instead of text.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, PemFault> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(PemFault::Empty);
        }
        if let Some(fault) = binary(bytes) {
            return Err(fault);
        }
        // Comments between the blocks may be of any encoding.
        let text = String::from_utf8_lossy(bytes);
        let mut lines = String::with_capacity(text.len());
        for line in text.lines().flat_map(|line| line.split('\r')).map(str::trim) {
            // Two blocks whose boundaries share a line are two.
            match line.match_indices(BEGIN).map(|(at, _)| at).find(|at| *at > 0) {
                Some(at) => {
                    let (before, block) = line.split_at(at);
                    lines.extend([before, "\n", block, "\n"]);
                }
                None => lines.extend([line, "\n"]),
            }
        }
        Ok(Self(lines.into_bytes()))
    }

    /// The text, for libraries that want PEM.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Every certificate: at least one, and each of them well formed.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PemFault> {
        let certificates: Vec<_> = self
            .blocks()?
            .into_iter()
            .filter_map(|(kind, der)| CertificateDer::from_pem(kind, der))
            .collect();
        let parses =
            |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
        match certificates.iter().position(|der| !parses(der)) {
            Some(at) => Err(PemFault::MalformedCertificate(at + 1)),
            None if certificates.is_empty() => Err(self.without("certificate")),
            None => Ok(certificates),
        }
    }

    /// The first private key.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, PemFault> {
        if self.is_encrypted() {
            return Err(self.without("unencrypted private key"));
        }
        let mut blocks = self.blocks()?.into_iter();
        blocks
            .find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der))
            .ok_or_else(|| self.without("unencrypted private key"))
    }

    fn blocks(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, PemFault> {
        // A boundary that another follows on its line would be taken for a longer name.
        let is_run_on = |line: &str| {
            line.strip_prefix(BEGIN)
                .is_some_and(|rest| rest.trim_end_matches('-').contains("-----"))
        };
        if self.lines().any(is_run_on) {
            return Err(PemFault::NoLineBreaks);
        }
        let blocks = <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.0).collect::<Result<_, _>>();
        blocks.map_err(|error| match error {
            pem::Error::MissingSectionEnd { .. } => PemFault::CutOff,
            pem::Error::IllegalSectionStart { .. } => PemFault::NoLineBreaks,
            _ => PemFault::Damaged,
        })
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.0
            .split(|byte| *byte == b'\n')
            .filter_map(|line| str::from_utf8(line).ok())
    }

    /// Whether a key is encrypted in the old way, by a field in its block (RFC 1421 §4.6.1.1).
    fn is_encrypted(&self) -> bool {
        self.lines()
            .any(|line| line.starts_with("Proc-Type:") && line.ends_with("ENCRYPTED"))
    }

    fn without(&self, wanted: &'static str) -> PemFault {
        let mut found: Vec<_> = self
            .lines()
            .filter_map(|line| line.strip_prefix(BEGIN))
            .map(kind)
            .collect();
        if self.is_encrypted() {
            found
                .iter_mut()
                .filter(|kind| **kind == KEY)
                .for_each(|kind| *kind = ENCRYPTED_KEY);
        }
        found.dedup();
        if found.is_empty() {
            return PemFault::NoBlock;
        }
        // A file may be full of them.
        found.truncate(3);
        PemFault::Other {
            found: Kinds(found),
            wanted,
        }
    }
}

const KEY: &str = "a private key";
const ENCRYPTED_KEY: &str = "an encrypted private key";

/// What a block is, by the words behind `BEGIN`, which are not shown themselves.
fn kind(label: &str) -> &'static str {
    match label.trim_end_matches('-') {
        "CERTIFICATE" => "a certificate",
        "TRUSTED CERTIFICATE" => "an OpenSSL trusted certificate",
        "X509 CERTIFICATE" => "a certificate under its old name X509 CERTIFICATE",
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a certificate request",
        "X509 CRL" => "a revocation list",
        "PKCS7" | "CMS" => "a PKCS#7 bundle",
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => KEY,
        "ENCRYPTED PRIVATE KEY" => ENCRYPTED_KEY,
        "OPENSSH PRIVATE KEY" => "an OpenSSH private key",
        "DSA PRIVATE KEY" => "a DSA private key",
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "a public key",
        "EC PARAMETERS" | "DH PARAMETERS" => "parameters",
        _ => "a block of another kind",
    }
}

/// What a file is that holds no text.
fn binary(bytes: &[u8]) -> Option<PemFault> {
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Some(PemFault::Utf16);
    }
    if bytes.contains(&0) {
        // UTF-16 without its mark: every other byte of ASCII is zero.
        let pairs = bytes.as_chunks::<2>().0;
        let is_utf16 = pairs.iter().all(|pair| pair[0] == 0) || pairs.iter().all(|pair| pair[1] == 0);
        if is_utf16 {
            return Some(PemFault::Utf16);
        }
    }
    // A sequence in DER whose length takes two bytes, as that of every certificate and key of use does, or one.
    let content = match bytes {
        [0x30, 0x82, _, _, content @ ..] | [0x30, 0x81, _, content @ ..] => content,
        [0x30, length, content @ ..] if usize::from(*length) == content.len() => content,
        _ => return bytes.contains(&0).then_some(PemFault::Binary),
    };
    if content.starts_with(&[0x02, 0x01, 0x03]) {
        return Some(PemFault::Pkcs12);
    }
    let is_certificate = X509Certificate::from_der(bytes).is_ok();
    Some(if is_certificate {
        PemFault::DerCertificate
    } else {
        PemFault::Binary
    })
}

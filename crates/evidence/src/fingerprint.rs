//! Short names for values that must not be written down.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// The first 16 lower-case hex digits of a SHA-256: enough to tell two values apart, useless to recover one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The sixteen digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
impl Fingerprint {
    pub(crate) const fn from_digits(digits: [u8; 16]) -> Self {
        Self(digits)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fingerprint of a bearer, or of a request path.
#[must_use]
pub fn fingerprint(value: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, value);
    let mut digits = [0; 16];
    HEXLOWER.encode_mut(digest.as_ref().first_chunk().unwrap_or(&[0; 8]), &mut digits);
    Fingerprint(digits)
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn matches_the_published_vector() {
        let vector: serde_json::Value =
            serde_json::from_str(include_str!("../../../testkit/vectors/audit.json")).unwrap();
        let bearer = vector["fingerprint"]["bearer"].as_str().unwrap();
        assert_eq!(
            fingerprint(bearer.as_bytes()).as_str(),
            vector["fingerprint"]["first_16_hex"]
        );
    }
}

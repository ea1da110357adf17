//! The signature by which the audit service knows an event of ours.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

/// The fewest bytes a key may have.
const MIN_KEY_BYTES: usize = 32;

/// The key has fewer than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit key has fewer than 32 bytes")]
pub struct InvalidKey;

/// The key shared with the audit service (`AUDIT_HMAC_KEY`, decoded).
#[derive(Clone)]
pub struct AuditKey(hmac::Key);

impl AuditKey {
    /// Takes the decoded key.
    ///
    /// # Errors
    /// [`InvalidKey`] for fewer than 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, InvalidKey> {
        if key.len() < MIN_KEY_BYTES {
            return Err(InvalidKey);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// HMAC-SHA256 (RFC 2104) of exactly these bytes, in lower-case hex.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> String {
        HEXLOWER.encode(hmac::sign(&self.0, data).as_ref())
    }

    /// Whether this is the signature of exactly these bytes. Takes the same time wherever it differs.
    #[must_use]
    pub fn verifies(&self, data: &[u8], signature: &str) -> bool {
        let tag = HEXLOWER.decode(signature.as_bytes());
        tag.is_ok_and(|tag| hmac::verify(&self.0, data, &tag).is_ok())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::AuditKey;

    #[test]
    fn matches_the_published_vector() {
        let vector: serde_json::Value =
            serde_json::from_str(include_str!("../../../testkit/vectors/audit.json")).unwrap();
        let key: Vec<u8> = (0x20..0x40).collect();
        let key = AuditKey::new(&key).unwrap();
        assert_eq!(
            key.sign(vector["data"].as_str().unwrap().as_bytes()),
            vector["sig"]
        );
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(AuditKey::new(&[7; 31]).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", AuditKey::new(&[7; 32]).unwrap()),
            "AuditKey(redacted)"
        );
    }
}

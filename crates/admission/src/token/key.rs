//! A zone's verifying key (ES256, RFC 7518 §3.4).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};

/// Length of a point, uncompressed: a tag and two coordinates (SEC 1 §2.3.3).
const POINT_BYTES: usize = 65;

/// A P-256 public key, parsed once when it was fetched.
pub struct VerifyingKey {
    parsed: ParsedPublicKey,
    point: [u8; POINT_BYTES],
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

/// The coordinates are not a point on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a point on P-256")]
pub struct NotAPoint;

/// The signature is not this key's over this input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadSignature;

impl VerifyingKey {
    /// A key from its affine coordinates, big-endian.
    ///
    /// # Errors
    /// The coordinates are not on the curve.
    pub fn new(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, NotAPoint> {
        let mut point = [4; POINT_BYTES];
        let (_, coordinates) = point.split_at_mut(1);
        for (to, from) in coordinates.iter_mut().zip(x.iter().chain(y)) {
            *to = *from;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .map(|parsed| Self { parsed, point })
            .map_err(|_| NotAPoint)
    }

    /// What tells it from every other key.
    pub(super) fn point(&self) -> &[u8; POINT_BYTES] {
        &self.point
    }

    pub(super) fn verify(&self, input: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.parsed.verify_sig(input, signature).map_err(|_| BadSignature)
    }
}

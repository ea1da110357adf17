//! Gate 9: the zone signed the mandate (ES256, RFC 7518 §3.4).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};

use super::Claims;
use super::zone::Zoned;
use crate::denial::Denial;
use crate::ports::{KeyRefusal, SigningKeys};
use crate::preflight::Preflighted;
use crate::refused::Refused;
use crate::subject::Subject;

/// A P-256 public key, parsed once when it was fetched.
pub struct VerifyingKey(ParsedPublicKey);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

/// The coordinates are not a point on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a point on P-256")]
pub struct NotAPoint;

impl VerifyingKey {
    /// A key from its affine coordinates, big-endian.
    ///
    /// # Errors
    /// The coordinates are not on the curve.
    pub fn new(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, NotAPoint> {
        let mut point = [4; 65];
        let (_, coordinates) = point.split_at_mut(1);
        for (to, from) in coordinates.iter_mut().zip(x.iter().chain(y)) {
            *to = *from;
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .map(Self)
            .map_err(|_| NotAPoint)
    }
}

/// A mandate that its zone signed. From here on its claims can be read.
pub struct Verified<'r> {
    preflighted: Preflighted<'r>,
    claims: Claims<'r>,
}

impl<'r> Verified<'r> {
    /// The verified claims.
    #[must_use]
    pub fn claims(&self) -> &Claims<'r> {
        &self.claims
    }

    /// The zone that signed.
    pub(crate) fn zone(&self) -> &str {
        self.claims.zone_id().unwrap_or_default()
    }

    pub(crate) fn request(&self) -> &Preflighted<'r> {
        &self.preflighted
    }

    /// Whose request it is, owned.
    pub(crate) fn subject(&self, application_id: Option<&str>) -> Subject {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let anchors = self.claims.anchors();
        Subject {
            zone_id: self.zone().to_owned(),
            resource: self.preflighted.resource().to_owned(),
            application_id: own(application_id.or(self.claims.client_id())),
            subject_kind: own(self.claims.sub_type()),
            session_id: own(anchors.sid),
            agent_session_id: own(anchors.agent_session_id),
            jti: own(self.claims.jti()),
            expires_at: self.claims.expires_at(),
        }
    }

    /// Refuses, in the name of this subject.
    pub(crate) fn refuse(&self, denial: Denial) -> Refused {
        self.refuse_as(denial, None)
    }

    pub(crate) fn refuse_as(&self, denial: Denial, application_id: Option<&str>) -> Refused {
        Refused {
            subject: Some(Box::new(self.subject(application_id))),
            ..Refused::unverified(denial)
        }
    }
}

/// Length of a signature: `r` and `s`, 32 bytes each (RFC 7518 §3.4).
const SIGNATURE_BYTES: usize = 64;

/// Finds the zone's key and verifies the signature. For bytes that cannot be one, no key is
/// asked for.
///
/// # Errors
/// [`Denial::BadSignature`], [`Denial::KeysUnavailable`].
pub async fn verify<'r>(zoned: Zoned<'r>, keys: &dyn SigningKeys) -> Result<Verified<'r>, Refused> {
    let (preflighted, jws, claims) = zoned.into_parts();
    if jws.signature.len() != SIGNATURE_BYTES {
        return Err(Refused::unverified(Denial::BadSignature));
    }
    let zone = claims.zone_id().unwrap_or_default();
    let key = keys.find(zone, &jws.kid).await.map_err(|refusal| match refusal {
        KeyRefusal::Unknown => Refused::unverified(Denial::BadSignature),
        KeyRefusal::Unavailable(cause) => Refused::unverified(Denial::KeysUnavailable).because(cause),
    })?;
    match key.0.verify_sig(jws.signing_input, jws.signature) {
        Ok(()) => Ok(Verified { preflighted, claims }),
        Err(_) => Err(Refused::unverified(Denial::BadSignature)),
    }
}

//! Gate 9: the zone signed the mandate (ES256, RFC 7518 §3.4).

use std::borrow::Cow;

use super::Claims;
use super::verified_once::{MandateDigest, VerifiedOnce};
use super::zone::Zoned;
use crate::denial::Denial;
use crate::ports::{KeyRefusal, SigningKeys};
use crate::preflight::Preflighted;
use crate::refused::Refused;
use crate::subject::{Subject, Usage};

/// A mandate that its zone signed. From here on its claims can be read.
pub struct Verified<'r> {
    preflighted: Preflighted<'r>,
    zone: Cow<'r, str>,
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
        &self.zone
    }

    pub(crate) fn request(&self) -> &Preflighted<'r> {
        &self.preflighted
    }

    /// Whose request it is, owned.
    pub(crate) fn subject(&self) -> Subject {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let anchors = self.claims.anchors();
        Subject {
            zone_id: self.zone.clone().into_owned(),
            resource: self.preflighted.resource().to_owned(),
            client_id: own(self.claims.client_id()),
            subject_kind: own(self.claims.sub_type()),
            session_id: own(anchors.sid),
            agent_session_id: own(anchors.agent_session_id),
            usage: match self.claims.single_use() {
                Some(jti) => Usage::SingleUse { jti: jti.to_owned() },
                None => Usage::Reusable,
            },
        }
    }
}

/// Length of a signature: `r` and `s`, 32 bytes each (RFC 7518 §3.4).
const SIGNATURE_BYTES: usize = 64;

/// Finds the zone's key and verifies the signature. For bytes that cannot be one, no key is
/// asked for. A reusable mandate whose signature by this very key held before is not verified again.
///
/// # Errors
/// [`Denial::BadSignature`], [`Denial::KeysUnavailable`]; [`Denial::Overloaded`] where this process could not even
/// ask for the keys.
pub async fn verify<'r>(
    zoned: Zoned<'r>,
    keys: &dyn SigningKeys,
    once: &VerifiedOnce,
) -> Result<Verified<'r>, Refused> {
    let (preflighted, jws, zone, claims) = zoned.into_parts();
    if jws.signature.len() != SIGNATURE_BYTES {
        return Err(Denial::BadSignature.into());
    }
    let key = keys
        .find(&zone, &jws.kid, preflighted.head().own_place)
        .await
        .map_err(|refusal| match refusal {
            KeyRefusal::Unknown => Refused::new(Denial::BadSignature),
            KeyRefusal::Unavailable(cause) if cause.is_local() => Refused::because(Denial::Overloaded, cause),
            KeyRefusal::Unavailable(cause) => Refused::because(Denial::KeysUnavailable, cause),
        })?;
    let reusable = claims
        .single_use()
        .is_none()
        .then(|| MandateDigest::of(&jws, &key));
    if !reusable.as_ref().is_some_and(|mandate| once.holds(mandate)) {
        key.verify(jws.signing_input, jws.signature)
            .map_err(|_| Denial::BadSignature)?;
        if let Some(mandate) = reusable {
            once.remember(mandate);
        }
    }
    Ok(Verified {
        preflighted,
        zone,
        claims,
    })
}

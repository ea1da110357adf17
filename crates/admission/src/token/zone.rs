//! Gate 8: the mandate names a zone that this gateway serves.

use super::{Claims, Parsed, jws::Jws};
use crate::denial::Denial;
use crate::ports::{Bindings, ZoneStanding};
use crate::preflight::Preflighted;
use crate::refused::Refused;

/// A mandate of a known zone, still unverified.
pub struct Zoned<'r> {
    parsed: Parsed<'r>,
}

impl<'r> Zoned<'r> {
    pub(super) fn into_parts(self) -> (Preflighted<'r>, Jws<'r>, Claims<'r>) {
        let Parsed {
            preflighted,
            jws,
            claims,
        } = self.parsed;
        (preflighted, jws, claims)
    }
}

/// Refuses mandates without a zone, and those of zones without a binding: for these nothing
/// is fetched, so that nobody can make the gateway ask the STS for zones of his choice.
///
/// # Errors
/// [`Denial::MissingZone`], [`Denial::UnknownZone`].
pub fn check<'r>(parsed: Parsed<'r>, bindings: &dyn Bindings) -> Result<Zoned<'r>, Refused> {
    let zone = parsed.claims.zone_id().filter(|zone| is_identifier(zone));
    let Some(zone) = zone else {
        return Err(Refused::unverified(Denial::MissingZone));
    };
    match bindings.zone(zone) {
        ZoneStanding::Known => Ok(Zoned { parsed }),
        ZoneStanding::Unknown => Err(Refused::unverified(Denial::UnknownZone)),
    }
}

/// `[A-Za-z0-9._:-]{1,128}`: the form of zone and client ids.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}

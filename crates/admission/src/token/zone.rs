//! Gate 8: the mandate names a zone that this gateway serves.

use std::borrow::Cow;

use super::claims::Claims;
use super::jws::Jws;
use super::parsed::Parsed;
use crate::denial::Denial;
use crate::identifier::is_identifier;
use crate::ports::{Bindings, ZoneStanding};
use crate::preflight::Preflighted;
use crate::refused::Refused;

/// A mandate of a known zone, still unverified.
pub struct Zoned<'r> {
    preflighted: Preflighted<'r>,
    jws: Jws<'r>,
    zone: Cow<'r, str>,
    claims: Claims<'r>,
}

impl<'r> Zoned<'r> {
    pub(super) fn into_parts(self) -> (Preflighted<'r>, Jws<'r>, Cow<'r, str>, Claims<'r>) {
        (self.preflighted, self.jws, self.zone, self.claims)
    }
}

/// Refuses mandates without a zone, and those of zones without a binding: for these nothing
/// is fetched, so that nobody can make the gateway ask the STS for zones of his choice.
///
/// # Errors
/// [`Denial::MissingZone`], [`Denial::UnknownZone`].
pub fn check<'r>(parsed: Parsed<'r>, bindings: &dyn Bindings) -> Result<Zoned<'r>, Refused> {
    let (preflighted, jws, mut claims) = parsed.into_parts();
    let zone = claims
        .take_zone()
        .filter(|zone| is_identifier(zone))
        .ok_or(Denial::MissingZone)?;
    match bindings.zone(&zone) {
        ZoneStanding::Known => Ok(Zoned {
            preflighted,
            jws,
            zone,
            claims,
        }),
        ZoneStanding::Unknown => Err(Denial::UnknownZone.into()),
    }
}

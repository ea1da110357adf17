//! Gates 2 and 3: a bearer token is present and bounded (RFC 6750 §2.1).

use http::header::AUTHORIZATION;

use super::framing::Framed;
use crate::denial::Denial;
use crate::limits::Limits;
use crate::received::Received;
use crate::refused::Refused;

/// A request that carries one bounded bearer token.
pub struct Bearing<'r> {
    framed: Framed<'r>,
    token: &'r str,
}

impl<'r> Bearing<'r> {
    pub(crate) fn received(&self) -> Received<'r> {
        self.framed.received()
    }

    pub(crate) fn token(&self) -> &'r str {
        self.token
    }
}

/// Takes the token from `Authorization`; the scheme is case-insensitive (RFC 9110 §11.1).
///
/// # Errors
/// [`Denial::MissingBearer`], [`Denial::BearerTooLarge`].
pub fn extract(framed: Framed<'_>) -> Result<Bearing<'_>, Refused> {
    let missing = || Refused::unverified(Denial::MissingBearer);
    let value = framed
        .received()
        .head
        .headers
        .get(AUTHORIZATION)
        .ok_or_else(missing)?;
    let (scheme, rest) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(missing)?;
    let token = rest.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(missing());
    }
    if token.len() > Limits::MAX_BEARER_BYTES {
        return Err(Refused::unverified(Denial::BearerTooLarge));
    }
    Ok(Bearing { framed, token })
}

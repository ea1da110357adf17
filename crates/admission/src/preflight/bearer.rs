//! Gates 2 and 3: a bearer token is present and bounded (RFC 6750 §2.1).

use http::header::AUTHORIZATION;

use super::framing::Framed;
use crate::denial::Denial;
use crate::limits::Limits;
use crate::received::Head;
use crate::refused::Refused;

/// A request that carries one bounded bearer token.
pub struct Bearing<'r> {
    head: Head<'r>,
    token: &'r str,
}

impl<'r> Bearing<'r> {
    pub(crate) fn head(&self) -> Head<'r> {
        self.head
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
    let head = framed.head();
    let value = head
        .parts
        .headers
        .get(AUTHORIZATION)
        .ok_or(Denial::MissingBearer)?;
    let (scheme, rest) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(Denial::MissingBearer)?;
    let token = rest.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Denial::MissingBearer.into());
    }
    if token.len() > Limits::MAX_BEARER_BYTES {
        return Err(Denial::BearerTooLarge.into());
    }
    Ok(Bearing { head, token })
}

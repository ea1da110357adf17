//! Gates 2 and 3: a bearer token is present and bounded (RFC 6750 §2.1).

use http::HeaderMap;
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

/// Takes the token from `Authorization`, whose scheme is case-insensitive (RFC 9110 §11.1), or from the subprotocols of a
/// WebSocket handshake.
///
/// # Errors
/// [`Denial::MissingBearer`], [`Denial::BearerTooLarge`].
pub fn extract(framed: Framed<'_>) -> Result<Bearing<'_>, Refused> {
    let head = framed.head();
    let token = match head.subprotocols.bearer() {
        Some(token) => token,
        None => of_header(&head.parts.headers).ok_or(Denial::MissingBearer)?,
    };
    if token.is_empty() {
        return Err(Denial::MissingBearer.into());
    }
    if token.len() > Limits::MAX_BEARER_BYTES {
        return Err(Denial::BearerTooLarge.into());
    }
    Ok(Bearing { head, token })
}

fn of_header(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| rest.trim_matches(' '))
}

//! Gate 1: the head says everything once, and in names that cannot be read in two ways.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName};

use crate::denial::Denial;
use crate::limits::Limits;
use crate::names::{self, X_CARACAL_CLIENT_ID, X_CARACAL_RESOURCE};
use crate::received::Head;
use crate::refused::Refused;

/// A head without ambiguity.
pub struct Framed<'r> {
    head: Head<'r>,
}

impl<'r> Framed<'r> {
    pub(crate) fn head(&self) -> Head<'r> {
        self.head
    }
}

/// Refuses ambiguous heads and bodies that are declared too long.
///
/// # Errors
/// [`Denial::AmbiguousHeaders`], [`Denial::BodyTooLarge`].
pub fn check<'r>(head: Head<'r>, limits: &Limits) -> Result<Framed<'r>, Refused> {
    let headers = &head.parts.headers;
    let twice = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    // An intermediary joins two lines with a comma and a blank (RFC 9110 §5.3); identifiers
    // are URIs, which hold no blank.
    let joined = |name: &HeaderName| {
        let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        value.windows(2).any(|pair| pair == b", ")
    };
    // The one alias that passes this gate: it is ignored, then stripped.
    let alias = |name: &HeaderName| names::is_alias(name) && !names::is_same(name, &X_CARACAL_CLIENT_ID);
    // What a handshake says by its subprotocols it says there alone.
    let said = head.subprotocols;
    let ambiguous = twice(&AUTHORIZATION)
        || said.is_ambiguous()
        || said.bearer().is_some() && headers.contains_key(AUTHORIZATION)
        || said.resource().is_some() && headers.contains_key(&X_CARACAL_RESOURCE)
        || twice(&X_CARACAL_RESOURCE)
        || joined(&X_CARACAL_RESOURCE)
        || twice(&HOST)
        || headers.keys().any(alias);
    if ambiguous {
        return Err(Denial::AmbiguousHeaders.into());
    }
    match declared_length(headers) {
        Ok(length) if length <= limits.max_request_bytes => Ok(Framed { head }),
        Ok(_) => Err(Denial::BodyTooLarge.into()),
        Err(Unreadable) => Err(Denial::AmbiguousHeaders.into()),
    }
}

struct Unreadable;

/// The declared body length, 0 when none is declared (RFC 9110 §8.6).
fn declared_length(headers: &HeaderMap) -> Result<u64, Unreadable> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(0) };
    if lengths.next().is_some() || !first.as_bytes().iter().all(u8::is_ascii_digit) {
        return Err(Unreadable);
    }
    first
        .to_str()
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Unreadable)
}

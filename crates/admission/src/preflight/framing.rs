//! Gate 1: the head says everything once, and in names that cannot be read in two ways.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap};

use crate::denial::Denial;
use crate::limits::Limits;
use crate::received::Received;
use crate::refused::Refused;

/// The header that names the resource.
pub const RESOURCE: &str = "x-caracal-resource";
/// The one reserved name whose `_` spellings pass this gate: it is ignored, then stripped.
const CLIENT_ID: &str = "x-caracal-client-id";
/// Names that another hop may read although they were written with `_`
/// (CGI-style servers map `-` to `_`; CVE-2025-64484).
const RESERVED: [&str; 7] = [
    "content-length",
    "http2-settings",
    "keep-alive",
    "transfer-encoding",
    "x-forwarded",
    "x-real-ip",
    "x-request-id",
];
const RESERVED_PREFIXES: [&str; 3] = ["proxy-", "x-caracal-", "x-forwarded-"];

/// A head without ambiguity.
pub struct Framed<'r> {
    received: Received<'r>,
}

impl<'r> Framed<'r> {
    pub(crate) fn received(&self) -> Received<'r> {
        self.received
    }
}

/// Refuses ambiguous heads and bodies that are declared too long.
///
/// # Errors
/// [`Denial::AmbiguousHeaders`], [`Denial::BodyTooLarge`].
pub fn check<'r>(received: Received<'r>, limits: &Limits) -> Result<Framed<'r>, Refused> {
    let headers = &received.head.headers;
    let twice = |name: &str| headers.get_all(name).iter().nth(1).is_some();
    // An intermediary joins two lines with a comma and a blank (RFC 9110 §5.3); identifiers
    // are URIs, which hold no blank.
    let joined = |name: &str| {
        let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
        value.windows(2).any(|pair| pair == b", ")
    };
    let ambiguous = twice(AUTHORIZATION.as_str())
        || twice(RESOURCE)
        || joined(RESOURCE)
        || twice(HOST.as_str())
        || headers.keys().any(|name| is_alias(name.as_str()));
    if ambiguous {
        return Err(Refused::unverified(Denial::AmbiguousHeaders));
    }
    match declared_length(headers) {
        Ok(length) if length <= limits.max_request_bytes => Ok(Framed { received }),
        Ok(_) => Err(Refused::unverified(Denial::BodyTooLarge)),
        Err(Unreadable) => Err(Refused::unverified(Denial::AmbiguousHeaders)),
    }
}

/// Whether a name with `_` reads as a reserved one with `-`. Names arrive in lower case.
fn is_alias(name: &str) -> bool {
    if !name.contains('_') || same(name, CLIENT_ID) {
        return false;
    }
    RESERVED.iter().any(|reserved| same(name, reserved))
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.get(..prefix.len()).is_some_and(|start| same(start, prefix)))
}

fn same(name: &str, reserved: &str) -> bool {
    name.len() == reserved.len()
        && name
            .bytes()
            .zip(reserved.bytes())
            .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
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

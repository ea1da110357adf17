//! gRPC's own words for how a call ended (gRPC over HTTP/2, "Responses"): a status and a message, as trailers, or as
//! headers where nothing else follows.

use std::fmt::Write as _;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::media_type::is_media_type;

/// `grpc-status`: a code in decimal.
pub static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-message`: what happened, percent-encoded.
pub static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const MEDIA_TYPE: &str = "application/grpc";
/// The longest message in bytes, encoded: clients bound the fields that they take, some at 8 KiB in all.
const MAX_MESSAGE: usize = 2048;

/// Whether a message is gRPC's, in any of its codings.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    is_media_type(headers, MEDIA_TYPE)
}

/// Whether a gRPC message is told how its call ended by fields behind it: gRPC-Web has them within the body.
pub(crate) fn ends_with_trailers(headers: &HeaderMap) -> bool {
    is_grpc(headers) && !is_media_type(headers, "application/grpc-web")
}

/// The status code that says of a call what an HTTP status says of a request. It differs from what clients make of the
/// HTTP status alone where that would be wrong: 400 is not their own bug (INTERNAL), and 429 and 413 are not passing
/// (UNAVAILABLE, UNKNOWN).
const fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        // INVALID_ARGUMENT.
        400 => "3",
        // UNAUTHENTICATED.
        401 => "16",
        // PERMISSION_DENIED.
        403 => "7",
        // UNIMPLEMENTED, as gRPC says of a service or method that is not there.
        404 | 405 | 501 => "12",
        // DEADLINE_EXCEEDED.
        408 | 504 => "4",
        // ABORTED.
        409 => "10",
        // FAILED_PRECONDITION.
        412 => "9",
        // RESOURCE_EXHAUSTED.
        413 | 429 | 431 => "8",
        // INTERNAL.
        500 => "13",
        // UNAVAILABLE: it may pass.
        502 | 503 => "14",
        // UNKNOWN.
        _ => "2",
    }
}

/// States how a call ended, in place of what was said of it.
pub fn state(headers: &mut HeaderMap, status: StatusCode, message: &str) {
    headers.insert(&GRPC_STATUS, HeaderValue::from_static(code(status)));
    headers.insert(&GRPC_MESSAGE, encoded(message));
}

/// States in a head alone how a call was refused ("Trailers-Only").
pub fn refuse(headers: &mut HeaderMap, status: StatusCode, message: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    state(headers, status, message);
}

/// `Percent-Encoded`: what is not printable ASCII, and `%`, by its bytes. Cut between characters.
fn encoded(message: &str) -> HeaderValue {
    let mut text = String::with_capacity(message.len());
    for character in message.chars() {
        let mut buffer = [0; 4];
        let before = text.len();
        for byte in character.encode_utf8(&mut buffer).bytes() {
            match byte {
                b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
                // Writing to a string does not fail.
                _ => drop(write!(text, "%{byte:02X}")),
            }
        }
        if text.len() > MAX_MESSAGE {
            text.truncate(before);
            break;
        }
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_message_is_percent_encoded_and_bounded_between_characters() {
        for (text, expect) in [
            ("session revoked", "session revoked"),
            ("100 %", "100 %25"),
            ("a\r\nb", "a%0D%0Ab"),
            ("\u{e9}\u{7f}", "%C3%A9%7F"),
            ("", ""),
        ] {
            assert_eq!(encoded(text), expect, "{text:?}");
        }
        // Six bytes each.
        let long = encoded(&"\u{e9}".repeat(MAX_MESSAGE));
        assert_eq!(long.len(), MAX_MESSAGE / 6 * 6);
    }

    #[test]
    fn grpc_status_says_what_the_http_status_says() {
        for (status, expect) in [
            (400, "3"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (405, "12"),
            (408, "4"),
            (413, "8"),
            (418, "2"),
            (429, "8"),
            (431, "8"),
            (500, "13"),
            (502, "14"),
            (503, "14"),
            (504, "4"),
        ] {
            let mut headers = HeaderMap::new();
            state(&mut headers, StatusCode::from_u16(status).unwrap(), "x");
            assert_eq!(headers[&GRPC_STATUS], expect, "{status}");
        }
    }

    #[test]
    fn grpc_is_known_by_its_media_type() {
        for (media_type, expect) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc-web", true),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            assert_eq!(is_grpc(&headers), expect, "{media_type}");
            let is_web = media_type.ends_with("web");
            assert_eq!(ends_with_trailers(&headers), expect && !is_web, "{media_type}");
        }
    }
}

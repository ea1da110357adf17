//! Ids that the gateway makes: UUIDv7 (RFC 9562 §5.7), unique and sorted by time.

use http::{HeaderMap, HeaderValue};
use uuid::{ContextV7, Timestamp, Uuid};

/// The header in which a request id travels.
pub const REQUEST_ID: &str = "x-request-id";

thread_local! {
    /// Orders ids made within one millisecond.
    static CONTEXT: ContextV7 = const { ContextV7::new() };
}

/// A fresh UUIDv7.
#[must_use]
pub fn fresh() -> Uuid {
    let now = crate::clock::unix();
    CONTEXT.with(|context| Uuid::new_v7(Timestamp::from_unix(context, now.as_secs(), now.subsec_nanos())))
}

/// The identity of a new trace, for requests that bring none.
#[must_use]
pub fn fresh_trace() -> forwarding::FreshTrace {
    let (trace, parent) = (Uuid::new_v4().into_bytes(), Uuid::new_v4().as_u64_pair().0);
    forwarding::FreshTrace::from_random(trace, parent.to_be_bytes())
}

/// A fresh key of a WebSocket handshake (RFC 6455 §4.1).
#[must_use]
pub fn websocket_key() -> HeaderValue {
    let key = data_encoding::BASE64.encode(Uuid::new_v4().as_bytes());
    HeaderValue::try_from(key).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A fresh mask of a WebSocket frame (RFC 6455 §5.3).
#[must_use]
pub fn mask() -> [u8; 4] {
    let [a, b, c, d, ..] = Uuid::new_v4().into_bytes();
    [a, b, c, d]
}

/// The client's `X-Request-Id` when it is 1 to 128 bytes of 0x21 to 0x7E, else the gateway's own
/// id of the request.
#[must_use]
pub fn request_id(headers: &HeaderMap, own: &Uuid) -> HeaderValue {
    let usable = |value: &&HeaderValue| {
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte))
    };
    match headers.get(REQUEST_ID).filter(usable) {
        // Copied, because a live stream keeps it, and a clone the buffer of the whole head with it.
        Some(value) => HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| header_value(own)),
        None => header_value(own),
    }
}

fn header_value(id: &Uuid) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let text: &str = id.hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_of_the_client_is_kept_only_when_it_is_plain() {
        let longest = "x".repeat(128);
        let longer = "x".repeat(129);
        for (sent, kept) in [
            ("req-1", true),
            ("!~", true),
            (longest.as_str(), true),
            ("", false),
            ("a b", false),
            (&longer, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            assert_eq!(request_id(&headers, &fresh()) == sent, kept, "{sent:?}");
        }
    }

    #[test]
    fn fresh_ids_are_version_7_and_differ() {
        let (one, other) = (fresh(), fresh());
        assert_eq!(one.get_version_num(), 7);
        assert!(one < other);
    }
}

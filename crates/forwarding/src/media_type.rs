//! What kind of content a message says it has.

use http::header::{CONTENT_TYPE, HeaderMap};

/// Whether a message is of this media type, or of one that continues it.
pub fn is_media_type(headers: &HeaderMap, prefix: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..prefix.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

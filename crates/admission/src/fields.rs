//! How often a field occurs, and what a list in it says (RFC 9110 §5.3, §5.6.1).

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The value of a field that occurs exactly once.
#[must_use]
pub fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The members of a list, over all of its lines (RFC 9110 §5.6.1). Empty ones count for nothing.
pub fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

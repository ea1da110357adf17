//! What `Connection` names stays on its connection (RFC 9110 §7.6.1).

use admission::fields::members;
use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, Entry, HeaderName, HeaderValue};

/// Removes `Connection` and every field that any of its lines names.
///
/// `Content-Length` is spared: how a message is framed is settled by the gateway, and naming it is forbidden to the
/// sender. Fields that the gateway sets itself must be set after this.
pub(crate) fn remove_listed(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = match headers.entry(CONNECTION) {
        Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        Entry::Vacant(_) => return,
    };
    for option in lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
    {
        if let Ok(name) = std::str::from_utf8(option.trim_ascii())
            && !name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str())
        {
            headers.remove(name);
        }
    }
}

/// Whether `Connection` names this field.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName) -> bool {
    members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(connection: &[&[u8]]) -> Vec<&'static str> {
        let mut headers = HeaderMap::new();
        for name in ["a", "b", "x-forwarded-for", "content-length"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        for line in connection {
            headers.append(CONNECTION, HeaderValue::from_bytes(line).unwrap());
        }
        remove_listed(&mut headers);
        ["a", "b", "x-forwarded-for", "content-length", "connection"]
            .into_iter()
            .filter(|&name| headers.contains_key(name))
            .collect()
    }

    #[test]
    fn connection_second_line_is_honoured() {
        assert_eq!(
            remaining(&[b"close", b"A, X-Forwarded-For"]),
            ["b", "content-length"]
        );
    }

    #[test]
    fn connection_options_are_read_through_odd_spacing_and_bytes() {
        assert_eq!(
            remaining(&[b",, \ta ,\xff, keep-alive,B"]),
            ["x-forwarded-for", "content-length"]
        );
    }

    #[test]
    fn connection_cannot_take_the_content_length_away() {
        assert_eq!(
            remaining(&[b"Content-Length"]),
            ["a", "b", "x-forwarded-for", "content-length"]
        );
    }

    #[test]
    fn without_connection_nothing_is_removed() {
        assert_eq!(remaining(&[]), ["a", "b", "x-forwarded-for", "content-length"]);
    }
}

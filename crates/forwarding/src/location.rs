//! Where an upstream sends the caller next: only to places behind the same gateway.
//!
//! `Location` and `Content-Location` are judged value by value. An absolute URL below the upstream's own base becomes
//! relative to the gateway; any other absolute, protocol-relative or unreadable one is dropped; a relative one is kept.
//! Parameters that the gateway itself put into the query (the API key, those of the upstream URL) are taken out, because
//! upstreams like to repeat the query they were asked with. Bodies and other headers are not looked into.

use admission::binding::UpstreamUrl;
use http::HeaderMap;
use http::header::{CONTENT_LOCATION, Entry, HeaderValue, LOCATION};

use percent_encoding::percent_decode;

use crate::query;

/// Judges every value of both fields. `key` is the query parameter of the upstream's credential, when it has one.
pub(crate) fn rewrite(headers: &mut HeaderMap, base: &UpstreamUrl, key: Option<&str>) {
    for name in [LOCATION, CONTENT_LOCATION] {
        if !headers.contains_key(&name) {
            continue;
        }
        let values: Vec<HeaderValue> = match headers.entry(&name) {
            Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
            Entry::Vacant(_) => continue,
        };
        for value in values.iter().filter_map(|value| judged(value, base, key)) {
            headers.append(&name, value);
        }
    }
}

fn judged(value: &HeaderValue, base: &UpstreamUrl, key: Option<&str>) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    // Browsers take a backslash for a slash and skip controls and spaces, so that `/\host` leaves the gateway.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let (path, tail) = if is_relative(text) {
        text.split_at(text.find(['?', '#']).unwrap_or(text.len()))
    } else {
        let (path, tail) = base.below(text)?;
        // `//host` would be protocol-relative; a dot segment would climb out of the base it was found below.
        if path.starts_with("//") || has_dot_segment(path) {
            return None;
        }
        (if path.is_empty() { "/" } else { path }, tail)
    };

    let mut rewritten = String::with_capacity(text.len());
    rewritten.push_str(path);
    push_tail(&mut rewritten, tail, |name| {
        key.is_some_and(|key| query::is_same_name(key, name))
            || base.query().is_some_and(|stated| query::names_in(stated, name))
    });
    if rewritten == text {
        Some(value.clone())
    } else {
        HeaderValue::try_from(rewritten).ok()
    }
}

/// RFC 3986 §4.2: neither a scheme nor an authority. A colon in the first segment makes it a scheme, valid or not.
fn is_relative(text: &str) -> bool {
    let first_segment = text.split(['/', '?', '#']).next().unwrap_or_default();
    !text.starts_with("//") && !first_segment.contains(':')
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        let mut bytes = percent_decode(segment.as_bytes());
        matches!(
            (bytes.next(), bytes.next(), bytes.next()),
            (Some(b'.'), None, _) | (Some(b'.'), Some(b'.'), None)
        )
    })
}

/// Appends query and fragment without the parameters that are to be hidden.
fn push_tail(text: &mut String, tail: &str, is_hidden: impl Fn(&str) -> bool) {
    let (query, fragment) = tail.split_at(tail.find('#').unwrap_or(tail.len()));
    let is_hidden = |piece: &str| !piece.is_empty() && is_hidden(query::name(piece));
    match query.strip_prefix('?') {
        Some(query) if query::pieces(query).any(is_hidden) => {
            let mut next = '?';
            for piece in query::pieces(query).filter(|piece| !is_hidden(piece)) {
                text.push(next);
                text.push_str(piece);
                next = '&';
            }
        }
        _ => text.push_str(query),
    }
    text.push_str(fragment);
}

#[cfg(test)]
mod tests;

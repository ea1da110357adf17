//! The caller's own `caracal.*` baggage says who it is inside its own process; it is no evidence and stays there.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{Entry, HeaderValue};
use percent_encoding::percent_decode;

use crate::reserved::BAGGAGE;

const PREFIX: &[u8] = b"caracal.";

/// Drops every member whose key begins with `caracal.`, in any case and, because common readers decode keys, in any
/// percent spelling. Other members stay byte for byte; a line that has none left is dropped.
pub(crate) fn remove_own_members(headers: &mut HeaderMap) {
    let Entry::Occupied(mut entry) = headers.entry(&BAGGAGE) else {
        return;
    };
    let mut has_empty_line = false;
    for line in entry.iter_mut() {
        if members(line).any(is_own) {
            *line = without_own(line);
            has_empty_line |= line.is_empty();
        }
    }
    if has_empty_line {
        let lines: Vec<HeaderValue> = entry.remove_entry_mult().1.collect();
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            headers.append(&BAGGAGE, line);
        }
    }
}

fn without_own(line: &HeaderValue) -> HeaderValue {
    let mut kept = Vec::with_capacity(line.len());
    for member in members(line).filter(|member| !is_own(member) && !member.trim_ascii().is_empty()) {
        if kept.is_empty() {
            kept.extend_from_slice(member.trim_ascii_start());
        } else {
            kept.push(b',');
            kept.extend_from_slice(member);
        }
    }
    // Pieces of a valid value are valid; were they not, the line would be dropped.
    HeaderValue::from_maybe_shared(Bytes::from(kept)).unwrap_or(HeaderValue::from_static(""))
}

fn members(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&byte| byte == b',')
}

fn is_own(member: &[u8]) -> bool {
    let mut key = percent_decode(member.trim_ascii_start());
    PREFIX.iter().all(|expected| {
        key.next()
            .is_some_and(|byte| byte.to_ascii_lowercase() == *expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&'static str], expect: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&BAGGAGE, HeaderValue::from_static(line));
        }
        for _ in 0..2 {
            remove_own_members(&mut headers);
            let left: Vec<_> = headers
                .get_all(&BAGGAGE)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect();
            assert_eq!(left, expect, "{lines:?}");
        }
    }

    #[test]
    fn baggage_of_others_is_kept_byte_for_byte() {
        check(
            &["a=1;p=2 , b = caracal.x,caracalx=1"],
            &["a=1;p=2 , b = caracal.x,caracalx=1"],
        );
        check(&[], &[]);
    }

    #[test]
    fn baggage_own_members_are_dropped_in_any_case() {
        check(&["caracal.session=s,a=1, CARACAL.Hop=2 ,b=2"], &["a=1,b=2"]);
        check(
            &["a=1", "Caracal.session=x", "b=2,\tcaracal.hop=1"],
            &["a=1", "b=2"],
        );
    }

    #[test]
    fn baggage_own_members_are_dropped_in_any_percent_spelling() {
        check(&["%63aracal.session=s,caracal%2Esession=s,a=1"], &["a=1"]);
    }

    #[test]
    fn baggage_with_nothing_left_is_dropped() {
        check(&["caracal.session=s, caracal.hop=1"], &[]);
        check(&["caracal.session=s, "], &[]);
    }
}

//! What of an HTTP/1 request's target the library would refuse or cut off without a word.

/// Reads the request line of a head (RFC 9112 §3) beside the library. It answers a target that is no URI with a bare 400
/// and cuts off a fragment, so that nobody could refuse it with words. So a character that no target may hold is hidden
/// from it, and told to whoever refuses the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RequestLine {
    /// Empty lines may come first.
    #[default]
    Before,
    Method,
    Path,
    Query,
    Behind,
}

/// Stands in for what is hidden; the request is refused.
const HIDDEN: u8 = b'_';

/// What ends a part of the request line or is hidden in one. Nearly every byte of a long target is none of these.
const MATTERS: [bool; 256] = {
    let (mut table, bytes, mut at) = ([false; 256], b" \r\n?#<>`\"", 0);
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

impl RequestLine {
    /// Takes the next bytes of a head, hides what the library must not see, and gives the first of it.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> Option<u8> {
        let mut found = None;
        for byte in bytes {
            let is_in_target = matches!(*self, Self::Path | Self::Query);
            if is_in_target && !MATTERS[usize::from(*byte)] {
                continue;
            }
            match (*self, *byte) {
                (Self::Behind, _) => break,
                (Self::Before, b'\r' | b'\n') => {}
                (Self::Before, _) => *self = Self::Method,
                (Self::Method, b' ') => *self = Self::Path,
                (Self::Path, b'?') => *self = Self::Query,
                (_, b' ' | b'\r' | b'\n') => *self = Self::Behind,
                (Self::Path, b'#' | b'<' | b'>' | b'`') | (Self::Query, b'#' | b'<' | b'>' | b'"') => {
                    found = found.or(Some(*byte));
                    *byte = HIDDEN;
                }
                (Self::Method | Self::Path | Self::Query, _) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library is given, and what was found.
    fn pass(line: &mut RequestLine, text: &str) -> (String, Option<char>) {
        let mut bytes = text.as_bytes().to_vec();
        let found = line.pass(&mut bytes).map(char::from);
        (String::from_utf8(bytes).unwrap(), found)
    }

    #[test]
    fn request_line_hides_what_no_target_may_hold_however_it_arrives() {
        for (text, given, found) in [
            ("GET /a#b HTTP/1.1\r\n", "GET /a_b HTTP/1.1\r\n", Some('#')),
            (
                "\r\nGET /a<b>`#?\"<# HTTP/1.1\n",
                "\r\nGET /a_b___?___ HTTP/1.1\n",
                Some('<'),
            ),
            // The library takes these.
            ("GET /a\"b?c`d HTTP/1.1\r\n", "GET /a\"b?c`d HTTP/1.1\r\n", None),
            (
                "GET /a?b?c HTTP/1.1\r\nX: #<>`\"\r\n",
                "GET /a?b?c HTTP/1.1\r\nX: #<>`\"\r\n",
                None,
            ),
            ("G#T / HTTP/1.1\r\n", "G#T / HTTP/1.1\r\n", None),
            ("GET\r\n/#", "GET\r\n/#", None),
        ] {
            let expect = (given.to_owned(), found);
            assert_eq!(pass(&mut RequestLine::default(), text), expect, "{text:?}");
            let mut line = RequestLine::default();
            let mut by_one = (String::new(), None);
            for at in 0..text.len() {
                let (given, found) = pass(&mut line, &text[at..=at]);
                by_one = (by_one.0 + &given, by_one.1.or(found));
            }
            assert_eq!(by_one, expect, "{text:?} byte by byte");
        }
    }

    /// The scan knows exactly what the library would refuse or cut off, of printable characters.
    #[test]
    fn request_line_hides_exactly_what_the_library_would_not_take() {
        for byte in b'!'..=b'~' {
            for prefix in ["/a", "/a?b"] {
                let target = format!("{prefix}{}c", char::from(byte));
                let is_taken = target
                    .parse::<http::Uri>()
                    .is_ok_and(|uri| uri.to_string() == target);
                let line = format!("GET {target} HTTP/1.1\r\n");
                let found = pass(&mut RequestLine::default(), &line).1;
                assert_eq!(found.is_none(), is_taken, "{target}");
            }
        }
    }
}

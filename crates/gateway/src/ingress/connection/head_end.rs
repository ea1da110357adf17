//! Where an HTTP/1 request head ends.

use memchr::memchr_iter;

/// Finds the empty line that ends a head (RFC 9112 §2.1). A line ends at its LF, with or without
/// CR, and empty lines before the request line are none of the head (RFC 9112 §2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeadEnd {
    /// A line that is not empty is complete.
    has_line: bool,
    /// The line that is arriving is not empty.
    has_text: bool,
}

impl HeadEnd {
    /// The length of what these bytes hold of the head, its empty line included, if they hold that.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut from = 0;
        for at in memchr_iter(b'\n', bytes) {
            if self.has_text || has_text(&bytes[from..at]) {
                *self = Self {
                    has_line: true,
                    has_text: false,
                };
            } else if self.has_line {
                *self = Self::default();
                return Some(at + 1);
            }
            from = at + 1;
        }
        self.has_text |= has_text(&bytes[from..]);
        None
    }
}

fn has_text(line: &[u8]) -> bool {
    line.iter().any(|byte| *byte != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_end_is_the_first_empty_line_behind_a_line_however_it_arrives() {
        for (bytes, end) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", Some(27)),
            ("GET / HTTP/1.1\nHost: a\n\nGET", Some(24)),
            ("\r\n\nGET / HTTP/1.1\r\n\r\n", Some(21)),
            ("GET / HTTP/1.1\r\nHost: a\r\n", None),
            ("\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(HeadEnd::default().find(bytes.as_bytes()), end, "{bytes:?}");
            let mut by_one = HeadEnd::default();
            let found = bytes
                .bytes()
                .position(|byte| by_one.find(&[byte]).is_some())
                .map(|at| at + 1);
            assert_eq!(found, end, "{bytes:?} byte by byte");
        }
    }

    #[test]
    fn head_end_is_looked_for_anew_behind_a_head() {
        let mut head_end = HeadEnd::default();
        let bytes = b"A\r\n\r\nB\r\n\r\n";
        assert_eq!(head_end.find(bytes), Some(5));
        assert_eq!(head_end, HeadEnd::default());
        assert_eq!(head_end.find(&bytes[5..]), Some(5));
    }
}

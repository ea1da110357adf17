//! The head of an HTTP/1 request, as it arrives.

use super::head_end::HeadEnd;
use super::request_line::RequestLine;

/// The most bytes of a request head. The library has one bound for heads and for the pieces in which it reads bodies, and
/// those are larger.
const MAX_BYTES: usize = 16 * 1024;

/// How far a head has arrived.
#[derive(Default)]
pub(super) struct Head {
    /// Where it ends; the trailers of a body in chunks end like it.
    pub(super) end: HeadEnd,
    /// How many bytes of it the library was given.
    bytes: usize,
    request_line: RequestLine,
}

impl Head {
    /// How many of these bytes the library is given: those up to the end of the head, or as many as a head may have. Of
    /// the request line it is given what it can take, and what it cannot is the second value.
    pub(super) fn share(&mut self, bytes: &mut [u8]) -> (usize, Option<u8>) {
        let end = self.end.find(bytes);
        let length = end.unwrap_or(bytes.len());
        let share = length.min(MAX_BYTES.saturating_sub(self.bytes));
        self.bytes += length;
        let found = self.request_line.pass(&mut bytes[..share]);
        if end.is_some() && !self.is_too_large() {
            *self = Self::default();
        }
        (share, found)
    }

    /// Whether it is too large, so that its end is kept back. Nothing changes that.
    pub(super) fn is_too_large(&self) -> bool {
        self.bytes > MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_may_be_so_long_and_no_longer_however_it_arrives() {
        let head = |length: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(length - 23));
        for piece in [1, 1000, 2 * MAX_BYTES] {
            for (length, is_too_large) in [(MAX_BYTES, false), (MAX_BYTES + 1, true)] {
                let (mut arriving, mut given) = (Head::default(), 0);
                for bytes in head(length).into_bytes().chunks_mut(piece) {
                    given += arriving.share(bytes).0;
                }
                assert_eq!(
                    arriving.is_too_large(),
                    is_too_large,
                    "{length} in pieces of {piece}"
                );
                assert_eq!(
                    given == length,
                    !is_too_large,
                    "{given} of {length} in pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn head_begins_anew_behind_another() {
        let mut arriving = Head::default();
        for _ in 0..3 {
            let mut bytes = format!("GET /#a HTTP/1.1\r\nA: {}\r\n\r\nGET", "b".repeat(10_000)).into_bytes();
            let length = bytes.len();
            assert_eq!(arriving.share(&mut bytes), (length - 3, Some(b'#')));
            assert!(!arriving.is_too_large());
        }
    }
}

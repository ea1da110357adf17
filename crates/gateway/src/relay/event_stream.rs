//! Where in a stream of server-sent events the relay is.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Follows an event stream (WHATWG HTML §9.2.6) as far as its events' boundaries go.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    /// The last bytes, as many as an event's end may have.
    tail: Vec<u8>,
    /// Events cannot be told apart behind a content coding.
    is_coded: bool,
}

/// `\r\n\r\n`.
const LONGEST_BOUNDARY: usize = 4;

impl EventStream {
    /// For the answer with this head, if it is one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        forwarding::is_media_type(headers, "text/event-stream").then(|| Self {
            tail: Vec::new(),
            is_coded: headers
                .get(CONTENT_ENCODING)
                .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")),
        })
    }

    /// These bytes pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.tail
            .extend_from_slice(bytes.last_chunk::<LONGEST_BOUNDARY>().map_or(bytes, |last| last));
        self.tail
            .drain(..self.tail.len().saturating_sub(LONGEST_BOUNDARY));
    }

    /// Whether an empty line was the last to pass, or nothing did: no event is under way.
    pub(super) fn is_at_boundary(&self) -> bool {
        let without_line_end = |bytes: &[u8]| {
            let cut = |end: &[u8]| bytes.strip_suffix(end).map(<[u8]>::to_vec);
            cut(b"\r\n").or_else(|| cut(b"\n")).or_else(|| cut(b"\r"))
        };
        let ends_a_line = |bytes: &[u8]| without_line_end(bytes).is_some();
        !self.is_coded
            && (self.tail.is_empty()
                || without_line_end(&self.tail).is_some_and(|line| line.is_empty() || ends_a_line(&line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_stream_is_at_a_boundary_behind_an_empty_line() {
        for (text, expect) in [
            ("", true),
            ("\n", true),
            ("data: 1\n\n", true),
            ("data: 1\r\n\r\n", true),
            ("data: 1\r\r", true),
            ("data: 1\n\r\n", true),
            (": keep-alive\n\n", true),
            ("data: 1\n", false),
            ("data: 1\r\n", false),
            ("data: 1\r", false),
            ("data: 1", false),
            ("data: 1\n\nid", false),
        ] {
            let mut whole = EventStream::default();
            whole.pass(text.as_bytes());
            assert_eq!(whole.is_at_boundary(), expect, "{text:?}");
            let mut by_one = EventStream::default();
            text.bytes().for_each(|byte| by_one.pass(&[byte]));
            assert_eq!(by_one.is_at_boundary(), expect, "{text:?} byte by byte");
        }
        let coded = EventStream {
            is_coded: true,
            ..EventStream::default()
        };
        assert!(!coded.is_at_boundary());
    }
}

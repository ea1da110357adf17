//! Where a response's head ends, and whether it is that of an event stream.

const CONTENT_TYPE: &[u8] = b"content-type:";
const EVENT_STREAM: &[u8] = b"text/event-stream";
/// As many bytes of a line are looked at.
const LOOKED_AT: usize = 128;

/// Reads a head beside the HTTP library, which alone judges it. A head ends at its first empty line,
/// which is never behind the place where the library sees its end.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    /// The beginning of the line that is arriving.
    line: Vec<u8>,
    /// The status line, as far as it matters.
    status: Status,
    reason: Option<Vec<u8>>,
    is_event_stream: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Status {
    #[default]
    Missing,
    /// Another head follows (RFC 9110 §15.2).
    Interim,
    Ok,
    Other,
}

/// The end of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeadEnd {
    /// How many of the bytes belong to it.
    pub(super) length: usize,
    /// It says 200 and `text/event-stream`.
    pub(super) is_event_stream: bool,
    /// Its reason phrase, if that has bytes beyond ASCII: the library shows an empty one in its place.
    pub(super) reason: Option<Vec<u8>>,
}

impl ResponseHead {
    /// Takes the next bytes of a connection, until the end of a head that is final is among them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<HeadEnd> {
        let mut length = 0;
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            length += part.len();
            let room = LOOKED_AT.saturating_sub(self.line.len());
            if part.last() != Some(&b'\n') {
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                return None;
            }
            let end = if self.line.is_empty() {
                self.line_ends(part)
            } else {
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                let line = std::mem::take(&mut self.line);
                self.line_ends(&line)
            };
            if let Some(end) = end {
                return Some(HeadEnd { length, ..end });
            }
        }
        None
    }

    /// What the head is, if this line ends it.
    fn line_ends(&mut self, line: &[u8]) -> Option<HeadEnd> {
        let is_whole = line.ends_with(b"\n");
        let line = without_line_end(line);
        match self.status {
            // Empty lines before a head are skipped (RFC 9112 §2.2).
            Status::Missing if line.is_empty() => {}
            Status::Missing => {
                self.status = Status::of(line);
                self.reason = line
                    .get("HTTP/1.1 200 ".len()..)
                    .filter(|reason| is_whole && !reason.is_ascii())
                    .map(<[u8]>::to_vec);
            }
            Status::Interim if line.is_empty() => *self = Self::default(),
            _ if line.is_empty() => {
                let is_event_stream = self.is_event_stream && matches!(self.status, Status::Ok);
                let reason = std::mem::take(self).reason;
                return Some(HeadEnd {
                    length: 0,
                    is_event_stream,
                    reason,
                });
            }
            _ => self.is_event_stream |= is_event_stream(line),
        }
        None
    }
}

impl Status {
    fn of(line: &[u8]) -> Self {
        match line.get("HTTP/1.1 ".len()..) {
            Some([b'2', b'0', b'0', ..]) => Self::Ok,
            Some([b'1', b'0', b'1', ..]) => Self::Other,
            Some([b'1', ..]) => Self::Interim,
            _ => Self::Other,
        }
    }
}

fn is_event_stream(line: &[u8]) -> bool {
    let (name, value) = line.split_at(line.len().min(CONTENT_TYPE.len()));
    let value = value.trim_ascii_start();
    name.eq_ignore_ascii_case(CONTENT_TYPE)
        && value
            .get(..EVENT_STREAM.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &line[..end.map_or(0, |end| end + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_head_ends_at_its_empty_line_however_it_arrives() {
        let sse = "Content-Type: text/event-stream\r\n";
        let long = format!("X-A: {}\r\n", "a".repeat(300));
        for (head, is_event_stream) in [
            (format!("HTTP/1.1 200 OK\r\n{sse}\r\n"), true),
            (format!("HTTP/1.0 200\r\n{sse}\r\n"), true),
            (format!("\r\n\nHTTP/1.1 200 OK\r\n{sse}\r\n"), true),
            (
                "HTTP/1.1 200 OK\ncontent-TYPE:\t Text/Event-Stream; charset=utf-8\n\n".into(),
                true,
            ),
            (format!("HTTP/1.1 200 OK\r\n{long}{sse}{long}\r\n"), true),
            (
                format!("HTTP/1.1 103 Early\r\n{sse}\r\nHTTP/1.1 200 OK\r\n{sse}\r\n"),
                true,
            ),
            (
                format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{sse}\r\n"),
                true,
            ),
            (
                format!("HTTP/1.1 103 Early\r\n{sse}\r\nHTTP/1.1 200 OK\r\n\r\n"),
                false,
            ),
            (format!("HTTP/1.1 500 No\r\n{sse}\r\n"), false),
            (format!("HTTP/1.1 101 Go\r\n{sse}\r\n"), false),
            (
                "HTTP/1.1 200 OK\r\nX-Content-Type: text/event-stream\r\n\r\n".into(),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/event\r\n\r\n".into(),
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n".into(), false),
        ] {
            let bytes = format!("{head}data: 1\r\n\r\n");
            let expect = HeadEnd {
                length: head.len(),
                is_event_stream,
                reason: None,
            };
            let mut whole = ResponseHead::default();
            assert_eq!(whole.pass(bytes.as_bytes()), Some(expect), "{head:?}");
            let mut by_one = ResponseHead::default();
            let found = bytes.bytes().enumerate().find_map(|(at, byte)| {
                let end = by_one.pass(&[byte])?;
                Some((at + end.length, end.is_event_stream))
            });
            assert_eq!(
                found,
                Some((head.len(), is_event_stream)),
                "{head:?} byte by byte"
            );
        }
    }

    #[test]
    fn response_head_gives_the_reason_phrase_that_the_library_does_not() {
        let long = "\u{f6}".repeat(LOOKED_AT);
        for (head, reason, in_pieces) in [
            (
                "HTTP/1.1 200 Gr\u{f6}\u{df}e\r\n\r\n".to_owned(),
                Some("Gr\u{f6}\u{df}e"),
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), None, true),
            (
                "HTTP/1.1 103 \u{f6}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(),
                None,
                true,
            ),
            // Only where it comes in one piece: as much of a line is kept until its end comes.
            (format!("HTTP/1.1 200 {long}\r\n\r\n"), Some(&*long), false),
        ] {
            let end = ResponseHead::default().pass(head.as_bytes()).unwrap();
            let expect = reason.map(|reason| reason.as_bytes().to_vec());
            assert_eq!(end.reason, expect, "{head:?}");
            let mut by_one = ResponseHead::default();
            let end = head.bytes().find_map(|byte| by_one.pass(&[byte])).unwrap();
            assert_eq!(end.reason, expect.filter(|_| in_pieces), "{head:?} byte by byte");
        }
    }
}

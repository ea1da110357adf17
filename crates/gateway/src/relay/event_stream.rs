//! Where in a stream of server-sent events the relay is, and the comments that it may put there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{StatusCode, response};

/// Follows an event stream (WHATWG HTML §9.2.6) as far as its events' boundaries go.
#[derive(Debug)]
pub(super) struct EventStream {
    /// The last bytes, as many as tell an empty line. The beginning is like the place behind one.
    tail: [u8; BOUNDARY],
    /// Events cannot be told apart behind a content coding.
    is_coded: bool,
    /// Where silence is filled.
    comments: Option<Box<Comments>>,
}

/// A line's end and `\r\n`.
const BOUNDARY: usize = 3;

/// A line that every parser ignores. The empty line behind it ends no event where none is under way, and is there for
/// readers that cut a stream at empty lines before they parse it.
const COMMENT: &[u8] = b": keepalive\n\n";

/// Its encoding in UTF-8. A parser takes one away at the beginning of the stream; anywhere else it would be a part of a
/// field's name, which nobody knows then.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Comments in the silence between events.
#[derive(Debug)]
struct Comments {
    /// How long a silence is until the first one, and from each to the next.
    interval: Duration,
    /// When the next one is due in the silence that goes on.
    due: Option<Instant>,
    beginning: Beginning,
}

/// How far the beginning of the upstream's stream, where it may have a byte order mark, has passed.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    /// Nothing passed.
    Open,
    /// A comment did, so the mark may not. So many bytes of one came.
    Behind(usize),
    /// The upstream's first bytes passed.
    Over,
}

/// Fields that state a digest of the body (RFC 9530, and those before it), which no byte may be added to.
const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

impl EventStream {
    /// For the answer with this head, if it is one. `keepalive` is the interval of comments, where there are to be any.
    pub(super) fn of(head: &response::Parts, keepalive: Option<Duration>) -> Option<Self> {
        let headers = &head.headers;
        let is_coded = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let is_open = head.status == StatusCode::OK
            && !is_coded
            && !DIGESTS.iter().any(|&digest| headers.contains_key(digest));
        forwarding::is_media_type(headers, "text/event-stream").then(|| Self {
            tail: *b"\0\n\n",
            is_coded,
            comments: keepalive.filter(|_| is_open).map(Comments::every),
        })
    }

    /// These bytes came; gives those that pass.
    pub(super) fn pass(&mut self, bytes: Bytes) -> Bytes {
        let bytes = match &mut self.comments {
            Some(comments) => comments.pass(bytes),
            None => bytes,
        };
        match bytes.last_chunk() {
            Some(last) => self.tail = *last,
            None => {
                for &byte in &bytes {
                    self.tail.rotate_left(1);
                    self.tail[BOUNDARY - 1] = byte;
                }
            }
        }
        bytes
    }

    /// Whether an empty line was the last to pass, or nothing did: no event is under way.
    pub(super) fn is_at_boundary(&self) -> bool {
        let is_empty_line = matches!(
            self.tail,
            [_, b'\n', b'\n'] | [_, b'\n' | b'\r', b'\r'] | [b'\n' | b'\r', b'\r', b'\n']
        );
        is_empty_line && !self.is_coded
    }

    /// When a comment is due, in a silence that lasts at this time already; `None` where there may be none.
    pub(super) fn comment_due(&mut self, now: Instant) -> Option<Instant> {
        let is_at_boundary = self.is_at_boundary();
        let comments = self.comments.as_deref_mut().filter(|_| is_at_boundary)?;
        Some(*comments.due.get_or_insert(now + comments.interval))
    }

    /// The comment that was due is given, or left out.
    pub(super) fn put_off(&mut self, now: Instant) {
        if let Some(comments) = &mut self.comments
            && let Some(due) = &mut comments.due
        {
            *due += comments.interval;
            if *due <= now {
                *due = now + comments.interval;
            }
        }
    }

    /// The comment, which is given now.
    pub(super) fn comment(&mut self) -> Bytes {
        if let Some(comments) = &mut self.comments
            && matches!(comments.beginning, Beginning::Open)
        {
            comments.beginning = Beginning::Behind(0);
        }
        Bytes::from_static(COMMENT)
    }
}

impl Comments {
    fn every(interval: Duration) -> Box<Self> {
        Box::new(Self {
            interval,
            due: None,
            beginning: Beginning::Open,
        })
    }

    /// Ends a silence. Takes a byte order mark away from behind a comment.
    fn pass(&mut self, bytes: Bytes) -> Bytes {
        self.due = None;
        if bytes.is_empty() {
            return bytes;
        }
        let Beginning::Behind(came) = std::mem::replace(&mut self.beginning, Beginning::Over) else {
            return bytes;
        };
        let (before, mark) = BYTE_ORDER_MARK.split_at(came);
        if let Some(behind) = bytes.strip_prefix(mark) {
            bytes.slice_ref(behind)
        } else if mark.starts_with(&bytes) {
            self.beginning = Beginning::Behind(came + bytes.len());
            Bytes::new()
        } else if before.is_empty() {
            bytes
        } else {
            [before, &bytes].concat().into()
        }
    }
}

#[cfg(test)]
mod tests;

//! Request heads as they came over the wire.
//!
//! The HTTP library normalises what it parses: names become lower case, fields of one name
//! are gathered, a fragment is dropped from the target. A test of a proxy wants the bytes.
//! So the stream is watched on its way to the library: the framing (RFC 9112 §6) tells where
//! each head begins and ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};

/// The longest head, and the longest line of chunked framing, in bytes.
const MAX_LINE: usize = 512 * 1024;
/// The most heads that wait for the library to reach them.
const MAX_WAITING: usize = 1024;

/// The heads of one connection that no handler has taken yet, in order.
#[derive(Clone, Default)]
pub(super) struct Heads(Arc<Mutex<VecDeque<Bytes>>>);

impl Heads {
    /// The head of the request that the library hands over now; empty when the framing was
    /// not understood.
    pub(super) fn take(&self) -> Bytes {
        self.0.lock().pop_front().unwrap_or_default()
    }
}

/// A stream whose incoming heads are copied into [`Heads`].
pub(super) struct HeadTap<S> {
    stream: S,
    framing: Framing,
    heads: Heads,
}

impl<S> HeadTap<S> {
    pub(super) fn new(stream: S, heads: Heads) -> Self {
        Self {
            stream,
            framing: Framing::Head(Vec::new()),
            heads,
        }
    }
}

enum Framing {
    /// In a head: the bytes of it so far.
    Head(Vec<u8>),
    /// In a body or chunk.
    Data { left: u64, chunked: bool },
    /// In a chunk-size line: the bytes of it so far.
    Size(Vec<u8>),
    /// In a trailer section: the bytes of the line so far.
    Trailers(Vec<u8>),
    /// Not understood; the library refuses it too.
    Lost,
}

/// Consumes `bytes` up to the next change of state and returns the rest.
fn step<'b>(framing: &mut Framing, heads: &Heads, bytes: &'b [u8]) -> &'b [u8] {
    match framing {
        Framing::Lost => &[],
        Framing::Data { left, chunked } => {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            *left = left.saturating_sub(here as u64);
            if *left == 0 {
                *framing = if *chunked {
                    Framing::Size(Vec::new())
                } else {
                    Framing::Head(Vec::new())
                };
            }
            bytes.get(here..).unwrap_or_default()
        }
        Framing::Head(line) | Framing::Size(line) | Framing::Trailers(line) => {
            let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
            let (here, rest) = bytes
                .split_at_checked(end.unwrap_or(bytes.len()))
                .unwrap_or_default();
            line.extend_from_slice(here);
            if line.len() > MAX_LINE {
                *framing = Framing::Lost;
            } else if end.is_some() {
                end_line(framing, heads);
            }
            rest
        }
    }
}

fn end_line(framing: &mut Framing, heads: &Heads) {
    *framing = match std::mem::replace(framing, Framing::Lost) {
        // Empty lines before a request line are skipped (RFC 9112 §2.2).
        Framing::Head(head) if matches!(head.as_slice(), b"\n" | b"\r\n") => Framing::Head(Vec::new()),
        Framing::Head(head) if head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n") => {
            let next = body_framing(&head);
            let mut waiting = heads.0.lock();
            if waiting.len() >= MAX_WAITING {
                return;
            }
            waiting.push_back(head.into());
            next
        }
        Framing::Size(line) => match chunk_size(&line) {
            Some(0) => Framing::Trailers(Vec::new()),
            // The line break after a chunk counts as its data.
            Some(size) => Framing::Data {
                left: size.saturating_add(2),
                chunked: true,
            },
            None => Framing::Lost,
        },
        Framing::Trailers(line) if matches!(line.as_slice(), b"\n" | b"\r\n") => Framing::Head(Vec::new()),
        Framing::Trailers(_) => Framing::Trailers(Vec::new()),
        unfinished => unfinished,
    };
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

fn body_framing(head: &[u8]) -> Framing {
    let mut length = 0;
    for (name, value) in super::record::fields(head) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Framing::Size(Vec::new());
        }
        if name.eq_ignore_ascii_case("content-length") {
            match value.parse() {
                Ok(given) => length = given,
                Err(_) => return Framing::Lost,
            }
        }
    }
    if length == 0 {
        Framing::Head(Vec::new())
    } else {
        Framing::Data {
            left: length,
            chunked: false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let mut bytes = buf.filled().get(before..).unwrap_or_default();
        while !bytes.is_empty() {
            bytes = step(&mut this.framing, &this.heads, bytes);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads_of(wire: &[u8], piece: usize) -> Vec<Bytes> {
        let heads = Heads::default();
        let mut framing = Framing::Head(Vec::new());
        for mut bytes in wire.chunks(piece) {
            while !bytes.is_empty() {
                bytes = step(&mut framing, &heads, bytes);
            }
        }
        heads.0.lock().drain(..).collect()
    }

    #[test]
    fn heads_are_found_between_bodies_however_the_bytes_are_cut() {
        let heads = [
            "GET /a%2Fb#c HTTP/1.1\r\nHost: x\r\nX-B: 1\r\nx-a: 2\r\nX-b: 3\r\n\r\n",
            "POST /fixed HTTP/1.1\r\nContent-Length: 18\r\n\r\n",
            "POST /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /last HTTP/1.1\n\n",
        ];
        let bodies = [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "12;x=y\r\nGET / HTTP/1.1\r\n\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n\r\n",
            "",
        ];
        let wire: String = heads
            .iter()
            .zip(bodies)
            .map(|(head, body)| format!("{head}{body}"))
            .collect();
        for piece in [1, 2, 3, 7, 64, wire.len()] {
            assert_eq!(
                heads_of(wire.as_bytes(), piece),
                heads.map(Bytes::from),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn framing_that_is_not_understood_ends_the_watch() {
        for wire in [
            "POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(heads_of(wire.as_bytes(), 16).len(), 1, "{wire}");
        }
    }
}

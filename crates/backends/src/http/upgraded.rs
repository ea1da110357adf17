//! A connection whose protocol its server switched (RFC 9110 §15.2.2). It carries nothing else any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lent::Lent;

/// A switched connection. What came behind the head of the answer is read first. Dropped, it is closed, or reset where it
/// [breaks off](Self::breaks_off).
#[derive(Debug)]
pub struct Upgraded(Lent);

impl Upgraded {
    pub(super) fn new(mut lent: Lent) -> Self {
        lent.tells_of_loss();
        Self(lent)
    }

    /// Whether a drop from now on is in the middle of something, and may not look like an end.
    pub fn breaks_off(&mut self, is_broken: bool) {
        self.0.is_broken = is_broken;
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &mut self.0.ahead;
        if ahead.is_empty() {
            return self.0.poll_wire(|mut wire| {
                // TLS may have to answer what it reads. Where it cannot, what came before is still to be read.
                let _flushed = wire.as_mut().poll_flush(cx);
                wire.poll_read(cx, buf)
            });
        }
        let length = ahead.len().min(buf.remaining());
        buf.put_slice(&ahead[..length]);
        ahead.advance(length);
        if ahead.is_empty() {
            // Also an empty rest would keep it all.
            *ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_wire(|wire| wire.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_wire(|wire| wire.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_wire(|wire| wire.poll_shutdown(cx))
    }
}

//! The bytes of a connection, at the pace that is expected.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use admission::ports::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Alarm, Pace};
use crate::clock;

/// How long a client that is still sending may take to notice that nobody reads it any more. Closed
/// at once, the connection would be reset, and the answer lost with it (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(5);

/// A stream that ends when its client does not keep the pace.
pub struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
    read: Alarm,
    write: Alarm,
    /// Since when a write has made no progress.
    stalled: Option<Instant>,
    /// The end of the authority that the stalled response rests on.
    revoked: Option<BoxFuture<'static, ()>>,
    /// Since when the client is waited for to end its side.
    lingering: Option<Instant>,
}

impl<S> Paced<S> {
    /// Watches over a stream.
    pub fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self {
            stream,
            pace,
            read: Alarm::default(),
            write: Alarm::default(),
            stalled: None,
            revoked: None,
            lingering: None,
        }
    }

    fn poll_stalled<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        // A pipelined response may begin behind one that is still being taken.
        if let Some(revoked) = self.pace.revoked() {
            self.revoked = Some(revoked);
        }
        let since = *self.stalled.get_or_insert_with(clock::instant);
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(cx).is_ready()
        {
            let words = "authority revoked while the client did not take the response";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, words)));
        }
        let mut deadline = since + self.pace.limits.write;
        let write_by = self.pace.write_by.load(Ordering::Acquire);
        if write_by != 0 {
            deadline = deadline.min(self.pace.start + Duration::from_nanos(write_by));
        }
        ready!(self.write.poll(cx, deadline));
        Poll::Ready(Err(timed_out(
            "client did not take the response within WRITE_TIMEOUT",
        )))
    }

    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(result) => {
                self.stalled = None;
                self.revoked = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.pace.bytes_arrived();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                let Some(deadline) = this.pace.read_deadline() else {
                    return Poll::Pending;
                };
                ready!(this.read.poll(cx, deadline));
                Poll::Ready(Err(timed_out(
                    "client kept the connection longer than READ_HEADER_TIMEOUT or IDLE_TIMEOUT",
                )))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads and drops what the client still sends, until it ends its side or for [`LINGER`].
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.lingering.get_or_insert_with(clock::instant) + LINGER;
        let mut bytes = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && clock::instant() < until => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.read.poll(cx, until),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.wrote(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let result = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.wrote(cx, result))?;
        }
        if this.pace.unread.load(Ordering::Acquire) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

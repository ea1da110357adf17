//! A connection's bytes: TCP or TLS over it, and the last look before reuse.

use std::fmt;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::unsent::is_end;

/// What the client asks of a connection that it has handed over to its task.
#[derive(Clone, Default)]
pub(super) struct Probe(Arc<Asked>);

#[derive(Default)]
struct Asked {
    look: AtomicBool,
    guarded: AtomicBool,
    guard: Mutex<Option<Guard>>,
    barred: AtomicBool,
    heard: AtomicBool,
}

/// What has to know that a request departs.
pub trait Departure: Send + Sync {
    /// Called before the request waits for a connection, which may take a while; where it fails the request gets none, and none
    /// is dialled for it.
    ///
    /// # Errors
    /// The request must not leave.
    fn keep(&self) -> io::Result<()>;

    /// Called right before the first byte of the request is written to a connection, once for each time that it is sent;
    /// where it fails nothing is written.
    ///
    /// # Errors
    /// The request must not leave.
    fn mark(&self) -> io::Result<()>;
}

/// Shared by the client and the connection that writes.
pub type Guard = Arc<dyn Departure>;

impl Probe {
    /// Asks the connection to look whether its peer has hung up.
    ///
    /// The reactor learns of a peer's close a moment after the kernel does. A request written in that
    /// moment is lost, and with it a single-use mandate. So whoever takes a connection out of the
    /// pool asks for one read straight from the kernel, which happens before the request is written.
    pub(super) fn ask(&self) {
        self.0.look.store(true, Ordering::Release);
    }

    fn was_asked(&self) -> bool {
        self.0.look.load(Ordering::Relaxed) && self.0.look.swap(false, Ordering::Acquire)
    }

    /// The next byte that is written is the first of a request, and the next that is read the first of its answer. The
    /// guard is to be called before.
    pub(super) fn begin(&self, guard: Option<Guard>) {
        self.0.heard.store(false, Ordering::Release);
        let Some(guard) = guard else { return };
        *self.0.guard.lock() = Some(guard);
        self.0.guarded.store(true, Ordering::Release);
    }

    /// Whether anything was read since the last request began.
    pub(super) fn has_heard(&self) -> bool {
        self.0.heard.load(Ordering::Acquire)
    }

    /// Whether the guard did not let the request out.
    pub(super) fn was_barred(&self) -> bool {
        self.0.barred.load(Ordering::Acquire)
    }

    fn let_out(&self) -> io::Result<()> {
        if !self.0.guarded.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut guard = self.0.guard.lock();
        if let Some(guard) = &*guard {
            guard
                .mark()
                .inspect_err(|_| self.0.barred.store(true, Ordering::Release))?;
        }
        // Only now: what is refused once is refused for good.
        *guard = None;
        self.0.guarded.store(false, Ordering::Release);
        Ok(())
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// A TCP connection that can be probed.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    probe: Probe,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, probe: Probe) -> Self {
        Self { tcp, probe }
    }

    /// Reads what the kernel has, whether or not the reactor knows of it.
    fn read_now(&self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let kernel = SockRef::from(&self.tcp);
        if kernel.peek(&mut [MaybeUninit::uninit()])? > 0 {
            let read = (&*kernel).read(buf.initialize_unfilled())?;
            buf.advance(read);
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        if read.is_ready() || !self.probe.was_asked() {
            return read;
        }
        match self.read_now(buf) {
            // The reactor was asked above and will wake us.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// A connection to a server. What is written to it are requests and nothing else: what TLS has to say for itself, as that
/// the connection ends, is written below.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    probe: Probe,
    tells_of_loss: bool,
}

impl Wire {
    pub(super) const fn new(stream: Stream, probe: Probe) -> Self {
        Self {
            stream,
            probe,
            tells_of_loss: false,
        }
    }

    /// Behind a switch of protocols what can no longer be written is lost, and said to be.
    pub(super) fn tells_of_loss(&mut self) {
        self.tells_of_loss = true;
    }

    /// Closes it by a reset (RFC 9293 §3.10.7.4).
    pub(super) fn reset(self) {
        let socket = match &self.stream {
            Either::Left(socket) => socket,
            Either::Right(tls) => tls.get_ref().0,
        };
        if let Err(error) = socket.tcp.set_zero_linger() {
            tracing::debug!(error = %error, "connection cannot be reset");
        }
    }

    /// A peer that takes no more has perhaps answered before it hung up. What it said is still to be read, and behind it that
    /// it has gone; the libraries would give up at once. So what can no longer be written counts as written.
    fn unless_ended<T>(&self, done: Poll<io::Result<T>>, all: T) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) if is_end(&error) && !self.tells_of_loss => Poll::Ready(Ok(all)),
            done => done,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && !self.probe.0.heard.load(Ordering::Relaxed) {
            self.probe.0.heard.store(true, Ordering::Release);
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.probe.let_out()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_ended(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.probe.let_out()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_ended(written, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_ended(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

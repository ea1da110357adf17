//! A connection's bytes: TCP or TLS over it, and the last look before reuse.

use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// Asks a connection to look whether its peer has hung up.
///
/// The reactor learns of a peer's close a moment after the kernel does. A request written in that
/// moment is lost, and with it a single-use mandate. So whoever takes a connection out of the
/// pool asks for one read straight from the kernel, which happens before the request is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Probe(Arc<AtomicBool>);

impl Probe {
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn was_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Acquire)
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

/// A connection to a server.
pub(super) type Wire = Either<Socket, Box<TlsStream<Socket>>>;

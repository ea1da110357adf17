//! What a connection runs over.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that can be ended by a reset.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes the close that follows a reset (RFC 9293 §3.10.7.4).
    fn reset(&self);

    /// Whether it has failed, which may lie behind bytes that nobody reads.
    fn has_failed(&self) -> bool;
}

impl Transport for TcpStream {
    fn reset(&self) {
        if let Err(error) = self.set_zero_linger() {
            tracing::debug!(error = %error, "connection cannot be reset");
        }
    }

    fn has_failed(&self) -> bool {
        !matches!(self.take_error(), Ok(None))
    }
}

impl Transport for Box<TlsStream<TcpStream>> {
    fn reset(&self) {
        self.get_ref().0.reset();
    }

    fn has_failed(&self) -> bool {
        self.get_ref().0.has_failed()
    }
}

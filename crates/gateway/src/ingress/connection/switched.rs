//! Connections and streams whose protocol is switched (RFC 9110 §15.2.2, RFC 8441 §5). The library has no part in it: over
//! HTTP/1.1 it is given up before the head is written, over HTTP/2 it is asked for the bytes of the stream.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use admission::ports::BoxFuture;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::LAST_WORDS_TIMEOUT;
use super::state::Ending;
use super::timed_io::TimedIo;
use super::timer::ConnectionTimer;
use super::transport::Transport;

/// Both directions of a caller's connection, or of a stream of it.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// Ready where the caller is known to be gone, to be asked behind reading and writing. Where nobody reads what the caller
    /// sends, or it has ended its side, nothing wakes who asks: ask again after a while.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What goes on behind a switch of protocols.
pub trait Switched: Send {
    /// Carries it to its end. Dropped, its record says why.
    fn run<'a>(self: Box<Self>, caller: &'a mut dyn Duplex) -> BoxFuture<'a, Closing>;
}

/// How the caller's side is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Both sides have said all: the caller is given what it has not taken yet.
    Whole,
    /// The last words of the gateway are written. They are taken at once or not at all.
    LastWords,
    /// In the middle of something: nothing that would look like an end.
    Cut,
}

/// The head of an answer that switches, and what follows it.
pub(super) struct Switch {
    head: Vec<u8>,
    carried: Box<dyn Switched>,
}

impl Switch {
    pub(super) fn new(headers: &HeaderMap, carried: Box<dyn Switched>) -> Self {
        let mut head = format!("HTTP/1.1 {}\r\n", StatusCode::SWITCHING_PROTOCOLS).into_bytes();
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        Self { head, carried }
    }
}

/// Writes the head of a switch to a connection and carries what follows it. What the caller sent behind its own head was
/// kept from the library; where that has read more than the head (`is_followed`), nobody knows whose it is.
pub(super) async fn serve_connection<S: Transport + Send>(
    stream: &mut TimedIo<S>,
    is_followed: bool,
    switch: Switch,
) -> io::Result<()> {
    if is_followed {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "bytes behind a head were read with it",
        ));
    }
    let Switch { head, carried } = switch;
    stream.switches();
    stream.write_all(&head).await?;
    stream.flush().await?;
    drop(head);
    match carried.run(stream).await {
        Closing::Whole | Closing::LastWords => {
            stream.ends();
            stream.shutdown().await
        }
        Closing::Cut => Ok(()),
    }
}

/// What the task of an HTTP/2 stream needs once its answer is a switch.
#[derive(Default)]
pub(super) struct SwitchedStream {
    /// The bytes of the stream, and who wants them.
    pub(super) switch: Option<(OnUpgrade, Box<dyn Switched>)>,
    /// The library's own part: it sends what is written.
    pub(super) sending: Option<BoxFuture<'static, ()>>,
}

impl SwitchedStream {
    /// Carries what follows the head. `write` is how long the caller may take for the rest of it. The process may `cut` it.
    pub(super) async fn serve(self, write: Duration, cut: &CancellationToken, timer: &ConnectionTimer) {
        let (Some((upgrade, carried)), Some(mut sending)) = (self.switch, self.sending) else {
            return;
        };
        let Ok(upgraded) = upgrade.await else { return };
        let sent = Arc::new(AtomicBool::new(false));
        let mut caller = Stream {
            io: TokioIo::new(upgraded),
            has_ended: false,
            is_sent: Arc::clone(&sent),
        };
        let is_sent = || sent.load(Ordering::Relaxed);
        let closing = {
            let mut carried = carried.run(&mut caller);
            let carrying = poll_fn(|cx| {
                // First, so that a reset is known before the end that the library makes of it is read.
                if !is_sent() && sending.as_mut().poll(cx).is_ready() {
                    sent.store(true, Ordering::Relaxed);
                }
                carried.as_mut().poll(cx)
            });
            tokio::select! {
                biased;
                () = cut.cancelled() => {
                    timer.end(Ending::Stopped);
                    return;
                }
                closing = carrying => closing,
            }
        };
        // The library ends the stream behind what was written, or resets it where it is dropped before.
        drop(caller);
        let patience = match closing {
            Closing::Whole => write,
            Closing::LastWords => LAST_WORDS_TIMEOUT,
            Closing::Cut => return,
        };
        if !is_sent() {
            let _late = timeout(patience, sending).await;
        }
    }
}

/// A switched stream. The library takes a reset without an error for the caller's end, which it is not: nobody reads any more.
struct Stream {
    io: TokioIo<Upgraded>,
    /// The caller was told of the end.
    has_ended: bool,
    /// Nothing is sent any more, for that or for another reason.
    is_sent: Arc<AtomicBool>,
}

impl Stream {
    fn is_reset(&self) -> bool {
        self.is_sent.load(Ordering::Relaxed) && !self.has_ended
    }
}

impl Duplex for Stream {
    /// What sends is woken by a reset, whoever reads.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match self.is_reset() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_reset() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_ended = true;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

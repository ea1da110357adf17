//! Who reads a connection: the HTTP library, or the body of a response.
//!
//! The library keeps some 24 KiB for as long as it drives a connection, and a stream of events may go on for hours. So
//! once the head of one has passed and the request was written whole, the library is stopped and its socket lent to
//! the body.

use std::io::IoSlice;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use parking_lot::Mutex;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::lent::Lent;
use super::response_head::ResponseHead;

/// Shared by whoever sends a request, the request's body, and the library's side of the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Handover(Arc<Mutex<Phase>>, Reason, Switch);

/// Who waits for the socket behind a switch of protocols, after which the library has no use for it.
type Switch = Arc<Mutex<Option<oneshot::Sender<Lent>>>>;

/// The reason phrase of the last head, where the library does not give it.
type Reason = Arc<Mutex<Option<Vec<u8>>>>;

#[derive(Debug, Default)]
enum Phase {
    /// The library reads what comes.
    #[default]
    Library,
    /// It has a request to send, and nothing has come yet.
    Sending,
    /// It wants no more of the request's body.
    BodyTaken,
    /// The request was written whole, and the head of the response is expected.
    Sent,
    /// The head of an event stream has passed, and nothing else does. The task that drives the library.
    Stopped(Option<Waker>),
    /// A response body wants the socket.
    Wanted(oneshot::Sender<Lent>),
}

impl Handover {
    /// A request begins.
    pub(super) fn begin(&self) {
        *self.0.lock() = Phase::Sending;
        *self.1.lock() = None;
    }

    /// The request that begins asks for a switch of protocols, and for the socket where that is made.
    pub(super) fn begin_switch(&self, lend: oneshot::Sender<Lent>) {
        *self.2.lock() = Some(lend);
    }

    /// Who waits for the socket behind a switch. To be asked when the library has ended.
    pub(super) fn switching(&self) -> Option<oneshot::Sender<Lent>> {
        self.2.lock().take()
    }

    /// Gives a response the reason phrase that came with it.
    pub(super) fn restore_reason<B>(&self, response: &mut Response<B>) {
        let reason = self.1.lock().take().map(ReasonPhrase::try_from);
        if let Some(Ok(reason)) = reason {
            response.extensions_mut().insert(reason);
        }
    }

    /// The head of the response is here: asks for the socket, or lets the library go on. `None` if the library has
    /// it and keeps it. No answer comes if the connection ended.
    pub(super) fn settle(&self, wants_socket: bool) -> Option<oneshot::Receiver<Lent>> {
        let mut phase = self.0.lock();
        let Phase::Stopped(task) = mem::take(&mut *phase) else {
            return None;
        };
        let lent = wants_socket.then(|| {
            let (lend, lent) = oneshot::channel();
            *phase = Phase::Wanted(lend);
            lent
        });
        drop(phase);
        if let Some(task) = task {
            task.wake();
        }
        lent
    }

    /// Ready when the socket is wanted. To be asked after the library was polled.
    pub(super) fn poll_wanted(&self, cx: &Context<'_>) -> Poll<oneshot::Sender<Lent>> {
        let mut phase = self.0.lock();
        match mem::take(&mut *phase) {
            Phase::Wanted(lend) => return Poll::Ready(lend),
            Phase::Stopped(_) => *phase = Phase::Stopped(Some(cx.waker().clone())),
            other => *phase = other,
        }
        Poll::Pending
    }

    fn body_taken(&self) {
        let mut phase = self.0.lock();
        if matches!(*phase, Phase::Sending) {
            *phase = Phase::BodyTaken;
        }
    }

    /// More of the request is written.
    fn writes(&self) {
        let mut phase = self.0.lock();
        if matches!(*phase, Phase::Sent) {
            *phase = Phase::BodyTaken;
        }
    }

    fn flushed(&self) {
        let mut phase = self.0.lock();
        if matches!(*phase, Phase::BodyTaken) {
            *phase = Phase::Sent;
        }
    }

    /// Whether nothing is to be read. Keeps the task, which goes on when that changes.
    fn is_stopped(&self, cx: &Context<'_>) -> bool {
        match &mut *self.0.lock() {
            Phase::Stopped(task) => {
                *task = Some(cx.waker().clone());
                true
            }
            Phase::Wanted(_) => true,
            _ => false,
        }
    }

    /// Whether the bytes that came are of an awaited head. What comes before the request was written whole is read
    /// by the library to its end, because the rest of the request is in its hands.
    fn expects_head(&self) -> bool {
        let mut phase = self.0.lock();
        if matches!(*phase, Phase::Sending | Phase::BodyTaken) {
            *phase = Phase::Library;
        }
        matches!(*phase, Phase::Sent)
    }

    fn head_passed(&self, is_event_stream: bool, reason: Option<Vec<u8>>) {
        if reason.is_some() {
            *self.1.lock() = reason;
        }
        *self.0.lock() = if is_event_stream {
            Phase::Stopped(None)
        } else {
            Phase::Library
        };
    }
}

/// The library's side of a connection. Dropped, it tells whoever wants the socket that there is none.
#[derive(Debug)]
pub(super) struct LibrarySide<T> {
    io: T,
    head: ResponseHead,
    /// Bytes behind the head of an event stream.
    ahead: Bytes,
    handover: Ends,
}

#[derive(Debug)]
struct Ends(Handover);

impl Drop for Ends {
    fn drop(&mut self) {
        *self.0.0.lock() = Phase::Library;
        *self.0.2.lock() = None;
    }
}

impl<T> LibrarySide<T> {
    pub(super) fn new(io: T, handover: Handover) -> Self {
        Self {
            io,
            head: ResponseHead::default(),
            ahead: Bytes::new(),
            handover: Ends(handover),
        }
    }

    /// The connection, and what was read of it behind the head.
    pub(super) fn into_parts(self) -> (T, Bytes) {
        (self.io, self.ahead)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for LibrarySide<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let handover = &this.handover.0;
        if handover.is_stopped(cx) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        } else {
            let length = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..length]);
            this.ahead.advance(length);
        }
        let came = &buf.filled()[before..];
        if !came.is_empty()
            && handover.expects_head()
            && let Some(end) = this.head.pass(came)
        {
            if end.is_event_stream {
                let behind = [&came[end.length..], &this.ahead].concat();
                this.ahead = behind.into();
                buf.set_filled(before + end.length);
            }
            handover.head_passed(end.is_event_stream, end.reason);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for LibrarySide<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.handover.0.writes();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handover.0.writes();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// The library flushes when it has handed over all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.handover.0.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A request body, or none, that tells when the library wants no more of it, which is when it is dropped.
pub(super) struct RequestBody<B> {
    body: Option<B>,
    _taken: Taken,
}

struct Taken(Handover);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.body_taken();
    }
}

impl<B> RequestBody<B> {
    pub(super) fn new(body: Option<B>, handover: Handover) -> Self {
        Self {
            body,
            _taken: Taken(handover),
        }
    }

    pub(super) fn into_inner(self) -> Option<B> {
        self.body
    }
}

impl<B: Body + Unpin> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let none = SizeHint::with_exact(0);
        self.body.as_ref().map_or(none, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::task::noop_waker;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

    /// A connection over which a request was written, and a server that answered it with a head and a byte.
    async fn answered(handover: &Handover) -> (LibrarySide<DuplexStream>, DuplexStream) {
        let (client, mut server) = tokio::io::duplex(1024);
        let mut library = LibrarySide::new(client, handover.clone());
        handover.begin();
        handover.begin_switch(oneshot::channel().0);
        drop(RequestBody::<()>::new(None, handover.clone()));
        library.flush().await.unwrap();
        server.write_all(&[HEAD, b"1"].concat()).await.unwrap();
        let mut seen = [0; 1024];
        let read = library.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..read], HEAD, "the head, and no more");
        (library, server)
    }

    #[tokio::test]
    async fn handover_goes_on_where_the_socket_is_not_wanted() {
        let handover = Handover::default();
        let (mut library, _server) = answered(&handover).await;
        // The library waits before anybody decides, and nothing else is to wake it.
        let mut seen = [0; 8];
        let (read, ()) = tokio::join!(library.read(&mut seen), async {
            assert!(handover.settle(false).is_none());
        });
        assert_eq!((read.unwrap(), seen[0]), (1, b'1'));
    }

    #[tokio::test]
    async fn handover_gives_the_socket_to_who_wants_it() {
        let handover = Handover::default();
        let (mut library, _server) = answered(&handover).await;
        let (lend, lent) = tokio::join!(std::future::poll_fn(|cx| handover.poll_wanted(cx)), async {
            handover.settle(true)
        });
        assert!(
            library.read_u8().now_or_never().is_some(),
            "nobody is stopped any more"
        );
        drop(lend);
        assert!(lent.unwrap().await.is_err(), "who does not lend says so");
    }

    #[tokio::test]
    async fn handover_is_told_when_the_connection_ends() {
        let handover = Handover::default();
        let (library, _server) = answered(&handover).await;
        let lent = handover.settle(true).unwrap();
        drop(library);
        assert!(lent.await.is_err());
        assert!(handover.settle(true).is_none());
    }

    #[tokio::test]
    async fn handover_needs_a_request_that_was_written_whole() {
        for (takes_body, flushes) in [(false, true), (true, false)] {
            let handover = Handover::default();
            let (client, mut server) = tokio::io::duplex(1024);
            let mut library = LibrarySide::new(client, handover.clone());
            handover.begin();
            let body = RequestBody::<()>::new(None, handover.clone());
            let body = (!takes_body).then_some(body);
            if flushes {
                library.flush().await.unwrap();
            }
            server.write_all(&[HEAD, b"1"].concat()).await.unwrap();
            let mut seen = [0; 1024];
            let read = library.read(&mut seen).await.unwrap();
            assert_eq!(read, HEAD.len() + 1);
            // What is written later changes nothing.
            drop(body);
            library.flush().await.unwrap();
            server.write_all(HEAD).await.unwrap();
            assert_eq!(library.read(&mut seen).await.unwrap(), HEAD.len());
            assert!(handover.settle(true).is_none());
            let context = noop_waker();
            assert!(handover.poll_wanted(&Context::from_waker(&context)).is_pending());
        }
    }
}

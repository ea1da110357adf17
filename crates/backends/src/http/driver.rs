//! The task of a connection: it drives the HTTP library, and waits while a response body reads the socket instead.

use std::future::poll_fn;
use std::sync::Weak;
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::BoxError;
use super::handover::{Handover, LibrarySide, RequestBody};
use super::lent::{Lent, Returned};
use super::pool::{Connection, Endpoint, Pool};
use super::socket::Wire;

/// Largest response head, and most bytes of a body that are read ahead of the consumer.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// The most fields of a response head.
pub(super) const MAX_FIELDS: usize = 256;
/// How long a connection that nobody wants any more may take to close: its peer may have stopped
/// reading, and TLS has a last record to write.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection's task needs.
pub(super) struct Driver<B>
where
    B: Body + Unpin + Send + 'static,
{
    // Boxed, because the task would hold its place twice.
    library: Box<http1::Connection<TokioIo<LibrarySide<Wire>>, RequestBody<B>>>,
    handover: Handover,
    unwanted: CancellationToken,
    endpoint: Endpoint,
}

impl<B> Driver<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    /// A connection over this socket, and what drives it.
    pub(super) async fn new(wire: Wire, endpoint: Endpoint) -> hyper::Result<(Connection<B>, Self)> {
        let handover = Handover::default();
        let (sender, library) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(LibrarySide::new(wire, handover.clone())))
            .await?;
        let unwanted = CancellationToken::new();
        let connection = Connection {
            sender,
            _wanted: unwanted.clone().drop_guard(),
            handover: handover.clone(),
            endpoint: endpoint.clone(),
            reused: false,
            may_switch: false,
        };
        let driver = Self {
            library: Box::new(library),
            handover,
            unwanted,
            endpoint,
        };
        Ok((connection, driver))
    }

    /// Drives it until it ends or nobody wants it any more. A socket that comes back after a whole body goes to the
    /// pool, as long as there is one, with the library in front of it again.
    pub(super) async fn run(self, pool: Weak<Pool<B>>) {
        let mut driver = self;
        loop {
            let endpoint = driver.endpoint.clone();
            let Some(returned) = driver.until_lent().await else {
                return;
            };
            // The body is dropped together with its runtime, or gives the socket back.
            let Ok(Returned {
                mut wire,
                is_reusable,
            }) = returned.await
            else {
                return;
            };
            let Some(pool) = pool.upgrade().filter(|_| is_reusable) else {
                // That it is closed is all that is wanted; how is no event.
                let _ = timeout(CLOSE_TIMEOUT, wire.shutdown()).await;
                return;
            };
            // Boxed, because the task would hold its place all the time.
            let Ok((connection, next)) = Box::pin(Self::new(wire, endpoint)).await else {
                return;
            };
            pool.put(connection);
            driver = next;
        }
    }

    /// Lends the socket when it is wanted; `None` when the connection ended instead.
    async fn until_lent(mut self) -> Option<oneshot::Receiver<Returned>> {
        let lend = tokio::select! {
            biased;
            // The request that suffers from it is told; an idle connection's end is no event.
            _ = &mut self.library => match self.handover.switching() {
                Some(lend) => return Some(self.lend(lend)),
                None => return None,
            },
            lend = poll_fn(|cx| self.handover.poll_wanted(cx)) => lend,
            () = async { self.unwanted.cancelled().await; sleep(CLOSE_TIMEOUT).await } => return None,
        };
        let parts = self.library.into_parts();
        if !parts.read_buf.is_empty() {
            // The library may have read on behind the head, so that nobody knows any more where the body is.
            return None;
        }
        let (wire, ahead) = parts.io.into_inner().into_parts();
        let (lent, returned) = Lent::new(wire, ahead);
        // Who does not want it any more drops it, which gives it back.
        let _ = lend.send(lent);
        Some(returned)
    }

    /// Lends the socket behind a switch of protocols: what the library read on belongs to the new one. Where it ended
    /// otherwise nobody takes it, and it comes back. It is copied, because the library's buffer is large.
    fn lend(self, lend: oneshot::Sender<Lent>) -> oneshot::Receiver<Returned> {
        let parts = self.library.into_parts();
        let (wire, _nothing) = parts.io.into_inner().into_parts();
        let (lent, returned) = Lent::new(wire, Bytes::copy_from_slice(&parts.read_buf));
        let _ = lend.send(lent);
        returned
    }
}

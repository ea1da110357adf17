//! A response body that gives its connection back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::direct::{BodyError, DirectBody, Framing};
use super::http2::StreamBody;
use super::lent::Lent;
use super::pool::{Connection, Pool};
use super::upgraded::Upgraded;

/// A response body. At its clean end the connection goes back to the pool; a body that is dropped
/// before its end, or fails, closes it; one of an HTTP/2 connection resets its stream.
pub struct PooledBody<B>(Source<B>);

enum Source<B> {
    Library {
        incoming: Incoming,
        lease: Option<(Connection<B>, Arc<Pool<B>>)>,
    },
    /// A stream of events.
    Direct(DirectBody),
    /// One of many on an HTTP/2 connection.
    Shared(StreamBody),
    /// None: the protocol was switched behind the head.
    Switched(Upgraded),
}

impl<B> PooledBody<B> {
    pub(super) fn new(incoming: Incoming, connection: Connection<B>, pool: Arc<Pool<B>>) -> Self {
        let mut lease = Some((connection, pool));
        if incoming.is_end_stream() {
            give_back(&mut lease);
        }
        Self(Source::Library { incoming, lease })
    }

    pub(super) fn shared(body: StreamBody) -> Self {
        Self(Source::Shared(body))
    }

    pub(super) fn switched(connection: Upgraded) -> Self {
        Self(Source::Switched(connection))
    }

    /// The connection, where its protocol was switched.
    #[must_use]
    pub fn into_upgraded(self) -> Option<Upgraded> {
        match self.0 {
            Source::Switched(connection) => Some(connection),
            Source::Library { .. } | Source::Direct(_) | Source::Shared(_) => None,
        }
    }

    pub(super) fn direct(lent: Lent, framing: Framing) -> Self {
        Self(Source::Direct(DirectBody::new(lent, framing)))
    }
}

fn give_back<B>(lease: &mut Option<(Connection<B>, Arc<Pool<B>>)>) {
    if let Some((connection, pool)) = lease.take() {
        pool.put(connection);
    }
}

impl<B: 'static> Body for PooledBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, lease) = match &mut self.get_mut().0 {
            Source::Direct(direct) => return direct.poll_frame(cx),
            Source::Shared(shared) => return shared.poll_frame(cx).map_err(BodyError::Http2),
            Source::Switched(_) => return Poll::Ready(None),
            Source::Library { incoming, lease } => (incoming, lease),
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => give_back(lease),
            Poll::Ready(Some(Ok(_))) if incoming.is_end_stream() => give_back(lease),
            Poll::Ready(Some(Err(_))) => *lease = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled.map_err(BodyError::Library)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Library { incoming, .. } => incoming.is_end_stream(),
            Source::Direct(direct) => direct.is_over(),
            Source::Shared(shared) => shared.is_end_stream(),
            Source::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Library { incoming, .. } => incoming.size_hint(),
            Source::Direct(_) => SizeHint::default(),
            Source::Shared(shared) => shared.size_hint(),
            Source::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

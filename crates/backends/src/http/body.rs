//! A response body that gives its connection back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pool::{Connection, Pool};

/// A response body. At its clean end the connection goes back to the pool; a body that is dropped
/// before its end, or fails, closes it.
pub struct PooledBody<B> {
    incoming: Incoming,
    lease: Option<(Connection<B>, Arc<Pool<B>>)>,
}

impl<B> PooledBody<B> {
    pub(super) fn new(incoming: Incoming, connection: Connection<B>, pool: Arc<Pool<B>>) -> Self {
        let mut body = Self {
            incoming,
            lease: Some((connection, pool)),
        };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some((connection, pool)) = self.lease.take() {
            pool.put(connection);
        }
    }
}

impl<B: 'static> Body for PooledBody<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => this.give_back(),
            Poll::Ready(Some(Ok(_))) if this.incoming.is_end_stream() => this.give_back(),
            Poll::Ready(Some(Err(_))) => this.lease = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

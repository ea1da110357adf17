//! A response body that is read from its stream.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Frame, SizeHint};

use super::connection::Held;

/// The body. Dropped before its end, it resets its stream, and no other.
pub(in super::super) struct StreamBody {
    /// Until its end.
    stream: Option<(RecvStream, Held)>,
    /// What is left of it, where its length is known.
    left: Option<u64>,
}

impl StreamBody {
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap, held: Held) -> Self {
        let left = match stream.is_end_stream() {
            true => Some(0),
            // Whether several lines agree is judged with the rest of the head.
            false => headers
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok()),
        };
        let stream = (!stream.is_end_stream()).then_some((stream, held));
        Self { stream, left }
    }

    pub(in super::super) fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(in super::super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some((stream, held)) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let frame = match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => {
                held.slot.heard();
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                // It is on its way to the caller; more than one window is not.
                stream
                    .flow_control()
                    .release_capacity(data.len())
                    .map(|()| Some(Frame::data(data)))
            }
            Some(Err(error)) => Err(error),
            None => ready!(stream.poll_trailers(cx)).map(|trailers| trailers.map(Frame::trailers)),
        };
        let is_over = !matches!(&frame, Ok(Some(frame)) if frame.is_data()) || stream.is_end_stream();
        if is_over {
            self.stream = None;
        }
        Poll::Ready(frame.transpose())
    }
}

//! A response body that is read from its stream.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::connection::Held;

/// How long an end may take that comes after all the bytes.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The body. Dropped before its end, it resets its stream, and no other; where there is nothing left but the end, that is
/// waited for.
pub(in super::super) struct StreamBody {
    /// Until its end.
    stream: Option<(RecvStream, Held)>,
    /// What is left of it, where its length is known.
    left: Option<u64>,
    tracker: TaskTracker,
}

impl StreamBody {
    pub(super) fn new(stream: RecvStream, headers: &HeaderMap, mut held: Held, tracker: TaskTracker) -> Self {
        let left = match stream.is_end_stream() {
            true => Some(0),
            // Whether several lines agree is judged with the rest of the head.
            false => headers
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok()),
        };
        if stream.is_end_stream() {
            held.whole();
        }
        let stream = (!stream.is_end_stream()).then_some((stream, held));
        Self {
            stream,
            left,
            tracker,
        }
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
            if frame.is_ok() {
                held.whole();
            }
            self.stream = None;
        }
        Poll::Ready(frame.transpose())
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if self.left != Some(0) {
            return;
        }
        // Who writes a body of a known length drops it with the last byte, and the peer may say its end later.
        if let (Some((mut stream, mut held)), Ok(runtime)) = (self.stream.take(), Handle::try_current()) {
            let end = async move {
                let end = poll_fn(|cx| {
                    // Its bytes were as many as were announced, so only empty pieces still come.
                    while let Some(piece) = ready!(stream.poll_data(cx)) {
                        piece?;
                    }
                    stream.poll_trailers(cx)
                });
                if let Ok(Ok(_)) = timeout(END_TIMEOUT, end).await {
                    held.whole();
                }
            };
            self.tracker.spawn_on(end, &runtime);
        }
    }
}

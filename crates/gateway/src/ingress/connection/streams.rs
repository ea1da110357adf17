//! The streams of HTTP/2 connections, each a task of the tracker, and the end of one alone.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::in_flight::InFlight;
use super::state::Ending;
use crate::clock;
use crate::ingress::alarm::Alarm;

/// The most bytes of an unwanted request body that are read for nothing: the window of a stream.
const MAX_DISCARDED: usize = 64 * 1024;
/// How long trailers that tell of a revocation may wait behind what the caller is taking.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(20);
/// How long the end of an unwanted request body is waited for.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the streams of one connection.
///
/// A response whose caller keeps the stream's window shut is not polled, so it learns neither of a
/// revocation nor of the time: its stream is reset from here, and no other.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    pub(super) tasks: TaskTracker,
    /// The request that was read last, until the task of its stream takes it.
    pub(super) opened: Arc<Mutex<Option<InFlight>>>,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Boxed, because what `run` makes of it would hold its place several times over.
        let stream = Box::pin(stream);
        // The library calls the service right before, in the same poll of the connection.
        match self.opened.lock().take() {
            Some(in_flight) => self.tasks.spawn(run(stream, in_flight)),
            None => self.tasks.spawn(async move {
                stream.await;
            }),
        };
    }
}

async fn run<F: Future>(stream: Pin<Box<F>>, in_flight: InFlight) {
    drive(stream, &in_flight).await;
    let rest = in_flight.take_rest();
    // The request is over, and its place free.
    drop(in_flight);
    if let Some(rest) = rest {
        let _late = tokio::time::timeout(DISCARD_TIMEOUT, discard(rest)).await;
    }
}

/// Runs a stream to its end, or until the caller has taken too long or the authority is revoked;
/// dropped then, the stream is reset with what waits for its window.
async fn drive<F: Future>(mut stream: Pin<Box<F>>, in_flight: &InFlight) {
    let mut alarm = Alarm::default();
    let (mut authority, mut revoked) = (None, None);
    poll_fn(|cx| {
        // First, because a response that is polled ends by itself, with its own words.
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if authority.is_none() {
            authority = in_flight.authority();
        }
        if let Some(authority) = &mut authority
            && authority.poll_revoked(cx).is_ready()
        {
            let since = *revoked.get_or_insert_with(clock::instant);
            if !in_flight.is_ending() || alarm.poll(cx, since + LAST_WORDS_TIMEOUT).is_ready() {
                in_flight.end_stream(Ending::Revoked);
                return Poll::Ready(());
            }
        }
        if let Some(deadline) = in_flight.take_by()
            && alarm.poll(cx, deadline).is_ready()
        {
            in_flight.end_stream(Ending::WriteTimeout);
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

async fn discard(mut rest: Incoming) {
    let mut left = MAX_DISCARDED;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

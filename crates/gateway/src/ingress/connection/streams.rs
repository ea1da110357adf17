//! The streams of HTTP/2 connections, each a task of the tracker, and the end of one alone.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LAST_WORDS_TIMEOUT;
use super::in_flight::InFlight;
use super::state::Ending;
use super::switched::{Switched, SwitchedStream};
use crate::clock;
use crate::ingress::alarm::Alarm;

/// The most bytes of an unwanted request body that are read for nothing: the window of a stream.
const MAX_DISCARDED: usize = 64 * 1024;
/// How long the end of an unwanted request body is waited for.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// Of the stream whose task is running.
    static SWITCHED: RefCell<SwitchedStream>;
}

/// Has this carried behind the answer of the stream whose task is running.
pub(super) fn switch(upgrade: OnUpgrade, carried: Box<dyn Switched>) {
    // Every answer of a stream is made in its task.
    let _kept = SWITCHED.try_with(|switched| switched.borrow_mut().switch = Some((upgrade, carried)));
}

/// Runs the streams of one connection.
///
/// A response whose caller keeps the stream's window shut is not polled, so it learns neither of a
/// revocation nor of the time: its stream is reset from here, and no other.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    pub(super) tasks: TaskTracker,
    /// The request that was read last, until the task of its stream takes it.
    pub(super) opened: Arc<Mutex<Option<InFlight>>>,
    /// The grace of the process that ends is over.
    pub(super) cut: CancellationToken,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Boxed, because what `run` makes of it would hold its place several times over.
        let stream = Box::pin(stream);
        if SWITCHED.try_with(|_| ()).is_ok() {
            // What sends the bytes of a switched stream, which ends with it.
            let sending = Box::pin(async move {
                stream.await;
            });
            return SWITCHED.with(|switched| switched.borrow_mut().sending = Some(sending));
        }
        // The library calls the service right before, in the same poll of the connection.
        match self.opened.lock().take() {
            Some(in_flight) => self.tasks.spawn(run(stream, in_flight, self.cut.clone())),
            None => self.tasks.spawn(async move {
                stream.await;
            }),
        };
    }
}

async fn run<F: Future>(stream: Pin<Box<F>>, in_flight: InFlight, cut: CancellationToken) {
    let switched = {
        let mut driven = pin!(SWITCHED.scope(RefCell::default(), drive(stream, &in_flight)));
        driven.as_mut().await;
        driven.take_value()
    };
    let (rest, write) = (in_flight.take_rest(), in_flight.write_timeout());
    let timer = in_flight.timer();
    // The request is over, and its place free, unless it goes on behind a switch.
    drop(in_flight);
    if let Some(switched) = switched {
        switched.into_inner().serve(write, &cut, &timer).await;
    }
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

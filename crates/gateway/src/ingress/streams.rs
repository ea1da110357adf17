//! The streams of HTTP/2 connections, each a task under the supervisor's eye.

use std::sync::Arc;

use admission::ports::Watch;
use tokio::sync::SetOnce;
use tokio_util::task::TaskTracker;

tokio::task_local! {
    /// What the response on this stream rests on, once there is one.
    static AUTHORITY: Arc<SetOnce<Arc<dyn Watch>>>;
}

/// Runs streams.
///
/// A response whose client keeps the stream's window shut is not polled, and so does not learn that
/// its authority was revoked: then its stream is reset from here.
#[derive(Clone)]
pub(super) struct Streams(pub(super) TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let authority: Arc<SetOnce<Arc<dyn Watch>>> = Arc::default();
        let slot = Arc::clone(&authority);
        let revoked = async move { authority.wait().await.revoked().await };
        let watched = async move {
            // In this order: a response that is polled ends by itself, with its own words.
            tokio::select! {
                biased;
                _ = stream => {}
                () = revoked => {}
            }
        };
        self.0.spawn(AUTHORITY.scope(slot, watched));
    }
}

/// The response on the present stream rests on this.
pub(super) fn rests_on(watch: &Arc<dyn Watch>) {
    // A stream has one response, and every response of a multiplexed connection has a stream.
    let _outside = AUTHORITY.try_with(|authority| authority.set(Arc::clone(watch)).is_ok());
}

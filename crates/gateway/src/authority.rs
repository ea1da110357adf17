//! Work bound to the authority that it rests on.
//!
//! Every wait that may outlast a revocation goes through here: the dispatch, both directions of the
//! body, a write that the caller does not take, an HTTP/2 stream that nobody polls.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use admission::ports::{BoxFuture, Watch, WatchState};

/// The authority behind one request, as one waiter sees it. Each waiter has a clone of its own.
pub struct Authority {
    watch: Arc<dyn Watch>,
    /// Armed by the first wait.
    revoked: Option<BoxFuture<'static, ()>>,
}

/// The authority was revoked before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authority revoked")]
pub struct Revoked;

impl Authority {
    /// The authority that this watch was registered for.
    #[must_use]
    pub fn new(watch: Arc<dyn Watch>) -> Self {
        Self { watch, revoked: None }
    }

    /// Whether it was revoked, without waiting.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.watch.poll_now() == WatchState::Revoked
    }

    /// Completes once it is revoked; wakes the task when that happens.
    pub fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_revoked() {
            return Poll::Ready(());
        }
        let watch = &self.watch;
        self.revoked
            .get_or_insert_with(|| watch.revoked())
            .as_mut()
            .poll(cx)
    }

    /// Does the work unless, or until, the authority is revoked. A revocation is looked for before
    /// the work goes on: what was revoked since the gates looked does not begin.
    ///
    /// # Errors
    /// [`Revoked`]; the work is dropped.
    pub async fn bind<F: Future>(&mut self, work: F) -> Result<F::Output, Revoked> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match self.poll_revoked(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Revoked)),
            Poll::Pending => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }
}

impl Clone for Authority {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.watch))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("is_revoked", &self.is_revoked())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    struct Anchor(CancellationToken);

    impl Watch for Anchor {
        fn revoked(&self) -> BoxFuture<'static, ()> {
            Box::pin(self.0.clone().cancelled_owned())
        }

        fn poll_now(&self) -> WatchState {
            match self.0.is_cancelled() {
                true => WatchState::Revoked,
                false => WatchState::Quiet,
            }
        }
    }

    #[tokio::test]
    async fn work_ends_with_its_result_or_with_the_revocation() {
        let anchor = CancellationToken::new();
        let mut authority = Authority::new(Arc::new(Anchor(anchor.clone())));
        assert_eq!(authority.bind(async { 1 }).await, Ok(1));

        let mut other = authority.clone();
        let cut = async { other.bind(std::future::pending::<()>()).await };
        let revoke = async { anchor.cancel() };
        assert_eq!(tokio::join!(cut, revoke).0, Err(Revoked));
    }

    #[tokio::test]
    async fn work_that_was_revoked_before_it_began_does_not_begin() {
        let anchor = CancellationToken::new();
        anchor.cancel();
        let mut authority = Authority::new(Arc::new(Anchor(anchor)));
        let mut begun = false;
        let outcome = authority.bind(async { begun = true }).await;
        assert_eq!((outcome, begun), (Err(Revoked), false));
    }
}

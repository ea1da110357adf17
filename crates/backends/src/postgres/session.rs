//! One connection, driven by whoever uses it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Cause;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Notification};

use super::cause;
use crate::pause::within;

/// What the server says outside of answers, and the end of the connection.
type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// One connection. It moves only inside [`Session::run`] and [`Session::notified`]; dropping it
/// closes it.
pub(crate) struct Session {
    client: Client,
    messages: Messages,
    _counted: Counted,
}

/// One connection in the count of those that are open.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// `open` counts the connection for as long as it lives.
    pub(super) fn new<S, T>(client: Client, mut connection: Connection<S, T>, open: &Arc<AtomicU64>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        open.fetch_add(1, Ordering::Relaxed);
        Self {
            client,
            messages: Box::pin(messages),
            _counted: Counted(Arc::clone(open)),
        }
    }

    /// Whether the server has closed it, as far as can be seen without waiting.
    pub(crate) fn closed(&mut self) -> bool {
        loop {
            match self.messages.next().now_or_never() {
                Some(Some(Ok(_))) => {}
                Some(_) => return true,
                None => return false,
            }
        }
    }

    /// Does some work on the connection. After an error the session should be dropped: what the server
    /// still does for it is not known.
    pub(crate) async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&Client) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        let Self { client, messages, .. } = self;
        let end = async {
            loop {
                if let Err(end) = next(messages).await {
                    return end;
                }
            }
        };
        let bounded = async {
            tokio::select! {
                done = work(client) => done,
                end = end => Err(end),
            }
        };
        within("postgres", limit, bounded).await
    }

    /// Waits for the next notification, without a deadline.
    pub(crate) async fn notified(&mut self) -> Result<Notification, Cause> {
        loop {
            if let AsyncMessage::Notification(notification) = next(&mut self.messages).await? {
                return Ok(notification);
            }
        }
    }
}

/// The next message, or the end of the connection.
async fn next(messages: &mut Messages) -> Result<AsyncMessage, Cause> {
    match messages.next().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(cause("connection", &error)),
        None => Err(Cause::new("postgres: the server closed the connection")),
    }
}

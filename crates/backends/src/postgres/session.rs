//! One connection, driven by whoever uses it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use admission::ports::Cause;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection, Error};

use super::cause;

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

    /// Whether the server has closed it, as far as could be seen without waiting.
    pub(crate) async fn closed(&mut self) -> bool {
        poll_fn(|context| {
            loop {
                match self.messages.poll_next_unpin(context) {
                    std::task::Poll::Ready(Some(Ok(_))) => {}
                    std::task::Poll::Ready(_) => return std::task::Poll::Ready(true),
                    std::task::Poll::Pending => return std::task::Poll::Ready(false),
                }
            }
        })
        .await
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
                match messages.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return cause("connection", &error),
                    None => return Cause::new("postgres: the server closed the connection"),
                }
            }
        };
        let bounded = async {
            tokio::select! {
                done = work(client) => done,
                end = end => Err(end),
            }
        };
        match timeout(limit, bounded).await {
            Ok(done) => done,
            Err(_) => Err(Cause::new(format!("postgres: no answer within {limit:?}"))),
        }
    }

    /// Waits for the next notification, without a deadline.
    pub(crate) async fn notified(&mut self) -> Result<(), Cause> {
        loop {
            match self.messages.next().await {
                Some(Ok(AsyncMessage::Notification(_))) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(cause("connection", &error)),
                None => return Err(Cause::new("postgres: the server closed the connection")),
            }
        }
    }
}

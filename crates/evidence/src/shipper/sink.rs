//! The port to the audit stream.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

/// A future that is allocated, so that a port can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One event on its way to the stream. Sent again, it has the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// The event's id, a UUID.
    pub id: String,
    /// The event's JSON text.
    pub data: Bytes,
    /// The signature of `data`; absent when there is no key.
    pub sig: Option<String>,
}

/// The stream did not take the batch, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It could not.
    #[error("audit stream: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// It holds as many entries as it may, or more.
    #[error(
        "the audit stream holds {length} entries, and AUDIT_STREAM_MAX_LEN is {bound}: shipping goes on when fewer are left; \
         see to the audit service, and trim what it has acknowledged"
    )]
    Full {
        /// How many it holds.
        length: u64,
        /// How many it may hold.
        bound: u64,
    },
}

impl SinkError {
    /// Wraps the cause, which is logged.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// The audit stream.
pub trait StreamSink: Send + Sync {
    /// Appends events in their order and says how many of them, counted from the front, the stream now
    /// holds. A batch has at most 256 events and at most 768 KiB. What is not accepted is offered again, so
    /// an event that was taken without the answer being heard comes a second time.
    ///
    /// # Errors
    /// [`SinkError`] when none can be said to have been accepted.
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>>;
}

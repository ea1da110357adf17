//! Checkpoints of audit events, sent to a server outside of the gateway's stores (`AUDIT_ANCHOR_URL`).
//!
//! What the audit stream took is sent on, each in a request of its own. Nobody waits for it: not the requests, not the
//! shipping of events, and not the readiness of the process.

mod post;
mod queue;
mod run;

use std::sync::Arc;

use admission::ports::{Clock, Resolver};
use evidence::{BoxFuture, Shipment, SinkError, StreamSink, checkpoint_place};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::component::{Component, Samples, Stage};
use crate::samples;
use crate::tls::{TlsClient, TlsError};
use post::Post;
use queue::{Checkpoint, Queue};
use run::Sender;

pub use crate::endpoint::Transport;

/// Where the anchor is and how it is spoken to. Path and query of the URL may be secrets, so there is no `Debug`.
pub struct AnchorConfig {
    /// `AUDIT_ANCHOR_URL`, without user info and fragment.
    pub url: Url,
    /// How the connection must be protected.
    pub transport: Transport,
    /// How TLS is spoken, over HTTP/1.1.
    pub tls: TlsClient,
}

/// Why nothing can be sent to the anchor.
#[derive(Debug, thiserror::Error)]
pub enum AnchorSetupError {
    /// The address is none that can be called.
    #[error("AUDIT_ANCHOR_URL: {0}")]
    Url(&'static str),
    /// TLS cannot be set up.
    #[error("AUDIT_ANCHOR_URL: {0}")]
    Tls(#[from] TlsError),
}

/// The audit stream, whose checkpoints are also sent to the anchor. What is shipped must be shipped to this port, which is
/// dropped when nothing more comes: then its task ends.
///
/// # Errors
/// [`AnchorSetupError`].
pub fn component(
    config: &AnchorConfig,
    stream: Arc<dyn StreamSink>,
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
) -> Result<Component<Arc<dyn StreamSink>>, AnchorSetupError> {
    let post = Post::new(config, resolver, Arc::clone(&clock), tracker)?;
    let queue = Arc::new(Queue::new(clock));
    let closed = CancellationToken::new();
    let sender = Sender::new(post, Arc::clone(&queue), closed.clone());
    let measured = Arc::clone(&queue);
    let sink: Arc<dyn StreamSink> = Arc::new(AnchoredStream {
        stream,
        queue,
        _open: closed.drop_guard(),
    });
    Ok(Component::new(sink)
        .figures(move |out| measured.stats().samples(out))
        .task("evidence anchor", Stage::Delivery, |stop| sender.run(stop)))
}

/// What became of checkpoints so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnchorStats {
    /// Checkpoints that the anchor took.
    pub sent: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Checkpoints for which there was no room.
    pub dropped: u64,
    /// Checkpoints that wait.
    pub waiting: usize,
}

impl AnchorStats {
    /// Writes the figures.
    pub fn samples(&self, out: &mut dyn Samples) {
        let Self {
            sent,
            failed,
            dropped,
            waiting,
        } = *self;
        out.section("Audit evidence");
        samples! { out,
            counter "caracal_gateway_audit_anchor_sent_total", "Checkpoints that the anchor (AUDIT_ANCHOR_URL) took", sent;
            counter "caracal_gateway_audit_anchor_errors_total", "Tries to send a checkpoint to the anchor that failed", failed;
            counter "caracal_gateway_audit_anchor_dropped_total", "Checkpoints that were not sent to the anchor because too many of other processes waited", dropped;
            gauge "caracal_gateway_audit_anchor_waiting", "Checkpoints that wait to be sent to the anchor: of each process the newest", waiting as u64;
        }
    }
}

struct AnchoredStream {
    stream: Arc<dyn StreamSink>,
    queue: Arc<Queue>,
    /// Tells the task when nothing more comes.
    _open: DropGuard,
}

impl StreamSink for AnchoredStream {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        Box::pin(async move {
            let taken = self.stream.append(batch).await?;
            for shipment in batch.iter().take(taken) {
                if let Some(place) = checkpoint_place(&shipment.data) {
                    let data = shipment.data.clone();
                    self.queue.add(Checkpoint { place, data });
                }
            }
            Ok(taken)
        })
    }
}

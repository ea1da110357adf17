//! What the upstream received, and how busy it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::record::{Recorded, Records};

/// How busy the upstream was and is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Requests whose head arrived.
    pub requests: u64,
    /// Requests whose answer is not finished; one that the peer gave up counts as finished.
    pub in_flight: u64,
}

/// A handle on the echo upstream; clones share it.
///
/// Answers by path: `/sse?n=&ms=` (endless without `n`), `/slow?ms=`, `/chunked?n=&size=`,
/// `/bytes?n=`, `/status/<code>`, `/trailers`, `/redirect?to=`, `/early` (answers without
/// reading the body), `/hang` (never answers), `/close?n=` (breaks off in the middle),
/// `/headers?<name>=<value>`, `/mirror` (sends the body back as it comes). Any other path
/// answers with JSON of what arrived: `method`, `target`, `headers` in order with their
/// spelling (bytes as ISO 8859-1), `body_len`, `body_sha256` and a short UTF-8 `body`.
#[derive(Clone)]
pub struct Upstream(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) counts: watch::Sender<UpstreamCounts>,
    records: Mutex<Records>,
}

impl Upstream {
    pub(crate) fn new(recorded_requests: usize) -> Self {
        let records = Mutex::new(Records::new(recorded_requests));
        Self(Arc::new(Inner {
            counts: watch::Sender::default(),
            records,
        }))
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> UpstreamCounts {
        *self.0.counts.borrow()
    }

    /// Waits until the counts are as wanted; `None` when they are not within the time.
    pub async fn wait_for(
        &self,
        within: Duration,
        wanted: impl FnMut(&UpstreamCounts) -> bool,
    ) -> Option<UpstreamCounts> {
        let mut counts = self.0.counts.subscribe();
        let reached = tokio::time::timeout(within, counts.wait_for(wanted)).await;
        reached.ok()?.ok().map(|counts| *counts)
    }

    /// The last requests, oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.records().all()
    }

    /// The last request.
    #[must_use]
    pub fn last(&self) -> Option<Recorded> {
        self.records().last()
    }

    pub(super) fn records(&self) -> MutexGuard<'_, Records> {
        self.0.records.lock()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

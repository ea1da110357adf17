//! One way from the spool to the stream.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::batch::Batch;
use super::sink::{Shipment, SinkError, StreamSink};
use crate::chain::Chain;
use crate::signature::AuditKey;
use crate::spool::{Inner, Segment, Source, Unread, Whose, add, blocking};

/// The first and the longest pause after the stream did not take events. Short, because trying costs next to nothing, and
/// the spool only fills until it works.
const STREAM_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));

/// The first and the longest pause after the disk did not give them.
pub(super) const DISK_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long the stream may take for a batch.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to read on.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) source: Source,
    pub(super) segment: Segment,
    pub(super) from: u64,
    pub(super) chain: Option<Chain>,
    pub(super) rewritten: Arc<[Range<u64>]>,
}

/// Takes batches from the spool to the stream.
#[derive(Debug)]
pub(super) struct Delivery {
    inner: Arc<Inner>,
    key: Option<AuditKey>,
    whose: Whose,
    said: Said,
}

/// What the log says of the stream by now.
#[derive(Debug, Default)]
struct Said {
    /// That it does not take events, and whether because it is full.
    full: Option<bool>,
    /// This batch met with it.
    in_this_batch: bool,
}

impl Said {
    /// A try failed: whether that is news.
    fn failed(&mut self, full: bool) -> bool {
        self.in_this_batch = true;
        self.full.replace(full) != Some(full)
    }

    /// A batch is through: whether that is news. A stream that hovers at its bound is full all the while.
    fn is_through(&mut self) -> bool {
        let hovers = std::mem::take(&mut self.in_this_batch) && self.full == Some(true);
        !hovers && self.full.take().is_some()
    }
}

impl Delivery {
    pub(super) fn new(inner: Arc<Inner>, key: Option<AuditKey>, whose: Whose) -> Self {
        Self {
            inner,
            key,
            whose,
            said: Said::default(),
        }
    }

    /// What waits is taken further now.
    pub(super) fn goes_on(&self) {
        self.inner
            .counters
            .shipping_since(self.whose, Some(self.inner.now()));
    }

    /// Nothing waits, or not for the stream.
    pub(super) fn is_done(&self) {
        self.inner.counters.shipping_since(self.whose, None);
    }

    /// Reads a batch; one that ends there where the segment is given up. None while it cannot be read yet.
    pub(super) async fn read(
        &self,
        stretch: &Stretch,
        unread: &mut Unread,
        others: impl FnOnce() -> Vec<(Segment, Source)>,
    ) -> Option<Batch> {
        let (base, key, wanted) = (stretch.segment.base, self.key.clone(), stretch.clone());
        let read = blocking(move || {
            let Stretch {
                source,
                segment,
                from,
                chain,
                rewritten,
            } = wanted;
            Batch::read(&source, &segment, from, key.as_ref(), chain, &rewritten)
        });
        let error = match read.await {
            Ok(batch) => {
                unread.reads(base);
                return Some(batch);
            }
            Err(error) => error,
        };
        tracing::error!(%error, segment = base, "the evidence spool cannot be read");
        let (inner, others, mut tried) = (Arc::clone(&self.inner), others(), std::mem::take(unread));
        let judged = blocking(move || {
            let is_lost = inner.gives_up(&mut tried, base, &error, &others);
            Ok((is_lost, tried))
        });
        let (is_lost, tried) = judged.await.unwrap_or_default();
        *unread = tried;
        is_lost.then(|| {
            unread.reads(base);
            Batch::unreadable(stretch.from, stretch.chain.clone())
        })
    }

    /// Sends until the stream has taken everything.
    pub(super) async fn send(&mut self, sink: &dyn StreamSink, mut rest: &[Shipment]) {
        let mut pause = STREAM_PAUSE.0;
        while !rest.is_empty() {
            let error = match timeout(APPEND_TIMEOUT, sink.append(rest)).await {
                Ok(Ok(taken)) if taken > 0 => {
                    self.inner.counters.stream_is_full(false);
                    add(&self.inner.counters.drained, taken.min(rest.len()) as u64);
                    rest = rest.get(taken..).unwrap_or_default();
                    pause = STREAM_PAUSE.0;
                    self.goes_on();
                    continue;
                }
                Ok(Ok(_)) => SinkError::new("nothing was taken"),
                Ok(Err(error)) => error,
                Err(_) => SinkError::new(format!("no answer within {} s", APPEND_TIMEOUT.as_secs())),
            };
            let full = matches!(error, SinkError::Full { .. });
            self.inner.counters.stream_is_full(full);
            add(&self.inner.counters.sink_errors, u64::from(!full));
            if self.said.failed(full) {
                tracing::warn!(cause = %error, "the audit stream does not take events; they wait in the spool");
            }
            pause = back_off(pause, STREAM_PAUSE.1).await;
        }
        if self.said.is_through() {
            tracing::info!("the audit stream takes events again");
        }
    }
}

/// Waits, and says how long to wait the next time.
pub(super) async fn back_off(pause: Duration, longest: Duration) -> Duration {
    sleep(pause).await;
    (pause * 2).min(longest)
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn a_stream_that_hovers_at_its_bound_is_told_of_once() {
        let mut said = Said::default();
        assert!(!said.is_through());
        for batch in 0..3 {
            assert_eq!(said.failed(true), batch == 0);
            assert!(!said.is_through());
        }
        assert!(said.is_through(), "one that had not to wait");
        assert!(said.failed(false) && !said.failed(false) && said.is_through());
    }
}

//! The background task that empties the spool.

use std::collections::VecDeque;
use std::future::Future;
use std::io::ErrorKind::{NotFound, UnexpectedEof};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::batch::Batch;
use super::sink::{Shipment, StreamSink};
use crate::signature::AuditKey;
use crate::spool::{Inner, Orphan, Segment, Source, Spool, add, adopt, blocking, flush};

/// The first and the longest pause after the stream did not take events. Short, because trying costs next to nothing, and
/// the spool only fills until it works.
const STREAM_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));

/// The first and the longest pause after the disk did not give them.
const DISK_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long the stream may take for a batch.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look for what processes that died meanwhile left behind.
const RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// How long shipping may go on after the shutdown signal.
const FINISH_TIMEOUT: Duration = Duration::from_secs(4);

/// Ships finished and durable events, in the order in which they were recorded, and deletes what is shipped.
#[derive(Debug)]
pub struct Shipper {
    inner: Arc<Inner>,
    key: Option<AuditKey>,
    orphans: VecDeque<Orphan>,
    /// Adopted directories whose files cannot be deleted; held, so that they are not shipped again and again.
    stuck: Vec<Orphan>,
}

impl Shipper {
    /// Ships what is in this spool, signed with the key if there is one.
    #[must_use]
    pub fn new(spool: &Spool, key: Option<AuditKey>) -> Self {
        Self {
            inner: Arc::clone(&spool.inner),
            key,
            orphans: VecDeque::new(),
            stuck: Vec::new(),
        }
    }

    /// Runs until `shutdown` resolves: first ships what dead processes left, then what this one records.
    /// After an outage of the stream it goes on by itself. At the end it ships what is left, for at most four
    /// seconds; what then remains is on disk for the next process. So `shutdown` should resolve when the last
    /// request has ended: the spool is removed once it is empty, and takes no more.
    pub async fn run(mut self, sink: Arc<dyn StreamSink>, shutdown: impl Future<Output = ()> + Send) {
        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.serve(&*sink) => {}
        }
        if timeout(FINISH_TIMEOUT, self.finish(&*sink)).await.is_err() {
            let waiting = self.inner.stats().waiting;
            tracing::warn!(waiting, "events stay in the spool for the next start");
        }
    }

    async fn serve(&mut self, sink: &dyn StreamSink) {
        let mut durable = self.inner.durable();
        loop {
            self.adopt().await;
            self.ship_orphans(sink).await;
            let mut rescan = pin!(sleep(RESCAN_INTERVAL));
            loop {
                durable.borrow_and_update();
                self.ship_own(sink).await;
                tokio::select! {
                    _ = durable.changed() => {}
                    () = &mut rescan => break,
                }
            }
        }
    }

    async fn finish(&mut self, sink: &dyn StreamSink) {
        flush(&self.inner).await;
        self.ship_own(sink).await;
        self.ship_orphans(sink).await;
        let inner = Arc::clone(&self.inner);
        match blocking(move || inner.close()).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("requests are still under way; their evidence stays in the spool"),
            Err(error) => tracing::warn!(%error, "the empty spool cannot be removed"),
        }
    }

    async fn ship_own(&self, sink: &dyn StreamSink) {
        while let Some((segment, from)) = self.inner.with_log(|log| log.unshipped()) {
            let base = segment.base;
            let source = self.inner.with_log(|log| log.source(base));
            self.goes_on();
            let batch = self.read(source, segment, from).await;
            self.send(sink, &batch.shipments).await;
            let (events, now) = (batch.shipments.len() as u64, self.inner.now());
            self.inner
                .with_log(|log| log.ship(base, batch.until, events, batch.last, now));
            if batch.damaged {
                match self.inner.with_log(|log| log.abandon(base)) {
                    Ok(lost) => self.lost(base, lost),
                    Err(error) => return tracing::error!(%error, "a damaged segment cannot be left"),
                }
            }
            self.trim().await;
        }
        self.inner.counters.shipping_since(None);
    }

    /// What waits is taken further now.
    fn goes_on(&self) {
        self.inner.counters.shipping_since(Some(self.inner.now()));
    }

    async fn trim(&self) {
        let inner = Arc::clone(&self.inner);
        if let Err(error) = blocking(move || inner.trim()).await {
            tracing::error!(%error, "shipped evidence cannot be deleted");
        }
    }

    fn lost(&self, base: u64, events: u64) {
        tracing::error!(
            segment = base,
            events,
            "a segment is damaged; what could not be read is kept aside"
        );
        add(&self.inner.counters.dropped, events);
    }

    async fn adopt(&mut self) {
        let inner = Arc::clone(&self.inner);
        match blocking(move || adopt(&inner)).await {
            Ok(orphans) => self.orphans.extend(orphans),
            Err(error) => tracing::error!(%error, "the spool directory cannot be searched"),
        }
    }

    async fn ship_orphans(&mut self, sink: &dyn StreamSink) {
        while let Some(orphan) = self.orphans.front() {
            let Some((segment, from)) = orphan.unshipped() else {
                self.forget_orphan();
                continue;
            };
            let source = orphan.source(segment.base);
            self.goes_on();
            let batch = self.read(source, segment, from).await;
            self.inner.counters.adopted_since(batch.first);
            self.send(sink, &batch.shipments).await;
            let Some(orphan) = self.orphans.front_mut() else {
                return;
            };
            let trimmed = orphan.ship(batch.until, batch.damaged, &self.inner.counters);
            if let Err(error) = trimmed {
                let path = orphan.claim.path().display().to_string();
                tracing::error!(path, %error, "shipped evidence cannot be deleted");
                self.stuck.extend(self.orphans.pop_front());
            }
        }
        self.inner.counters.adopted_since(None);
        self.inner.counters.shipping_since(None);
    }

    fn forget_orphan(&mut self) {
        if let Some(mut orphan) = self.orphans.pop_front()
            && let Err(error) = orphan.remove(&self.inner.counters)
        {
            let path = orphan.claim.path().display().to_string();
            tracing::error!(path, %error, "an empty spool cannot be removed");
            self.stuck.push(orphan);
        }
    }

    /// Reads a batch, trying again for as long as the disk fails.
    async fn read(&self, source: Source, segment: Segment, from: u64) -> Batch {
        let mut pause = DISK_PAUSE.0;
        loop {
            let (source, key) = (source.clone(), self.key.clone());
            match blocking(move || Batch::read(&source, &segment, from, key.as_ref())).await {
                Ok(batch) => return batch,
                // The file is gone, or shorter than it was: waiting does not help.
                Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => {
                    return Batch::unreadable(from);
                }
                Err(error) => tracing::error!(%error, "the evidence spool cannot be read"),
            }
            pause = back_off(pause, DISK_PAUSE.1).await;
        }
    }

    /// Sends until the stream has taken everything.
    async fn send(&self, sink: &dyn StreamSink, mut rest: &[Shipment]) {
        let mut pause = STREAM_PAUSE.0;
        let mut failed = false;
        while !rest.is_empty() {
            let cause = match timeout(APPEND_TIMEOUT, sink.append(rest)).await {
                Ok(Ok(taken)) if taken > 0 => {
                    add(&self.inner.counters.drained, taken.min(rest.len()) as u64);
                    rest = rest.get(taken..).unwrap_or_default();
                    pause = STREAM_PAUSE.0;
                    self.goes_on();
                    continue;
                }
                Ok(Ok(_)) => "nothing was taken".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", APPEND_TIMEOUT.as_secs()),
            };
            add(&self.inner.counters.sink_errors, 1);
            if !failed {
                tracing::warn!(%cause, "the audit stream does not take events; they wait in the spool");
            }
            failed = true;
            pause = back_off(pause, STREAM_PAUSE.1).await;
        }
        if failed {
            tracing::info!("the audit stream takes events again");
        }
    }
}

/// Waits, and says how long to wait the next time.
async fn back_off(pause: Duration, longest: Duration) -> Duration {
    sleep(pause).await;
    (pause * 2).min(longest)
}

//! The background task that empties the spool.

use std::collections::VecDeque;
use std::future::Future;
use std::io::ErrorKind::{NotFound, UnexpectedEof};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::batch::Batch;
use super::sink::{Shipment, SinkError, StreamSink};
use crate::chain::Chain;
use crate::signature::AuditKey;
use crate::spool::{
    HEADER, Inner, Orphan, Segment, Source, Spool, add, adopt, blocking, flush, is_of_the_file, read,
};

/// The first and the longest pause after the stream did not take events. Short, because trying costs next to nothing, and
/// the spool only fills until it works.
const STREAM_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));

/// The first and the longest pause after the disk did not give them.
const DISK_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often a segment that cannot be read is tried, over one and a half seconds, before it is set aside.
const MAX_READS: u32 = 5;

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

impl Shipper {
    /// Ships what is in this spool, signed with the key if there is one.
    #[must_use]
    pub fn new(spool: &Spool, key: Option<AuditKey>) -> Self {
        Self {
            inner: Arc::clone(&spool.inner),
            key,
            orphans: VecDeque::new(),
            stuck: Vec::new(),
            said: Said::default(),
        }
    }

    /// Runs until `shutdown` resolves: first ships what dead processes left, then what this one records.
    /// After an outage of the stream it goes on by itself. At the end it ships what is left, for at most four
    /// seconds; what then remains is on disk for the next process. So `shutdown` should resolve when the last
    /// request and the [`Flusher`](crate::Flusher) have ended: the spool is removed once it is empty, and takes no more.
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
        // First what is durable already: where the disk hangs, the flush does not end.
        self.ship_own(sink).await;
        flush(&self.inner).await;
        self.ship_own(sink).await;
        self.ship_orphans(sink).await;
        if self.inner.conclude() {
            flush(&self.inner).await;
            self.ship_own(sink).await;
        }
        let inner = Arc::clone(&self.inner);
        match blocking(move || inner.close()).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("requests are still under way; their evidence stays in the spool"),
            Err(error) => tracing::warn!(%error, "the empty spool cannot be removed"),
        }
    }

    async fn ship_own(&mut self, sink: &dyn StreamSink) {
        while let Some((segment, from)) = self.inner.with_log(|log| log.unshipped()) {
            let base = segment.base;
            let (source, chain) = self
                .inner
                .with_log(|log| (log.source(base), log.chain().cloned()));
            self.goes_on();
            let others = || self.inner.with_log(|log| log.others(base));
            let batch = self
                .read(source, segment, from, (chain, Arc::default()), others)
                .await;
            self.send(sink, &batch.shipments).await;
            let (events, now) = (batch.shipments.len() as u64, self.inner.now());
            self.inner
                .with_log(|log| log.ship(base, batch.until, events, batch.last, batch.chain, now));
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
        let file = set_aside(base);
        tracing::error!(
            file,
            events,
            "a segment cannot be read to its end and is set aside"
        );
        add(&self.inner.counters.dropped, events);
    }

    async fn adopt(&mut self) {
        let mut pause = DISK_PAUSE.0;
        for tries in 1..=MAX_READS {
            let inner = Arc::clone(&self.inner);
            let unread = match blocking(move || adopt(&inner, tries == MAX_READS)).await {
                Ok((orphans, unread)) => {
                    self.orphans.extend(orphans);
                    unread
                }
                Err(error) => return tracing::error!(%error, "the spool directory cannot be searched"),
            };
            if !unread {
                break;
            }
            pause = back_off(pause, DISK_PAUSE.1).await;
        }
    }

    async fn ship_orphans(&mut self, sink: &dyn StreamSink) {
        while let Some(orphan) = self.orphans.front() {
            let Some((segment, from)) = orphan.unshipped() else {
                self.forget_orphan();
                continue;
            };
            let (source, chain) = (orphan.source(segment.base), orphan.chain());
            self.goes_on();
            let others = || orphan.others(segment.base);
            let joined = (chain, orphan.rewritten());
            let batch = self.read(source, segment, from, joined, others).await;
            self.inner.counters.adopted_since(batch.first);
            self.send(sink, &batch.shipments).await;
            let Some(orphan) = self.orphans.front_mut() else {
                return;
            };
            if batch.damaged {
                let (path, file) = (orphan.claim.path().display().to_string(), set_aside(segment.base));
                tracing::error!(path, file, "a segment cannot be read to its end and is set aside");
            }
            let trimmed = orphan.ship(
                batch.until,
                batch.damaged,
                batch.chain,
                batch.last,
                &self.inner.counters,
            );
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

    /// Reads a batch. A file that cannot be read is tried for a while; where this process lacks something, or may not, or
    /// the disk fails and none of the others can be read, until it is mended.
    async fn read(
        &self,
        source: Source,
        segment: Segment,
        from: u64,
        (chain, rewritten): (Option<Chain>, Arc<[Range<u64>]>),
        others: impl Fn() -> Vec<(Segment, Source)>,
    ) -> Batch {
        let mut pause = DISK_PAUSE.0;
        for reads in 1.. {
            let (source, key, joined, rewritten) = (
                source.clone(),
                self.key.clone(),
                chain.clone(),
                Arc::clone(&rewritten),
            );
            match blocking(move || Batch::read(&source, &segment, from, key.as_ref(), joined, &rewritten))
                .await
            {
                Ok(batch) => return batch,
                // The file is gone, or shorter than it was: waiting does not help.
                Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => {
                    return Batch::unreadable(from, chain);
                }
                Err(error) => {
                    tracing::error!(%error, "the evidence spool cannot be read");
                    if reads >= MAX_READS && is_of_the_file(&error) && self.is_volume_sound(others()).await {
                        break;
                    }
                }
            }
            pause = back_off(pause, DISK_PAUSE.1).await;
        }
        Batch::unreadable(from, chain)
    }

    /// Whether records can be written, and one of these segments read.
    async fn is_volume_sound(&self, segments: Vec<(Segment, Source)>) -> bool {
        let reads = move |(segment, source): &(Segment, Source)| {
            read(source, segment, segment.first(), HEADER).is_ok()
        };
        self.inner.with_log(|log| log.fault().is_none())
            && blocking(move || Ok(segments.iter().any(reads)))
                .await
                .unwrap_or(false)
    }

    /// Sends until the stream has taken everything.
    async fn send(&mut self, sink: &dyn StreamSink, mut rest: &[Shipment]) {
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

/// The name of a segment that is set aside, for someone to look at.
fn set_aside(base: u64) -> String {
    format!("{base:016x}.damaged")
}

/// Waits, and says how long to wait the next time.
async fn back_off(pause: Duration, longest: Duration) -> Duration {
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

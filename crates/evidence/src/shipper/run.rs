//! The background task that empties the spool.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::join;
use tokio::time::{sleep, timeout};

use super::adopted::Adopted;
use super::delivery::{DISK_PAUSE, Delivery, Stretch, back_off};
use super::sink::StreamSink;
use crate::signature::AuditKey;
use crate::spool::{Inner, Spool, Unread, Whose, add, blocking, flush, name_aside};

/// How soon to try again what nothing new is recorded behind.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long shipping may go on after the shutdown signal.
const FINISH_TIMEOUT: Duration = Duration::from_secs(4);

/// Ships finished and durable events, in the order in which they were recorded, and deletes what is shipped.
#[derive(Debug)]
pub struct Shipper {
    own: Own,
    adopted: Adopted,
}

impl Shipper {
    /// Ships what is in this spool, signed with the key if there is one.
    #[must_use]
    pub fn new(spool: &Spool, key: Option<AuditKey>) -> Self {
        let delivery = |whose| Delivery::new(Arc::clone(&spool.inner), key.clone(), whose);
        Self {
            own: Own {
                inner: Arc::clone(&spool.inner),
                delivery: delivery(Whose::Own),
                unread: Unread::default(),
            },
            adopted: Adopted::new(Arc::clone(&spool.inner), delivery(Whose::Adopted)),
        }
    }

    /// Runs until `shutdown` resolves: ships what this process records and, beside it, what dead ones left, so that
    /// neither waits for the other.
    /// After an outage of the stream it goes on by itself. At the end it ships what is left, for at most four
    /// seconds; what then remains is on disk for the next process. So `shutdown` should resolve when the last
    /// request and the [`Flusher`](crate::Flusher) have ended: the spool is removed once it is empty, and takes no more.
    pub async fn run(self, sink: Arc<dyn StreamSink>, shutdown: impl Future<Output = ()> + Send) {
        let Self { mut own, mut adopted } = self;
        tokio::select! {
            biased;
            () = shutdown => {}
            _ = async { join!(own.serve(&*sink), adopted.serve(&*sink)) } => {}
        }
        let end = async { join!(own.finish(&*sink), adopted.ship(&*sink)) };
        if timeout(FINISH_TIMEOUT, end).await.is_err() {
            let waiting = own.inner.stats().waiting;
            tracing::warn!(waiting, "events stay in the spool for the next start");
        }
    }
}

/// Ships what this process records.
#[derive(Debug)]
struct Own {
    inner: Arc<Inner>,
    delivery: Delivery,
    /// The segments that cannot be read now.
    unread: Unread,
}

impl Own {
    async fn serve(&mut self, sink: &dyn StreamSink) {
        let mut durable = self.inner.durable();
        loop {
            durable.borrow_and_update();
            self.ship(sink).await;
            tokio::select! {
                _ = durable.changed() => {}
                () = sleep(RETRY_INTERVAL) => {}
            }
        }
    }

    async fn finish(&mut self, sink: &dyn StreamSink) {
        // First what is durable already: where the disk hangs, the flush does not end.
        self.ship(sink).await;
        flush(&self.inner).await;
        self.ship(sink).await;
        if self.inner.conclude() {
            flush(&self.inner).await;
            self.ship(sink).await;
        }
        let inner = Arc::clone(&self.inner);
        match blocking(move || inner.close()).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("requests are still under way; their evidence stays in the spool"),
            Err(error) => tracing::warn!(%error, "the empty spool cannot be removed"),
        }
    }

    async fn ship(&mut self, sink: &dyn StreamSink) {
        let mut pause = DISK_PAUSE.0;
        while let Some((segment, from)) = self.inner.with_log(|log| log.unshipped()) {
            let base = segment.base;
            let (source, chain) = self
                .inner
                .with_log(|log| (log.source(base), log.chain().cloned()));
            self.delivery.goes_on();
            let stretch = Stretch {
                source,
                segment,
                from,
                chain,
                rewritten: Arc::default(),
            };
            let others = || self.inner.with_log(|log| log.others(Some(base)));
            let Some(batch) = self.delivery.read(&stretch, &mut self.unread, others).await else {
                pause = back_off(pause, DISK_PAUSE.1).await;
                continue;
            };
            pause = DISK_PAUSE.0;
            self.delivery.send(sink, &batch.shipments).await;
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
        self.delivery.is_done();
    }

    async fn trim(&self) {
        let inner = Arc::clone(&self.inner);
        if let Err(error) = blocking(move || inner.trim()).await {
            tracing::error!(%error, "shipped evidence cannot be deleted");
        }
    }

    fn lost(&self, base: u64, events: u64) {
        let file = name_aside(base);
        tracing::error!(
            file,
            events,
            "a segment cannot be read to its end and is set aside"
        );
        add(&self.inner.counters.dropped, events);
    }
}

//! What processes that died left behind, on its way to the stream.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::delivery::{DISK_PAUSE, Delivery, Stretch, back_off};
use super::sink::StreamSink;
use crate::spool::{Inner, Orphan, Unread, adopt, blocking, name_aside};

/// How often to look for what processes that died meanwhile left behind.
const RESCAN_INTERVAL: Duration = Duration::from_secs(30);

/// How often in a row to look at one with segments that cannot be read: until they are given up, if the volume is sound.
const MAX_LOOKS: u32 = 5;

/// Ships what dead processes left.
#[derive(Debug)]
pub(super) struct Adopted {
    inner: Arc<Inner>,
    delivery: Delivery,
    orphans: Vec<Orphan>,
    /// Those that are shipped and whose files cannot be deleted yet; held, so that they are not shipped again and again.
    stuck: Vec<Orphan>,
    /// The segments that cannot be read, of those that are not adopted for their sake.
    unread: HashMap<PathBuf, Unread>,
}

impl Adopted {
    pub(super) fn new(inner: Arc<Inner>, delivery: Delivery) -> Self {
        Self {
            inner,
            delivery,
            orphans: Vec::new(),
            stuck: Vec::new(),
            unread: HashMap::new(),
        }
    }

    pub(super) async fn serve(&mut self, sink: &dyn StreamSink) {
        loop {
            self.adopt().await;
            let rescan = Instant::now() + RESCAN_INTERVAL;
            let mut pause = DISK_PAUSE.0;
            while Instant::now() < rescan && !self.ship(sink).await {
                pause = back_off(pause, DISK_PAUSE.1).await;
            }
            sleep_until(rescan).await;
        }
    }

    async fn adopt(&mut self) {
        let mut pause = DISK_PAUSE.0;
        for _ in 0..MAX_LOOKS {
            let (inner, mut unread) = (Arc::clone(&self.inner), std::mem::take(&mut self.unread));
            let looked = blocking(move || Ok((adopt(&inner, &mut unread)?, unread)));
            match looked.await {
                Ok((orphans, unread)) => {
                    self.orphans.extend(orphans);
                    self.unread = unread;
                }
                Err(error) => return tracing::error!(%error, "the spool directory cannot be searched"),
            }
            if self.unread.is_empty() {
                break;
            }
            pause = back_off(pause, DISK_PAUSE.1).await;
        }
    }

    /// Ships what can be read. False where something cannot, yet. What could not be deleted is tried again.
    pub(super) async fn ship(&mut self, sink: &dyn StreamSink) -> bool {
        let counters = &self.inner.counters;
        self.stuck.retain_mut(|orphan| orphan.remove(counters).is_err());
        let mut at = 0;
        while let Some(orphan) = self.orphans.get_mut(at) {
            let (segment, from) = match orphan.next() {
                Ok(Some(next)) => next,
                Ok(None) => {
                    self.forget(at);
                    continue;
                }
                Err(error) => {
                    let path = orphan.claim.path().display().to_string();
                    tracing::error!(path, %error, "it cannot be kept that a segment was given up; what follows waits");
                    at += 1;
                    continue;
                }
            };
            let stretch = Stretch {
                source: orphan.source(segment.base),
                segment,
                from,
                chain: orphan.chain(),
                rewritten: orphan.rewritten(),
            };
            let mut unread = std::mem::take(&mut orphan.unread);
            let read = self.delivery.read(&stretch, &mut unread).await;
            orphan.unread = unread;
            let Some(batch) = read else {
                at += 1;
                continue;
            };
            self.inner.counters.adopted_since(batch.first);
            self.delivery.goes_on();
            self.delivery.send(sink, &batch.shipments).await;
            self.delivery.is_done();
            let path = orphan.claim.path().display().to_string();
            if batch.damaged {
                let file = name_aside(segment.base);
                tracing::error!(path, file, "a segment cannot be read to its end and is set aside");
            }
            let counters = &self.inner.counters;
            let trimmed = orphan.ship(batch.until, batch.damaged, batch.chain, batch.last, counters);
            let was_kept = std::mem::replace(&mut orphan.is_kept, trimmed.is_err());
            if let Err(error) = trimmed
                && !was_kept
            {
                tracing::error!(path, %error, "shipped evidence cannot be deleted yet");
            }
        }
        if self.orphans.is_empty() {
            self.inner.counters.adopted_since(None);
        }
        self.orphans.is_empty()
    }

    fn forget(&mut self, at: usize) {
        let mut orphan = self.orphans.remove(at);
        if let Err(error) = orphan.remove(&self.inner.counters) {
            let path = orphan.claim.path().display().to_string();
            tracing::error!(path, %error, "an empty spool cannot be removed");
            self.stuck.push(orphan);
        }
    }
}

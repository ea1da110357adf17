//! The audit stream in memory: the last events, to be read back.

use std::collections::VecDeque;
use std::sync::Arc;

use admission::mode::DevOnly;
use evidence::{BoxFuture, Shipment, SinkError, StreamSink};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How many events are kept; older ones make room.
const MAX_EVENTS: usize = 10_000;

/// The stream.
pub struct MemoryStream {
    events: Mutex<VecDeque<Shipment>>,
    /// How many events were appended so far.
    appended: watch::Sender<u64>,
}

impl MemoryStream {
    /// An empty stream.
    #[must_use]
    pub fn new(_proof: DevOnly) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            appended: watch::Sender::new(0),
        })
    }

    /// The events that are kept, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Shipment> {
        self.events.lock().iter().cloned().collect()
    }

    /// Waits until so many events were appended in all.
    pub async fn reached(&self, count: u64) {
        // The sender lives as long as this stream.
        let _ = self
            .appended
            .subscribe()
            .wait_for(|appended| *appended >= count)
            .await;
    }

    fn take(&self, batch: &[Shipment]) {
        let mut events = self.events.lock();
        for shipment in batch {
            if events.len() == MAX_EVENTS {
                events.pop_front();
            }
            events.push_back(shipment.clone());
        }
        drop(events);
        self.appended
            .send_modify(|appended| *appended += batch.len() as u64);
    }
}

impl StreamSink for MemoryStream {
    fn append<'a>(&'a self, batch: &'a [Shipment]) -> BoxFuture<'a, Result<usize, SinkError>> {
        self.take(batch);
        Box::pin(std::future::ready(Ok(batch.len())))
    }
}

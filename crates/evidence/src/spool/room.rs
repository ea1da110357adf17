//! The evidence of one request, from the promise of room to its outcome.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::config::Fsync;
use super::error::{NoRoom, SpoolError};
use super::inner::Inner;
use super::record::{self, HEADER, Kind, MAX_RECORD};
use super::stats::add;
use crate::event::{Outcome, Request, Template};

const FSYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// What one record may take.
const ONE: u64 = MAX_RECORD as u64;

/// Bytes that are promised and not written. Given back when dropped.
#[derive(Debug)]
struct Promise {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Promise {
    fn shrink(&mut self, bytes: u64) {
        self.inner.release(self.bytes.saturating_sub(bytes));
        self.bytes = bytes.min(self.bytes);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.inner.release(self.bytes);
    }
}

/// Room for the evidence of one request: for its intent and for its outcome. Dropped, it is free again.
#[derive(Debug)]
#[must_use = "a room that is dropped is given back"]
pub struct Room(Promise);

impl Room {
    pub(super) fn reserve(inner: &Arc<Inner>) -> Result<Self, NoRoom> {
        inner.reserve(2 * ONE)?;
        Ok(Self(Promise {
            inner: Arc::clone(inner),
            bytes: 2 * ONE,
        }))
    }

    /// Records that the request is about to be dispatched. Once this has returned, what happens to the request
    /// is on record even if this process is killed; until then no byte of it may go upstream.
    ///
    /// Waits only under [`Fsync::Always`]. If it fails or is dropped, the request counts as not dispatched and
    /// leaves no event.
    ///
    /// # Errors
    /// [`SpoolError::Write`], [`SpoolError::DuplicateId`], [`SpoolError::FsyncDeadline`].
    pub async fn intent(self, request: &Request<'_>) -> Result<Crossing, SpoolError> {
        let (mut crossing, end) = self.write(request)?;
        let inner = &crossing.promise.inner;
        if inner.fsync == Fsync::Always {
            let mut durable = inner.durable();
            let reached = durable.wait_for(|durable| *durable >= end);
            if !matches!(tokio::time::timeout(FSYNC_TIMEOUT, reached).await, Ok(Ok(_))) {
                return Err(SpoolError::FsyncDeadline);
            }
        }
        crossing.unfinished = Unfinished::Interrupted;
        Ok(crossing)
    }

    fn write(self, request: &Request<'_>) -> Result<(Crossing, u64), SpoolError> {
        let mut promise = self.0;
        let mut bytes = record::begin();
        let template = Template::write(&mut bytes, request);
        let intent = record::seal(&mut bytes, Kind::Intent, request.occurred_at, request.id);
        let end = promise.inner.with_log(|log| {
            if log.is_open(request.id) {
                return Err(SpoolError::DuplicateId);
            }
            log.append(&intent).map_err(SpoolError::Write)?;
            Ok(log.head())
        })?;
        promise.shrink(ONE);
        // Kept for as long as the crossing lasts.
        bytes.shrink_to_fit();
        let (id, unfinished) = (request.id, Unfinished::Cancelled);
        Ok((
            Crossing {
                promise,
                template,
                bytes,
                id,
                unfinished,
            },
            end,
        ))
    }
}

/// What to record when a crossing is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    /// It was never dispatched.
    Cancelled,
    /// It was dispatched, and nobody knows how it ended.
    Interrupted,
    /// The outcome is recorded.
    Nothing,
}

/// A request on its way upstream. Dropped without an outcome, it is recorded as `interrupted` at once.
#[derive(Debug)]
#[must_use = "a crossing that is dropped is recorded as interrupted"]
pub struct Crossing {
    promise: Promise,
    template: Template,
    /// The intent's record.
    bytes: Vec<u8>,
    id: Uuid,
    unfinished: Unfinished,
}

impl Crossing {
    /// Records how the request ended. The room for it was promised, so it cannot fail: what a failing disk
    /// does not take is kept in memory until it does.
    pub fn outcome(mut self, outcome: &Outcome) {
        self.unfinished = Unfinished::Nothing;
        let mut bytes = record::begin();
        self.template
            .complete(self.bytes.get(HEADER..).unwrap_or_default(), outcome, &mut bytes);
        self.settle(&mut bytes, Kind::Event);
    }

    /// The event's id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    fn settle(&self, bytes: &mut [u8], kind: Kind) {
        let inner = &self.promise.inner;
        let record = record::seal(bytes, kind, inner.now(), self.id);
        inner.with_log(|log| log.append_or_park(&record));
        add(&inner.counters.persisted, u64::from(kind == Kind::Event));
    }

    /// Ends as if the process had been killed: nothing more is written.
    #[cfg(test)]
    pub(crate) fn abandon(mut self) {
        self.unfinished = Unfinished::Nothing;
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.bytes);
        match self.unfinished {
            Unfinished::Nothing => {}
            Unfinished::Interrupted => self.settle(&mut bytes, Kind::Event),
            Unfinished::Cancelled => {
                bytes.truncate(HEADER);
                self.settle(&mut bytes, Kind::Cancel);
            }
        }
    }
}

//! The evidence of one request, from the promise of room to its outcome.

use std::io;
use std::mem;
use std::sync::Arc;

use uuid::Uuid;

use super::config::Fsync;
use super::error::{NoRoom, SpoolError};
use super::inner::Inner;
use super::record::{self, HEADER, Kind, MAX_RECORD};
use super::stats::add;
use crate::event::{MAX_OUTCOME_BYTES, Outcome, Request, Status, Template};

/// What one record may take.
const ONE: u64 = MAX_RECORD as u64;

/// What the records behind an intent may take: the mark of its dispatch and its outcome.
const REST: u64 = HEADER as u64 + ONE;

/// What all the records of a request may take.
pub(super) const ROOM: u64 = ONE + REST;

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

/// Room for the evidence of one request: for its intent, its dispatch and its outcome. Dropped, it is free again.
#[derive(Debug)]
#[must_use = "a room that is dropped is given back"]
pub struct Room(Promise);

impl Room {
    pub(super) fn reserve(inner: &Arc<Inner>) -> Result<Self, NoRoom> {
        inner.reserve(ROOM)?;
        Ok(Self(Promise {
            inner: Arc::clone(inner),
            bytes: ROOM,
        }))
    }

    /// Records that the request may be dispatched. Before [`Departure::mark`] no byte of it may go upstream.
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
            if !matches!(
                tokio::time::timeout(inner.fsync_timeout, reached).await,
                Ok(Ok(_))
            ) {
                return Err(SpoolError::FsyncDeadline);
            }
        }
        crossing.unfinished = Unfinished::Unknown;
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
        promise.shrink(2 * HEADER as u64 + (bytes.len() + MAX_OUTCOME_BYTES) as u64);
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
    /// It may have been dispatched, and nobody knows how it ended.
    Unknown,
    /// The outcome is recorded.
    Nothing,
}

/// A request on its way upstream. Dropped without an outcome, it is recorded at once as `interrupted`, or as
/// `not_dispatched` where its departure was not marked.
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
    /// What marks the departure of the request.
    #[must_use]
    pub fn departure(&self) -> Departure {
        Departure {
            inner: Arc::clone(&self.promise.inner),
            id: self.id,
        }
    }

    /// Records how the request ended. The room for it was promised, so it cannot fail: what a failing disk
    /// does not take is kept in memory until it does. From now on its departure cannot be marked, and one that would be
    /// `interrupted` but whose departure was not marked is `not_dispatched`.
    pub fn outcome(mut self, outcome: &Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: &Outcome) {
        self.unfinished = Unfinished::Nothing;
        let departed = || self.promise.inner.with_log(|log| log.bar(self.id));
        let outcome = &match outcome.status {
            Status::Interrupted if !departed() => Outcome {
                status: Status::NotDispatched,
                ..*outcome
            },
            _ => *outcome,
        };
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
        inner.with_log(|log| log.conclude(&record));
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
        match self.unfinished {
            Unfinished::Nothing => {}
            Unfinished::Unknown => self.end(&Outcome::new(Status::Interrupted)),
            Unfinished::Cancelled => {
                let mut bytes = mem::take(&mut self.bytes);
                bytes.truncate(HEADER);
                self.settle(&mut bytes, Kind::Cancel);
            }
        }
    }
}

/// Marks that bytes of a request are about to leave.
#[derive(Debug, Clone)]
pub struct Departure {
    inner: Arc<Inner>,
    id: Uuid,
}

impl Departure {
    /// To be called before the first byte of the request is written to the upstream's connection. Once this has returned,
    /// the request is known as dispatched even if this process is killed. A second time it does nothing.
    ///
    /// # Errors
    /// The mark cannot be written, or the outcome is on record: the request must not leave.
    pub fn mark(&self) -> io::Result<()> {
        let mut bytes = [0; HEADER];
        let mark = record::seal(&mut bytes, Kind::Dispatched, 0, self.id);
        self.inner.with_log(|log| log.depart(&mark))
    }
}

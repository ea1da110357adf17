//! The evidence of one request, from the promise of room to its outcome.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::config::Fsync;
use super::error::{NoRoom, SpoolError};
use super::inner::Inner;
use super::log::Log;
use super::record::{self, HEADER, Kind, MAX_RECORD, Record};
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

    /// Makes the intent of a request. It is held until the request departs, and written together with the mark of that, in
    /// one go; whoever has to wait for something before calls [`Departure::keep`]. Before [`Departure::mark`] no byte of the
    /// request may go upstream.
    ///
    /// Under [`Fsync::Always`] it is written at once, and waited for. If that fails or is dropped, the request counts as not
    /// dispatched and leaves no event.
    ///
    /// # Errors
    /// [`SpoolError::Write`], [`SpoolError::FsyncDeadline`].
    pub async fn intent(self, request: &Request<'_>) -> Result<Crossing, SpoolError> {
        let mut crossing = match self.0.inner.fsync {
            Fsync::Interval(_) => self.prepare(request, Kind::Dispatched),
            Fsync::Always => self.prepare(request, Kind::Intent).written().await?,
        };
        crossing.unfinished = Unfinished::Unknown;
        Ok(crossing)
    }

    fn prepare(self, request: &Request<'_>, kind: Kind) -> Crossing {
        let mut promise = self.0;
        let mut bytes = record::begin();
        let template = Template::write(&mut bytes, request);
        record::seal(&mut bytes, kind, request.occurred_at, request.id);
        // Kept for as long as the crossing lasts.
        bytes.shrink_to_fit();
        let intent = Intent {
            id: request.id,
            at: request.occurred_at,
            kind,
            bytes,
            held: AtomicBool::new(true),
        };
        promise.shrink(intent.room() + (2 * HEADER + intent.bytes.len() + MAX_OUTCOME_BYTES) as u64);
        // The intent gives its part back.
        promise.bytes = promise.bytes.saturating_sub(intent.room());
        Crossing {
            promise,
            template,
            intent: Arc::new(intent),
            unfinished: Unfinished::Nothing,
        }
    }
}

/// The intent of a request, on record or about to be.
#[derive(Debug)]
struct Intent {
    id: Uuid,
    at: i64,
    kind: Kind,
    /// Its record.
    bytes: Vec<u8>,
    /// It is not on record, and may get there: its room is promised. Changed by whoever has locked the log alone.
    held: AtomicBool,
}

impl Intent {
    /// What its record takes.
    fn room(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Puts it on record, or sees to it that it does not get there.
    fn change<R>(&self, inner: &Inner, work: impl FnOnce(&mut Log, &Self) -> R) -> R {
        let (result, was_held) = inner.with_log(|log| {
            let was_held = self.is_held();
            (work(log, self), was_held)
        });
        if was_held && !self.is_held() {
            inner.release(self.room());
        }
        result
    }

    /// Puts it on record as what it was sealed as.
    fn write(&self, log: &mut Log) -> io::Result<()> {
        self.put(log, &record::sealed(&self.bytes, self.kind, self.at, self.id))
    }

    /// Puts it on record as that of a request that has not left.
    fn write_unmarked(&self, log: &mut Log) -> io::Result<()> {
        let mut copy = Vec::new();
        let record = record::encode(&mut copy, Kind::Intent, self.at, self.id, self.payload());
        self.put(log, &record)
    }

    fn put(&self, log: &mut Log, record: &Record<'_>) -> io::Result<()> {
        log.append(record)?;
        self.let_go();
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// It is on record, or not to be put there any more.
    fn let_go(&self) {
        self.held.store(false, Ordering::Relaxed);
    }

    fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
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
    intent: Arc<Intent>,
    unfinished: Unfinished,
}

impl Crossing {
    /// Its intent is on record and durable.
    async fn written(mut self) -> Result<Self, SpoolError> {
        let inner = &self.promise.inner;
        let written = self.intent.change(inner, |log, intent| {
            intent.write(log)?;
            Ok(log.head())
        });
        let end = written.map_err(SpoolError::Write)?;
        self.unfinished = Unfinished::Cancelled;
        let mut durable = inner.durable();
        let reached = durable.wait_for(|durable| *durable >= end);
        match tokio::time::timeout(inner.fsync_timeout, reached).await {
            Ok(Ok(_)) => {}
            _ => return Err(SpoolError::FsyncDeadline),
        }
        Ok(self)
    }

    /// What marks the departure of the request.
    #[must_use]
    pub fn departure(&self) -> Departure {
        Departure {
            inner: Arc::clone(&self.promise.inner),
            intent: Arc::clone(&self.intent),
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
        let departed = || {
            let inner = &self.promise.inner;
            self.intent.change(inner, |log, intent| {
                intent.let_go();
                log.bar(intent.id)
            })
        };
        let outcome = &match outcome.status {
            Status::Interrupted if !departed() => Outcome {
                status: Status::NotDispatched,
                ..*outcome
            },
            _ => *outcome,
        };
        let mut bytes = record::begin();
        self.template.complete(self.intent.payload(), outcome, &mut bytes);
        self.settle(&mut bytes, Kind::Event);
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.intent.id
    }

    fn settle(&self, bytes: &mut [u8], kind: Kind) {
        let inner = &self.promise.inner;
        let record = record::seal(bytes, kind, inner.now(), self.intent.id);
        self.intent.change(inner, |log, intent| {
            intent.let_go();
            log.conclude(&record);
        });
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
            Unfinished::Nothing if self.intent.is_held() => {
                self.intent
                    .change(&self.promise.inner, |_, intent| intent.let_go());
            }
            Unfinished::Nothing => {}
            Unfinished::Unknown => self.end(&Outcome::new(Status::Interrupted)),
            Unfinished::Cancelled => self.settle(&mut [0; HEADER], Kind::Cancel),
        }
    }
}

/// Marks that bytes of a request are about to leave.
#[derive(Debug, Clone)]
pub struct Departure {
    inner: Arc<Inner>,
    intent: Arc<Intent>,
}

impl Departure {
    /// Puts a [held](Room::intent) intent on record: to be called before anything is waited for that comes before the
    /// departure. A second time, or where it is on record, it does nothing.
    ///
    /// # Errors
    /// It cannot be written: the request must not leave.
    pub fn keep(&self) -> io::Result<()> {
        if !self.intent.is_held() {
            return Ok(());
        }
        self.intent.change(&self.inner, |log, intent| {
            if intent.is_held() {
                intent.write_unmarked(log)
            } else {
                Ok(())
            }
        })
    }

    /// To be called before the first byte of the request is written to the upstream's connection. Once this has returned,
    /// the request is known as dispatched even if this process is killed. A second time it does nothing.
    ///
    /// # Errors
    /// The mark cannot be written, or the outcome is on record: the request must not leave.
    pub fn mark(&self) -> io::Result<()> {
        self.intent.change(&self.inner, |log, intent| {
            if intent.is_held() {
                return intent.write(log);
            }
            let mut bytes = [0; HEADER];
            log.depart(&record::seal(&mut bytes, Kind::Dispatched, 0, intent.id))
        })
    }
}

//! Refuses new requests early while the run queue is late: while tasks that could run do not get a thread to run on.
//!
//! A thread wakes a task again and again, and looks at how long that took or takes: what is woken from outside of the
//! runtime goes to the end of the queue that all its threads share, where tasks also go for which there is no room
//! elsewhere. Because the thread is no part of the runtime, it knows in time how late that is. What is refused follows
//! from that as in CoDel (RFC 8289): nothing while single looks are late, and a growing share once many in a row were
//! for an interval. A queue that is on time again ends it at once, and so does one that stays late whatever is refused: then
//! it is not the new requests that the CPU is wanted by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use admission::ports::Cause;
use admission::{Denial, Refused};
use backends::component::{Component, Stage};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::telemetry::Metrics;

/// Time between two looks at a queue that is on time.
const PERIOD: Duration = Duration::from_millis(50);
/// How long, and how often, every look must have been late until requests are refused. A pause of the machine is one look.
const INTERVAL: Duration = Duration::from_millis(500);
const LOOKS: u32 = 5;
/// The same for a queue that was late within the time before.
const INTERVAL_AGAIN: Duration = Duration::from_millis(100);
const LOOKS_AGAIN: u32 = 3;
const MEMORY: Duration = Duration::from_secs(5);
/// How long the greatest share is refused to a queue that stays late, and how long none is then.
const PATIENCE: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(300);
/// The first share that is refused, in 1/65,536.
const FIRST_SHARE: u16 = u16::MAX / 256 * 31;
/// How long until it is more by as much, so that what is refused has had time to help.
const STEP: Duration = Duration::from_millis(100);
/// The greatest share. What is admitted shows whether more can be.
const MAX_SHARE: u16 = 8 * FIRST_SHARE;

/// Decides what share of new requests is refused, from the delays that are seen. It reads no clock.
#[derive(Debug)]
pub struct Controller {
    limit: Duration,
    queue: Queue,
    /// When the queue was last found on time after requests had been refused, and their share.
    recovered: Option<(Duration, u16)>,
}

/// How the looks found the queue.
#[derive(Clone, Copy, Debug)]
enum Queue {
    OnTime,
    /// Late with every look since then, of which there were so many.
    Late {
        since: Duration,
        looks: u32,
    },
    /// This share is refused since then, or since the last look that was not late.
    Refusing {
        share: u16,
        since: Duration,
    },
    /// Late whatever is refused. Nothing is until then.
    Unhelped {
        until: Duration,
    },
}

impl Controller {
    /// A queue is late when it delays tasks for longer than `limit`, and on time again with half of that.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            queue: Queue::OnTime,
            recovered: None,
        }
    }

    /// Takes a look: at `now`, by a clock that never goes back, a task was delayed so long. Returns the share of
    /// requests to refuse from now on, in 1/65,536.
    pub fn look(&mut self, now: Duration, delay: Duration) -> u16 {
        let is_late = delay > self.limit;
        self.queue = match self.queue {
            Queue::OnTime if is_late => Queue::Late { since: now, looks: 1 },
            Queue::OnTime => Queue::OnTime,
            Queue::Late { since, looks } if is_late => self.refuse_or_wait(now, since, looks + 1),
            Queue::Late { .. } => Queue::OnTime,
            Queue::Refusing { share, .. } if delay <= self.limit / 2 => {
                self.recovered = Some((now, share));
                Queue::OnTime
            }
            // Not late, and not on time: it helps.
            Queue::Refusing { share, .. } if !is_late => Queue::Refusing { share, since: now },
            Queue::Refusing { share, since } => refuse_more(share, since, now),
            Queue::Unhelped { until } if is_late && now < until => self.queue,
            Queue::Unhelped { .. } => Queue::OnTime,
        };
        match self.queue {
            Queue::Refusing { share, .. } => share,
            Queue::OnTime | Queue::Late { .. } | Queue::Unhelped { .. } => 0,
        }
    }

    fn refuse_or_wait(&self, now: Duration, since: Duration, looks: u32) -> Queue {
        let recent = self
            .recovered
            .filter(|(at, _)| since.saturating_sub(*at) < MEMORY);
        let (share, interval, enough) = match recent {
            Some((_, share)) => (share / 2, INTERVAL_AGAIN, LOOKS_AGAIN),
            None => (0, INTERVAL, LOOKS),
        };
        if now.saturating_sub(since) < interval || looks < enough {
            return Queue::Late { since, looks };
        }
        Queue::Refusing {
            share: share.max(FIRST_SHARE),
            since: now,
        }
    }
}

/// What follows a late look while this share is refused.
fn refuse_more(share: u16, since: Duration, now: Duration) -> Queue {
    let enough = if share < MAX_SHARE { STEP } else { PATIENCE };
    if now.saturating_sub(since) < enough {
        return Queue::Refusing { share, since };
    }
    if share == MAX_SHARE {
        return Queue::Unhelped { until: now + REST };
    }
    Queue::Refusing {
        share: share.saturating_add(FIRST_SHARE).min(MAX_SHARE),
        since: now,
    }
}

/// The places of the requests lie so far apart: 65,536 by the golden ratio, which spreads them evenly and falls into step with no
/// caller's own order.
const STRIDE: u16 = 40_503;

/// Whether new requests are taken on.
#[derive(Debug)]
pub struct Overload {
    /// `OVERLOAD_DELAY`; `None` takes on all of them.
    limit: Option<Duration>,
    /// How late the task was that was woken last, in nanoseconds.
    delay: AtomicU64,
    /// The share that is refused, in 1/65,536.
    share: AtomicU16,
    /// Where the next request falls, of 65,536 places.
    place: AtomicU16,
}

impl Overload {
    /// Takes on every request until the queue was looked at.
    pub fn component(limit: Option<Duration>, metrics: Arc<Metrics>) -> Component<Arc<Self>> {
        let overload = Arc::new(Self::new(limit));
        let watched = Arc::clone(&overload);
        Component::new(overload).task("run queue", Stage::Background, |stop| watched.run(metrics, stop))
    }

    fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            delay: AtomicU64::new(0),
            share: AtomicU16::new(0),
            place: AtomicU16::new(0),
        }
    }

    /// Takes on a request.
    ///
    /// # Errors
    /// [`Denial::Overloaded`], for the share that is refused.
    pub fn admit(&self) -> Result<(), Refused> {
        let share = self.share.load(Ordering::Relaxed);
        if share == 0 || self.place.fetch_add(STRIDE, Ordering::Relaxed) >= share {
            return Ok(());
        }
        let cause = Cause::local("the run queue is late (OVERLOAD_DELAY)");
        Err(Refused::because(Denial::Overloaded, cause))
    }

    /// Looks at the run queue until the process stops.
    async fn run(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let (waker, mut woken) = mpsc::channel(1);
        let (thread, watching) = (std::thread::Builder::new(), Arc::clone(&self));
        if let Err(error) = thread
            .name("run queue".to_owned())
            .spawn(move || watching.watch(&waker))
        {
            tracing::warn!(%error, "no thread to look at the run queue: OVERLOAD_DELAY has no effect");
            return stop.cancelled().await;
        }
        while let Some(Some(sent)) = stop.run_until_cancelled(woken.recv()).await {
            let delay = clock::instant().saturating_duration_since(sent);
            metrics.run_queue_delay(delay);
            let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
            self.delay.store(nanos, Ordering::Relaxed);
        }
    }

    /// Wakes the task again and again, until that has ended, and looks at how late it is.
    fn watch(&self, task: &mpsc::Sender<Instant>) {
        let mut controller = self.limit.map(Controller::new);
        let began = clock::instant();
        let mut sent = began;
        loop {
            let now = clock::instant();
            let delay = match task.try_send(now) {
                Ok(()) => {
                    sent = now;
                    Duration::from_nanos(self.delay.load(Ordering::Relaxed))
                }
                // It has not come to the one before yet.
                Err(TrySendError::Full(_)) => now.duration_since(sent),
                Err(TrySendError::Closed(_)) => return,
            };
            if let Some(controller) = &mut controller {
                self.refuse(controller.look(now.duration_since(began), delay), delay);
            }
            std::thread::sleep(PERIOD);
        }
    }

    fn refuse(&self, share: u16, delay: Duration) {
        let before = self.share.swap(share, Ordering::Relaxed);
        let delay_ms = delay.as_millis();
        if before == 0 && share > 0 {
            tracing::warn!(
                delay_ms,
                "the run queue is late: new requests are refused (OVERLOAD_DELAY)"
            );
        } else if before > 0 && share == 0 {
            tracing::info!(
                delay_ms,
                "the run queue is on time again: no request is refused for it"
            );
        }
    }
}

#[cfg(test)]
mod tests;

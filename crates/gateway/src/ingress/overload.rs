//! Refuses new requests early while the run queue is late: while tasks that could run do not get a thread to run on.
//!
//! A thread wakes a task again and again, and looks at how long that took or takes: what is woken from outside of the
//! runtime goes to the end of the queue that all its threads share, where tasks also go for which there is no room
//! elsewhere. Because the thread is no part of the runtime, it knows in time how late that is. What is refused follows
//! from that as in CoDel (RFC 8289): nothing while single looks are late, and a growing share once all of them were
//! for an interval. A queue that is on time again ends it at once.

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
/// How long every look must have been late until requests are refused. A pause of the machine is one look.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long then until more of them are.
const STEP: Duration = Duration::from_millis(100);
/// A queue that is late again within this time needs no [`INTERVAL`] to prove it.
const MEMORY: Duration = Duration::from_secs(5);
/// So many steps lead to [`MAX_SHARE`].
const STEPS: u16 = 8;
/// The greatest share that is refused, in 1/65,536. What is admitted shows whether more can be.
const MAX_SHARE: u16 = u16::MAX / 32 * 31;

/// Decides what share of new requests is refused, from the delays that are seen. It reads no clock.
#[derive(Debug)]
pub struct Controller {
    limit: Duration,
    late: Option<Late>,
    /// When the queue was last found on time after requests had been refused, and at which step.
    recovered: Option<(Duration, u16)>,
}

/// The queue is late.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// Steps taken so far.
    step: u16,
    /// The step before the first one that is taken.
    from: u16,
    /// When the next one is due.
    next: Duration,
}

impl Controller {
    /// A queue is late when it delays tasks for longer than `limit`, and on time again with half of that.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            late: None,
            recovered: None,
        }
    }

    /// Takes a look: at `now`, by a clock that never goes back, a task was delayed so long. Returns the share of
    /// requests to refuse from now on, in 1/65,536.
    pub fn look(&mut self, now: Duration, delay: Duration) -> u16 {
        let late = match self.late {
            None if delay <= self.limit => return 0,
            None => self.begin(now),
            Some(late) if delay <= self.limit / 2 => {
                self.late = None;
                if late.step > 0 {
                    self.recovered = Some((now, late.step));
                }
                return 0;
            }
            // Not late, and not on time: nothing changes.
            Some(late) if delay <= self.limit => Late {
                next: late.next.max(now + STEP),
                ..late
            },
            Some(late) if now < late.next => late,
            Some(late) => {
                // A queue that is very late is looked at less often.
                let missed = (now - late.next).as_millis() / STEP.as_millis();
                let missed = u16::try_from(missed).unwrap_or(STEPS).min(STEPS);
                Late {
                    step: (late.step.max(late.from) + 1 + missed).min(STEPS),
                    next: now + STEP,
                    ..late
                }
            }
        };
        self.late = Some(late);
        MAX_SHARE / STEPS * late.step
    }

    fn begin(&self, now: Duration) -> Late {
        let recent = self.recovered.filter(|(at, _)| now.saturating_sub(*at) < MEMORY);
        let (from, wait) = recent.map_or((0, INTERVAL), |(_, step)| (step / 2, STEP));
        Late {
            step: 0,
            from,
            next: now + wait,
        }
    }
}

/// Whether new requests are taken on.
#[derive(Debug)]
pub struct Overload {
    /// `OVERLOAD_DELAY`; `None` takes on all of them.
    limit: Option<Duration>,
    /// How late the task was that was woken last, in nanoseconds.
    delay: AtomicU64,
    /// The share that is refused, in 1/65,536.
    share: AtomicU16,
    /// The shares of all requests so far, which make one refusal each time they exceed the number.
    sum: AtomicU16,
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
            sum: AtomicU16::new(0),
        }
    }

    /// Takes on a request.
    ///
    /// # Errors
    /// [`Denial::Overloaded`], for the share that is refused.
    pub fn admit(&self) -> Result<(), Refused> {
        let share = self.share.load(Ordering::Relaxed);
        let sum = self.sum.fetch_add(share, Ordering::Relaxed);
        match sum.checked_add(share) {
            Some(_) => Ok(()),
            None => {
                let cause = Cause::local("the run queue is late (OVERLOAD_DELAY)");
                Err(Refused::because(Denial::Overloaded, cause))
            }
        }
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
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);
    const ONE: u16 = MAX_SHARE / STEPS;

    /// Looks at times in milliseconds, the delay of each, and the steps of the share that follow.
    fn assert_shares(case: &str, looks: &[(u64, u64, u16)]) {
        let mut controller = Controller::new(LIMIT);
        for (at, delay, steps) in looks {
            let share = controller.look(Duration::from_millis(*at), Duration::from_millis(*delay));
            assert_eq!(share, ONE * steps, "{case}, at {at} ms");
        }
    }

    #[test]
    fn overload_is_what_lasts_for_an_interval_and_grows_until_the_queue_is_on_time() {
        assert_shares("on time", &[(0, 0, 0), (600, 100, 0), (1200, 100, 0)]);
        assert_shares(
            "one pause of the machine",
            &[(0, 0, 0), (9000, 9000, 0), (9020, 0, 0)],
        );
        assert_shares(
            "late with breaks",
            &[
                (0, 101, 0),
                (400, 300, 0),
                (420, 50, 0),
                (800, 300, 0),
                (1299, 300, 0),
                (1310, 20, 0),
            ],
        );
        assert_shares(
            "late for good",
            &[
                (0, 101, 0),
                (499, 101, 0),
                (500, 101, 1),
                (599, 101, 1),
                (600, 101, 2),
                (700, 101, 3),
                // So late that nobody looked meanwhile.
                (1000, 300, 6),
                (1099, 300, 6),
                (1100, 101, 7),
                (1200, 101, 8),
                (1300, 101, 8),
                (1320, 50, 0),
            ],
        );
        assert_shares("very late", &[(0, 3000, 0), (3000, 3000, 8), (3020, 50, 0)]);
        assert_shares(
            "neither late nor on time",
            &[
                (0, 101, 0),
                (500, 101, 1),
                (700, 100, 1),
                (800, 51, 1),
                (900, 101, 2),
                (920, 50, 0),
                (940, 100, 0),
            ],
        );
    }

    #[test]
    fn overload_that_comes_back_soon_is_met_with_half_of_what_was_refused() {
        let refusing = [
            (0, 101, 0),
            (500, 101, 1),
            (600, 101, 2),
            (700, 101, 3),
            (800, 101, 4),
            (900, 0, 0),
        ];
        let soon = [
            (1000, 101, 0),
            (1099, 101, 0),
            (1100, 101, 3),
            (1200, 101, 4),
            (1300, 0, 0),
        ];
        let again = [(1400, 101, 0), (1500, 101, 3)];
        assert_shares("soon", &[&refusing[..], &soon[..], &again[..]].concat());
        let late = [(5900, 101, 0), (6000, 101, 0), (6400, 101, 1)];
        assert_shares("later", &[&refusing[..], &late[..]].concat());
        let without = [
            (0, 101, 0),
            (100, 0, 0),
            (200, 101, 0),
            (699, 101, 0),
            (700, 101, 1),
        ];
        assert_shares("nothing was refused", &without);
    }

    #[test]
    fn overload_refuses_its_share_of_requests_evenly_and_never_all() {
        let overload = Overload::new(Some(LIMIT));
        for (share, refused) in [(0, 0), (ONE, 121), (ONE * 4, 484), (MAX_SHARE, 968), (0, 0)] {
            overload.share.store(share, Ordering::Relaxed);
            overload.sum.store(0, Ordering::Relaxed);
            let verdicts: Vec<_> = (0..1000).map(|_| overload.admit().is_err()).collect();
            assert_eq!(
                verdicts.iter().filter(|refused| **refused).count(),
                refused,
                "{share}"
            );
            let admitted = verdicts
                .chunks_exact(33)
                .filter(|chunk| chunk.contains(&false))
                .count();
            assert_eq!(
                admitted,
                verdicts.chunks_exact(33).count(),
                "{share}: some of any 33 are admitted"
            );
        }
        let refused = {
            overload.share.store(MAX_SHARE, Ordering::Relaxed);
            overload.admit().and_then(|()| overload.admit()).unwrap_err()
        };
        assert_eq!((refused.denial, refused.status()), (Denial::Overloaded, 503));
        assert!(refused.cause.unwrap().is_local());
    }

    #[test]
    fn overload_is_seen_while_the_task_does_not_run_and_looked_for_until_it_ends() {
        let overload = Arc::new(Overload::new(Some(Duration::from_millis(1))));
        let (task, mut woken) = mpsc::channel(1);
        let watching = Arc::clone(&overload);
        let thread = std::thread::spawn(move || watching.watch(&task));
        while overload.admit().is_ok() {
            std::thread::yield_now();
        }
        // What it would have said had it run.
        overload.delay.store(0, Ordering::Relaxed);
        assert!(woken.blocking_recv().is_some());
        while overload.share.load(Ordering::Relaxed) > 0 {
            _ = woken.try_recv();
            std::thread::yield_now();
        }
        drop(woken);
        thread.join().unwrap();
    }
}

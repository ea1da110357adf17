//! Refuses new requests early while the run queue is late: while tasks that could run do not get a thread to run on.
//!
//! A task that sleeps and then waits for its turn looks again and again at how late it is. What is refused follows
//! from that as in CoDel (RFC 8289): nothing while single looks are late, and a growing share once many in a row were
//! for an interval. A queue that is on time again ends it at once, and so does one that stays late whatever is refused: then
//! it is not the new requests that the CPU is wanted by.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::Poll;
use std::time::Duration;

use admission::ports::Cause;
use admission::{Denial, Refused};
use backends::component::{Component, Stage};
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
/// The greatest share that is refused, in 1/65,536. What is admitted shows whether more can be.
const MAX_SHARE: u16 = u16::MAX / 32 * 31;
/// The first share is this part of it. With each look that is late it doubles.
const FIRST: u16 = 8;

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
    /// This share is refused. The last look before the greatest share, or since then the last one that was not late, was then.
    Refusing {
        share: u16,
        unhelped: Duration,
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
            Queue::Refusing { share, .. } if !is_late => Queue::Refusing { share, unhelped: now },
            Queue::Refusing {
                share: MAX_SHARE,
                unhelped,
            } if now.saturating_sub(unhelped) < PATIENCE => self.queue,
            Queue::Refusing { share: MAX_SHARE, .. } => Queue::Unhelped { until: now + REST },
            Queue::Refusing { share, .. } => Queue::Refusing {
                share: share.saturating_mul(2).min(MAX_SHARE),
                unhelped: now,
            },
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
            share: share.max(MAX_SHARE / FIRST),
            unhelped: now,
        }
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
        let mut controller = self.limit.map(Controller::new);
        let began = clock::instant();
        let mut due = began + PERIOD;
        while stop
            .run_until_cancelled(tokio::time::sleep_until(due.into()))
            .await
            .is_some()
        {
            behind_the_others().await;
            let now = clock::instant();
            let delay = now.saturating_duration_since(due);
            metrics.run_queue_delay(delay);
            if let Some(controller) = &mut controller {
                self.refuse(controller.look(now.duration_since(began), delay), delay);
            }
            due = clock::instant() + PERIOD;
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

/// Completes when every task has had its turn that waits for this thread now. One that wakes itself goes to the end of
/// the queue; tokio's own `yield_now` also waits until the system was asked for I/O.
async fn behind_the_others() {
    let mut is_behind = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_behind, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    /// Looks at times in milliseconds, the delay of each, and the eighths of the greatest share that follow.
    fn assert_shares(case: &str, looks: &[(u64, u64, u16)]) {
        let mut controller = Controller::new(LIMIT);
        for (at, delay, eighths) in looks {
            let share = controller.look(Duration::from_millis(*at), Duration::from_millis(*delay));
            let expect = if *eighths == 8 {
                MAX_SHARE
            } else {
                MAX_SHARE / 8 * eighths
            };
            assert_eq!(share, expect, "{case}, at {at} ms");
        }
    }

    /// A queue that is late until requests are refused.
    const LATE: [(u64, u64, u16); 5] = [
        (200, 101, 0),
        (400, 150, 0),
        (600, 150, 0),
        (800, 150, 0),
        (1000, 150, 1),
    ];

    #[test]
    fn overload_is_what_lasts_for_an_interval_and_grows_until_the_queue_is_on_time() {
        assert_shares("on time", &[(0, 0, 0), (600, 100, 0), (1200, 100, 0)]);
        assert_shares(
            "pauses of the machine",
            &[
                (0, 0, 0),
                (9000, 9000, 0),
                (9500, 450, 0),
                (10_000, 450, 0),
                (10_500, 450, 0),
                (10_550, 0, 0),
            ],
        );
        assert_shares(
            "late with breaks",
            &[
                (0, 101, 0),
                (160, 101, 0),
                (320, 101, 0),
                (480, 101, 0),
                (570, 60, 0),
                (730, 101, 0),
                (890, 101, 0),
            ],
        );
        let growing = [
            (1200, 150, 2),
            (1400, 150, 4),
            (1600, 150, 8),
            (1800, 150, 8),
            (1850, 50, 0),
        ];
        assert_shares("late for good", &[&LATE[..], &growing].concat());
        let held = [
            (1100, 100, 1),
            (1160, 51, 1),
            (1320, 101, 2),
            (1380, 50, 0),
            (1500, 100, 0),
        ];
        assert_shares("neither late nor on time", &[&LATE[..], &held].concat());
    }

    #[test]
    fn overload_that_comes_back_soon_is_met_with_half_of_what_was_refused() {
        let refusing = [(1200, 150, 2), (1400, 150, 4), (1450, 0, 0)];
        let soon = [
            (1650, 101, 0),
            (1850, 101, 0),
            (2050, 101, 2),
            (2250, 101, 4),
            (2300, 0, 0),
        ];
        assert_shares("soon", &[&LATE[..], &refusing, &soon].concat());
        let late = [
            (6500, 101, 0),
            (6700, 101, 0),
            (6900, 101, 0),
            (7100, 101, 0),
            (7300, 101, 1),
        ];
        assert_shares("later", &[&LATE[..], &refusing, &late].concat());
        let without = [(200, 101, 0), (250, 0, 0)].iter().copied();
        let without: Vec<_> = without
            .chain(LATE.map(|(at, delay, eighths)| (at + 100, delay, eighths)))
            .collect();
        assert_shares("nothing was refused", &without);
    }

    #[test]
    fn overload_that_no_refusal_helps_is_left_alone() {
        let full = [(1200, 150, 2), (1400, 150, 4), (1600, 150, 8), (3500, 150, 8)];
        let left = [(3700, 150, 0), (60_000, 150, 0), (303_000, 150, 0)];
        let anew = [
            (304_000, 150, 0),
            (304_200, 150, 0),
            (304_400, 150, 0),
            (304_600, 150, 0),
            (304_800, 150, 0),
        ];
        let refused = [(305_000, 150, 1)];
        assert_shares(
            "for a while",
            &[&LATE[..], &full, &left, &anew, &refused].concat(),
        );
        let on_time = [(3700, 150, 0), (5000, 0, 0)];
        let again = LATE.map(|(at, delay, eighths)| (at + 6000, delay, eighths));
        assert_shares(
            "until it is on time",
            &[&LATE[..], &full, &on_time, &again].concat(),
        );
        let helped = [(2000, 99, 8), (3900, 150, 8), (4100, 150, 0)];
        assert_shares("a little", &[&LATE[..], &full[..3], &helped].concat());
    }

    #[test]
    fn overload_refuses_its_share_of_requests_evenly_and_never_all() {
        let overload = Overload::new(Some(LIMIT));
        for share in [0, MAX_SHARE / 8, MAX_SHARE / 2, MAX_SHARE, 0] {
            overload.share.store(share, Ordering::Relaxed);
            let verdicts: Vec<_> = (0..3300).map(|_| overload.admit().is_err()).collect();
            let refused = verdicts.iter().filter(|refused| **refused).count();
            let expect = usize::from(share) * verdicts.len() / 65_536;
            assert!(refused.abs_diff(expect) <= 3, "{share}: {refused} of {expect}");
            let all = verdicts.chunks_exact(66).any(|chunk| !chunk.contains(&false));
            assert!(!all, "{share}: some of any 66 are admitted");
        }
        // Whoever sends every second request is refused no more than others.
        overload.share.store(MAX_SHARE / 2, Ordering::Relaxed);
        let verdicts: Vec<_> = (0..2000).map(|_| overload.admit().is_err()).collect();
        let refused = verdicts.iter().step_by(2).filter(|refused| **refused).count();
        assert!(refused.abs_diff(484) <= 10, "{refused} of 1000");
        overload.share.store(MAX_SHARE, Ordering::Relaxed);
        let refused = (0..66).find_map(|_| overload.admit().err()).unwrap();
        assert_eq!((refused.denial, refused.status()), (Denial::Overloaded, 503));
        assert!(refused.cause.unwrap().is_local());
    }

    #[tokio::test]
    async fn overload_is_looked_for_behind_whoever_waits_for_the_thread() {
        let others = Arc::new(AtomicU16::new(0));
        let mut tasks = JoinSet::new();
        let seen = Arc::clone(&others);
        tasks.spawn(async move {
            behind_the_others().await;
            assert_eq!(seen.load(Ordering::Relaxed), 3);
        });
        for _ in 0..3 {
            let others = Arc::clone(&others);
            tasks.spawn(async move { _ = others.fetch_add(1, Ordering::Relaxed) });
        }
        tasks.join_all().await;
    }
}

//! When the requests of an open loop start: at a fixed rate, whatever the answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clock;

/// Evenly spaced starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    per_second: u32,
}

impl Schedule {
    /// This many starts in each second, at least one.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
        }
    }

    /// When request `index` is to start, counted from the first one.
    pub(crate) fn start(&self, index: usize) -> Duration {
        let (index, rate) = (index as u64, u64::from(self.per_second));
        let rest = (index % rate) * 1_000_000_000 / rate;
        Duration::from_secs(index / rate) + Duration::from_nanos(rest)
    }
}

/// A thread that lets one request go at each start: the runtime's own timers are only exact to a millisecond, which
/// would be most of what is measured.
pub(crate) struct Pacer {
    gate: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Lets `count` requests go, the first one at `first`.
    pub(crate) fn start(schedule: Schedule, first: Instant, count: usize) -> std::io::Result<Self> {
        let (gate, stop) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
        let (opens, stopped) = (Arc::clone(&gate), Arc::clone(&stop));
        let pace = move || {
            for index in 0..count {
                let early = (first + schedule.start(index)).saturating_duration_since(clock::now());
                if !early.is_zero() {
                    std::thread::sleep(early);
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                opens.add_permits(1);
            }
        };
        let thread = std::thread::Builder::new().name("pacer".into()).spawn(pace)?;
        Ok(Self {
            gate,
            stop,
            thread: Some(thread),
        })
    }

    /// Waits until one more request may go.
    pub(crate) async fn turn(&self) {
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_even_and_do_not_drift() {
        for (rate, index, expect) in [
            (1000, 0, Duration::ZERO),
            (1000, 1, Duration::from_millis(1)),
            (1000, 2500, Duration::from_millis(2500)),
            (3, 1, Duration::from_nanos(333_333_333)),
            (3, 3_000_000, Duration::from_secs(1_000_000)),
            (0, 2, Duration::from_secs(2)),
        ] {
            assert_eq!(Schedule::new(rate).start(index), expect, "{index} at {rate}/s");
        }
    }

    #[tokio::test]
    async fn pacer_lets_each_request_go_not_before_its_start() {
        let first = clock::now() + Duration::from_millis(2);
        let schedule = Schedule::new(500);
        let pacer = Pacer::start(schedule, first, 5).unwrap();
        for index in 0..5 {
            pacer.turn().await;
            assert!(clock::now() >= first + schedule.start(index));
        }
        assert_eq!(pacer.gate.available_permits(), 0);
    }
}

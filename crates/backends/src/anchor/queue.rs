//! Which checkpoints wait, and which of them is sent next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use admission::ports::{Cause, Clock};
use bytes::Bytes;
use evidence::CheckpointPlace;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::AnchorStats;
use crate::log_limit::LogLimit;

/// The most checkpoints that wait: one of each chain, so that this is a number of processes.
const MAX_WAITING: usize = 64;

/// A checkpoint as it is in the audit stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) place: CheckpointPlace,
    pub(super) data: Bytes,
}

/// Those that wait, in the order in which they are sent: the newest first, and behind the others what failed. Of each chain
/// the newest alone, which vouches for all before it.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Checkpoint>);

impl Waiting {
    /// True if another one had to go for it: the last in the order.
    fn add(&mut self, new: Checkpoint) -> bool {
        let of_chain = |waiting: &Checkpoint| waiting.place.chain_id == new.place.chain_id;
        let known = self.0.iter().find(|waiting| of_chain(waiting));
        if known.is_some_and(|known| known.place.seq >= new.place.seq) {
            return false;
        }
        self.0.retain(|waiting| !of_chain(waiting));
        self.0.push_front(new);
        let is_full = self.0.len() > MAX_WAITING;
        self.0.truncate(MAX_WAITING);
        is_full
    }

    /// The anchor has this one.
    fn sent(&mut self, sent: &CheckpointPlace) {
        self.0.retain(|waiting| waiting.place != *sent);
    }

    /// The others come before this one now, if it still waits.
    fn failed(&mut self, failed: &CheckpointPlace) {
        if let Some(at) = self.0.iter().position(|waiting| waiting.place == *failed)
            && let Some(failed) = self.0.remove(at)
        {
            self.0.push_back(failed);
        }
    }
}

/// The same, shared between what ships and what sends.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    added: Notify,
    clock: Arc<dyn Clock>,
    drops: LogLimit,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            waiting: Mutex::default(),
            added: Notify::new(),
            clock,
            drops: LogLimit::default(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, checkpoint: Checkpoint) {
        let is_full = self.waiting.lock().add(checkpoint);
        self.added.notify_one();
        if !is_full {
            return;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.drops.happened(self.clock.now().monotonic) {
            tracing::warn!(
                count,
                "checkpoints are not sent to the anchor: those of {MAX_WAITING} other processes wait"
            );
        }
    }

    /// The next one, when there is one. It stays until it is said what became of it.
    pub(super) async fn next(&self) -> Checkpoint {
        loop {
            let next = self.waiting.lock().0.front().cloned();
            match next {
                Some(next) => return next,
                None => self.added.notified().await,
            }
        }
    }

    /// All that wait now, in their order.
    pub(super) fn all(&self) -> Vec<Checkpoint> {
        self.waiting.lock().0.iter().cloned().collect()
    }

    pub(super) fn sent(&self, checkpoint: &Checkpoint) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().sent(&checkpoint.place);
    }

    /// A fault of this process is not counted.
    pub(super) fn failed(&self, checkpoint: &Checkpoint, cause: &Cause) {
        let counts = u64::from(!cause.is_local());
        self.failed.fetch_add(counts, Ordering::Relaxed);
        self.waiting.lock().failed(&checkpoint.place);
    }

    pub(super) fn stats(&self) -> AnchorStats {
        AnchorStats {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            waiting: self.waiting.lock().0.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::clock::FixedClock;

    /// `a3` is number 3 of chain `a`.
    fn checkpoint(name: &str) -> Checkpoint {
        let (chain_id, seq) = name.split_at(1);
        Checkpoint {
            place: CheckpointPlace {
                chain_id: chain_id.to_owned(),
                seq: seq.parse().unwrap(),
            },
            data: Bytes::copy_from_slice(name.as_bytes()),
        }
    }

    #[test]
    fn newest_checkpoint_of_each_chain_waits_and_what_failed_goes_behind() {
        // `+a3` adds, `-a3` was sent, `!a3` failed.
        for (steps, expect) in [
            ("+a1", "a1"),
            ("+a1 +a2", "a2"),
            ("+a2 +a1", "a2"),
            ("+a1 +a1", "a1"),
            ("+a1 +b1 +c1", "c1 b1 a1"),
            ("+a1 +b1 +a2", "a2 b1"),
            ("+a1 +b1 !b1", "a1 b1"),
            ("+a1 +b1 !b1 !a1", "b1 a1"),
            ("+a1 !a1 +b1", "b1 a1"),
            ("+a1 -a1", ""),
            // While one is on its way a newer one comes.
            ("+a1 +a2 -a1", "a2"),
            ("+a1 +a2 !a1", "a2"),
            ("+a1 +b1 -a1 -b1 !b1", ""),
        ] {
            let mut waiting = Waiting::default();
            for step in steps.split(' ') {
                let (what, name) = step.split_at(1);
                let checkpoint = checkpoint(name);
                match what {
                    "+" => assert!(!waiting.add(checkpoint)),
                    "-" => waiting.sent(&checkpoint.place),
                    _ => waiting.failed(&checkpoint.place),
                }
            }
            let left = waiting
                .0
                .iter()
                .map(|waiting| String::from_utf8(waiting.data.to_vec()).unwrap());
            assert_eq!(left.collect::<Vec<_>>().join(" "), expect, "{steps}");
        }
    }

    #[tokio::test]
    async fn checkpoints_that_wait_are_bounded_and_the_last_in_the_order_is_dropped_and_counted() {
        let queue = Queue::new(Arc::new(FixedClock::default()));
        let of_chain = |n: usize| Checkpoint {
            place: CheckpointPlace {
                chain_id: n.to_string(),
                seq: 1,
            },
            data: Bytes::new(),
        };
        (0..MAX_WAITING).for_each(|n| queue.add(of_chain(n)));
        assert_eq!(queue.stats().dropped, 0);
        queue.failed(&of_chain(5), &Cause::new("away"));
        queue.failed(&of_chain(5), &Cause::local("no descriptors"));
        queue.add(of_chain(MAX_WAITING));
        let stats = queue.stats();
        assert_eq!((stats.dropped, stats.waiting, stats.failed), (1, MAX_WAITING, 1));
        assert_eq!(queue.next().await, of_chain(MAX_WAITING));
        assert!(!queue.all().contains(&of_chain(5)));
    }
}

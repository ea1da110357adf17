//! Mandates that are used again and again while a store fails over.

use crate::world::{NONE, World, present_to};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testkit::wait::until;
use tokio::task::JoinSet;

/// How many use mandates at the same time.
const CALLERS: usize = 8;
/// How many of its last mandates each of them goes on using.
const AGAIN: usize = 20;

/// Callers that use each of their mandates many times.
pub(crate) struct Traffic {
    world: Arc<World>,
    stop: Arc<AtomicBool>,
    allowed: Arc<AtomicUsize>,
    twice: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Traffic {
    pub(crate) fn start(world: &Arc<World>) -> Self {
        let mut traffic = Self {
            world: Arc::clone(world),
            stop: Arc::default(),
            allowed: Arc::default(),
            twice: Arc::default(),
            callers: JoinSet::new(),
        };
        for _ in 0..CALLERS {
            let (world, stop) = (Arc::clone(world), Arc::clone(&traffic.stop));
            let (allowed, twice) = (Arc::clone(&traffic.allowed), Arc::clone(&traffic.twice));
            traffic.callers.spawn(async move {
                let mut earlier = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    earlier.push((world.token(NONE), 0));
                    // Each mandate again and again: before the failover, during it, and after it.
                    let from = earlier.len().saturating_sub(AGAIN);
                    for (token, uses) in &mut earlier[from..] {
                        let answer = present_to(world.addr(), token, NONE, "/x").await;
                        *uses += usize::from(answer.status() == 200);
                    }
                }
                for (_, uses) in earlier {
                    allowed.fetch_add(uses, Ordering::Relaxed);
                    twice.fetch_add(usize::from(uses > 1), Ordering::Relaxed);
                }
            });
        }
        traffic
    }

    /// Waits until a fresh mandate passes.
    pub(crate) async fn passes_again(&self) {
        until("mandates to pass again", async || {
            (self.world.get(NONE, "/x").await.status() == 200)
                .then(|| self.allowed.fetch_add(1, Ordering::Relaxed))
        })
        .await;
    }

    /// How many uses were let through, and how many mandates more than once.
    pub(crate) async fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        (
            self.allowed.load(Ordering::Relaxed),
            self.twice.load(Ordering::Relaxed),
        )
    }
}

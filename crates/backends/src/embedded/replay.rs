//! Replay marks in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use admission::mode::DevOnly;
use admission::ports::{BoxFuture, Cause, Clock, Mark, MarkRefusal, ReplayMarks};
use parking_lot::Mutex;

/// How many marks are kept. When all of them are alive the next one is refused: forgetting one
/// would let its mandate be used again.
const MAX_MARKS: usize = 1 << 20;

/// The marks.
pub struct MemoryReplay {
    clock: Arc<dyn Clock>,
    marks: Mutex<HashMap<String, Held>>,
}

struct Held {
    holder: String,
    until: Duration,
}

impl MemoryReplay {
    /// No marks yet.
    #[must_use]
    pub fn new(_proof: DevOnly, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            marks: Mutex::default(),
        })
    }

    fn try_set(&self, mark: &Mark) -> Result<(), MarkRefusal> {
        let now = self.clock.now().monotonic;
        let mut marks = self.marks.lock();
        if marks.get(&mark.jti).is_some_and(|held| held.until > now) {
            return Err(MarkRefusal::Seen(Cause::new("the mark exists")));
        }
        if marks.len() >= MAX_MARKS {
            marks.retain(|_, held| held.until > now);
        }
        if marks.len() >= MAX_MARKS {
            return Err(MarkRefusal::Unavailable(Cause::new(
                "replay marks in memory: full",
            )));
        }
        let held = Held {
            holder: mark.holder.clone(),
            until: now + mark.life,
        };
        marks.insert(mark.jti.clone(), held);
        Ok(())
    }
}

impl ReplayMarks for MemoryReplay {
    fn set<'a>(&'a self, mark: &'a Mark) -> BoxFuture<'a, Result<(), MarkRefusal>> {
        Box::pin(std::future::ready(self.try_set(mark)))
    }

    fn release(&self, mark: Mark) {
        let mut marks = self.marks.lock();
        if marks
            .get(&mark.jti)
            .is_some_and(|held| held.holder == mark.holder)
        {
            marks.remove(&mark.jti);
        }
    }
}

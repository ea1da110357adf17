//! When a chain states where it stands.

use uuid::Uuid;

use super::inner::Inner;
use super::record::{self, Kind};
use super::stats::get;
use crate::chain::write_checkpoint;
use crate::timestamp::SECOND;

/// How often, in microseconds, where events are recorded.
const INTERVAL: i64 = 60 * SECOND;

/// The last checkpoint that was recorded.
#[derive(Debug)]
pub(crate) struct LastCheckpoint {
    at: i64,
    /// How many events had been recorded then, it included.
    persisted: u64,
}

impl LastCheckpoint {
    /// None, for a process that begins.
    pub(crate) const fn at(at: i64) -> Self {
        Self { at, persisted: 0 }
    }
}

impl Inner {
    /// Records a checkpoint a minute after the last one, if there were events since. It states where the chain stands when it
    /// is shipped.
    pub(crate) fn checkpoint_due(&self) {
        let now = self.now();
        let mut last = self.checkpoints.lock();
        // A clock that was set back begins the minute anew.
        last.at = last.at.min(now);
        let persisted = get(&self.counters.persisted);
        if now - last.at < INTERVAL || persisted == last.persisted {
            return;
        }
        let id = Uuid::new_v4();
        if self.standalone(id, |out| write_checkpoint(out, id, now, false)) {
            *last = LastCheckpoint {
                at: now,
                persisted: persisted + 1,
            };
        }
    }

    /// Records the last checkpoint, if the chain has events, all of them are shipped and no request is under way. True when
    /// it did: nothing may be recorded after it.
    pub(crate) fn conclude(&self) -> bool {
        let (id, now) = (Uuid::new_v4(), self.now());
        let mut bytes = record::begin();
        write_checkpoint(&mut bytes, id, now, true);
        let last = record::seal(&mut bytes, Kind::Event, now, id);
        self.with_log(|log| {
            let is_wanted = log
                .chain()
                .is_some_and(|chain| chain.head.seq > 0 && !chain.is_final);
            is_wanted && self.is_idle(log) && log.append(&last).is_ok()
        })
    }
}

//! What is shipped goes: finished segments are deleted, long-lived intents move on.

use std::io;

use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, Records, Segment};

use super::Log;

impl Log {
    /// The segment with the next bytes that are not shipped, as far as it is durable, and where they begin.
    pub(crate) fn unshipped(&self) -> Option<(Segment, u64)> {
        let mut segments = self.segments.iter();
        let segment = segments.find(|segment| segment.beyond(self.shipped).is_some())?;
        let len = segment.end().min(self.durable).saturating_sub(segment.base);
        let segment = Segment { len, ..*segment };
        Some((segment, segment.beyond(self.shipped)?))
    }

    /// Notes that every event before `position` is shipped: `events` more of the segment at `base`, the last
    /// of them recorded at `last`.
    pub(crate) fn ship(&mut self, base: u64, position: u64, events: u64, last: Option<i64>, now: i64) {
        self.shipped = self.shipped.max(position);
        if events == 0 {
            return;
        }
        if let Some(segment) = self.segment(base) {
            segment.events = segment.events.saturating_sub(events);
        }
        self.waiting = self.waiting.saturating_sub(events);
        self.waiting_since = last.filter(|_| self.waiting > 0);
        // Spares the successor of a killed process from shipping all of it again; nothing rests on it.
        let mut buffer = Vec::new();
        let _ = self.append(&record::ack(&mut buffer, self.shipped, now));
    }

    /// Gives up on the rest of a segment that does not read back. Returns how many events are lost by it.
    pub(crate) fn abandon(&mut self, base: u64) -> io::Result<u64> {
        if self.segments.back().is_some_and(|active| active.base == base) {
            self.roll()?;
        }
        let Some(segment) = self.segment(base) else {
            return Ok(0);
        };
        segment.damaged = true;
        let lost = std::mem::take(&mut segment.events);
        let end = segment.end();
        self.shipped = self.shipped.max(end);
        self.waiting = self.waiting.saturating_sub(lost);
        self.waiting_since = self.waiting_since.filter(|_| self.waiting > 0);
        Ok(lost)
    }

    /// The oldest segment, when nothing in it is needed any more. To be deleted, then [forgotten](Self::forget):
    /// were a younger one deleted first, its outcomes would be missed by the intents in this one.
    pub(crate) fn finished(&self) -> Option<Segment> {
        let until = self.shipped.min(self.durable);
        let front = self.segments.front().filter(|_| self.segments.len() > 1)?;
        let settled = front.open == 0 && front.settled <= self.durable;
        (settled && front.beyond(until).is_none()).then_some(*front)
    }

    /// Forgets a segment that has been deleted.
    pub(crate) fn forget(&mut self, base: u64) {
        if let Some(front) = self.segments.pop_front_if(|front| front.base == base) {
            self.disk = self.disk.saturating_sub(front.len);
        }
    }

    /// The oldest segment, when it is kept for the sake of intents alone and more than `allowed` bytes of
    /// shipped segments are piled up behind it.
    pub(crate) fn pinned(&self, allowed: u64) -> Option<Segment> {
        let shipped = self
            .segments
            .iter()
            .take_while(|segment| segment.end() <= self.shipped);
        if shipped.map(|segment| segment.len).sum::<u64>() <= allowed {
            return None;
        }
        self.segments
            .front()
            .filter(|front| front.open > 0 && self.segments.len() > 1)
            .copied()
    }

    /// Copies the intents among these records of a segment that still wait for their outcome to the head.
    pub(crate) fn carry(&mut self, base: u64, bytes: &[u8]) -> io::Result<()> {
        for record in Records::new(bytes) {
            if record.kind == Kind::Intent && self.open.get(&record.id) == Some(&base) {
                self.append(&record)?;
            }
        }
        // An intent that does not read back cannot be moved. Its outcome will come all the same.
        if let Some(segment) = self.segment(base).filter(|segment| segment.open > 0) {
            segment.open = 0;
            segment.damaged = true;
        }
        Ok(())
    }

    /// Whether the log has been removed.
    pub(crate) fn is_closed(&self) -> bool {
        self.segments.is_empty()
    }

    /// Removes the whole log, if nothing in it is still needed.
    pub(crate) fn close(&mut self) -> io::Result<bool> {
        if self.waiting > 0 || !self.open.is_empty() || !self.parked.is_empty() || self.fault.is_some() {
            return Ok(false);
        }
        while let Some(front) = self.segments.pop_front() {
            self.disk = self.disk.saturating_sub(front.len);
            segment::discard(self.claim.path(), &front)?;
        }
        if let Err(error) = self.claim.remove()
            && error.kind() != io::ErrorKind::DirectoryNotEmpty
        {
            return Err(error);
        }
        Ok(true)
    }
}

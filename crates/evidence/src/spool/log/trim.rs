//! What is shipped goes: finished segments are deleted, long-lived intents move on.

use std::io;
use std::sync::Arc;

use crate::spool::disk::Directory;
use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, Records, Segment, Source};

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
        // What a removed directory held is counted where its copies are.
        let Some(segment) = self.segment(base).filter(|_| events > 0) else {
            return;
        };
        segment.events = segment.events.saturating_sub(events);
        self.waiting = self.waiting.saturating_sub(events);
        self.waiting_since = last.filter(|_| self.waiting > 0);
        // Spares the successor of a killed process from shipping all of it again; nothing rests on it.
        let mut buffer = Vec::new();
        let _ = self.append(&record::ack(&mut buffer, self.shipped, now));
    }

    /// Gives up on the rest of a segment that does not read back. Returns how many events are lost by it.
    pub(crate) fn abandon(&mut self, base: u64) -> io::Result<u64> {
        if self.is_homeless() {
            return Err(io::Error::other("its directory was removed"));
        }
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

    /// The oldest segment, when nothing in it is needed any more, and its directory. To be deleted, then
    /// [forgotten](Self::forget): were a younger one deleted first, its outcomes would be missed by the intents in this
    /// one.
    pub(crate) fn finished(&self) -> Option<(Arc<dyn Directory>, Segment)> {
        let home = self.home.as_ref().filter(|_| !self.is_homeless())?;
        let until = self.shipped.min(self.durable);
        let front = self.segments.front().filter(|_| self.segments.len() > 1)?;
        let settled = front.open == 0 && front.settled <= self.durable;
        (settled && front.beyond(until).is_none()).then(|| (Arc::clone(home.dir()), *front))
    }

    /// Forgets a segment that has been deleted.
    pub(crate) fn forget(&mut self, base: u64) {
        if let Some(front) = self.segments.pop_front_if(|front| front.base == base) {
            self.disk = self.disk.saturating_sub(front.len);
        }
        if let Some(home) = &mut self.home {
            home.forget(base);
        }
    }

    /// The oldest segment, when it is kept for the sake of intents alone and enough is shipped behind it to make
    /// moving them worth its while.
    ///
    /// That is more than twice of what is live, so that many live requests are not copied over and over; on a volume
    /// that is not full, by a segment.
    pub(crate) fn pinned(&self) -> Option<(Segment, Source)> {
        let front = self.segments.front().filter(|_| !self.is_homeless())?;
        if front.open == 0 || self.segments.len() < 2 || front.end() > self.shipped {
            return None;
        }
        let pressed = self.cramped || self.fault.is_some();
        let slack = if pressed { 0 } else { self.site.segment_bytes };
        let shipped = self
            .segments
            .iter()
            .take_while(|segment| segment.end() <= self.shipped);
        let piled: u64 = shipped.map(|segment| segment.len).sum();
        (piled > slack + 2 * self.open_bytes).then(|| (*front, self.source(front.base)))
    }

    /// Copies the intents among these records of a segment that still wait for their outcome to the head.
    pub(crate) fn carry(&mut self, base: u64, bytes: &[u8]) -> io::Result<()> {
        let mut buffer = Vec::new();
        for record in Records::new(bytes) {
            let open = self.open.get(&record.id).filter(|open| open.base == base);
            if let Some(open) = open.copied()
                && matches!(record.kind, Kind::Intent | Kind::Dispatched)
                && !record.payload.is_empty()
            {
                let kind = open.departure.kind();
                let (at, id, payload) = (record.at, record.id, record.payload);
                self.write(&record::encode(&mut buffer, kind, at, id, payload))?;
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
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Removes the whole log, if nothing in it is still needed.
    pub(crate) fn close(&mut self) -> io::Result<bool> {
        if self.waiting > 0 || !self.open.is_empty() || !self.parked.is_empty() || self.fault.is_some() {
            return Ok(false);
        }
        self.closed = true;
        let Some(mut home) = self.home.take() else {
            return Ok(true);
        };
        while let Some(front) = self.segments.pop_front() {
            self.disk = self.disk.saturating_sub(front.len);
            segment::discard(&**home.dir(), &front)?;
        }
        home.remove(&*self.site.disk)?;
        Ok(true)
    }
}

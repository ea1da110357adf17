//! What is shipped goes: finished segments are deleted, long-lived intents move on.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::chain::Chain;
use crate::spool::disk::{DataFile, Directory, Disk};
use crate::spool::record::{self, Kind, MAX_RECORD};
use crate::spool::segment::{self, Records, Segment, Source};
use crate::spool::superseded;

use super::write::Need;
use super::{Fault, Home, Log};

/// The least bytes for whose space a segment is left early.
const MIN_LEFT_BYTES: u64 = MAX_RECORD as u64;

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
    /// of them recorded at `last`. From there on the chain goes on as it stands in `chain`.
    pub(crate) fn ship(
        &mut self,
        base: u64,
        position: u64,
        events: u64,
        last: Option<i64>,
        chain: Option<Chain>,
        now: i64,
    ) {
        self.shipped = self.shipped.max(position);
        // What a removed directory held is counted where its copies are, and they are in their places of the chain.
        if self.segment(base).is_none() {
            return;
        }
        self.acknowledge(position, chain, last);
        let Some(segment) = self.segment(base).filter(|_| events > 0) else {
            return;
        };
        segment.events = segment.events.saturating_sub(events);
        self.waiting = self.waiting.saturating_sub(events);
        self.waiting_since = last.filter(|_| self.waiting > 0);
        // Spares the successor of a killed process from shipping all of it again; nothing rests on it.
        if self.fault.is_none() {
            let mut buffer = Vec::new();
            let _ = self.quietly(|log| log.write(&record::ack(&mut buffer, log.shipped, now)));
        }
    }

    /// Gives up on the rest of a segment that does not read back. Returns how many events are lost by it.
    pub(crate) fn abandon(&mut self, base: u64) -> io::Result<u64> {
        if matches!(self.fault, Some(Fault::Sync | Fault::Homeless(_))) {
            return Err(io::Error::other("nothing can be appended behind it now"));
        }
        if self.segments.back().is_some_and(|active| active.base == base) {
            self.roll().or_else(|_| self.roll_to_spare())?;
        }
        let Some(segment) = self.segment(base) else {
            return Ok(0);
        };
        segment.damaged = true;
        let lost = std::mem::take(&mut segment.events);
        let end = segment.end();
        self.shipped = self.shipped.max(end);
        let mut chain = self.chain().cloned();
        chain.iter_mut().for_each(|chain| chain.skip(lost));
        self.acknowledge(end, chain, None);
        self.waiting = self.waiting.saturating_sub(lost);
        self.waiting_since = self.waiting_since.filter(|_| self.waiting > 0);
        Ok(lost)
    }

    /// The chain as it stands behind what is shipped.
    pub(crate) fn chain(&self) -> Option<&Chain> {
        self.home.as_ref().map(|home| home.chain.chain())
    }

    fn acknowledge(&mut self, position: u64, chain: Option<Chain>, last: Option<i64>) {
        if let (Some(home), Some(chain)) = (&mut self.home, chain) {
            home.chain.advance(position, chain, last);
        }
    }

    /// The acknowledgement to sync, and up to where it reaches, when a segment could be deleted then.
    /// [`Log::acknowledged`] must follow.
    pub(crate) fn unacknowledged(&mut self) -> io::Result<Option<(Arc<dyn DataFile>, u64)>> {
        let is_wanted = self.done(u64::MAX).is_some() && self.finished().is_none();
        match &mut self.home {
            Some(home) if is_wanted => home.chain.begin_sync().map(Some),
            _ => Ok(None),
        }
    }

    /// Notes that the acknowledgement is durable up to this position, or that it could not be synced.
    pub(crate) fn acknowledged(&mut self, position: Option<u64>) {
        if let Some(home) = &mut self.home {
            home.chain.end_sync(position);
        }
    }

    /// The oldest segment, when nothing in it is needed any more, and its directory. To be deleted, then
    /// [forgotten](Self::forget): were a younger one deleted first, its outcomes would be missed by the intents in this
    /// one. A successor must find that it was shipped, and where the chain stands behind it.
    pub(crate) fn finished(&self) -> Option<(Arc<dyn Directory>, Segment)> {
        self.done(self.home.as_ref()?.chain.durable())
    }

    /// The same, were it acknowledged up to there.
    fn done(&self, acknowledged: u64) -> Option<(Arc<dyn Directory>, Segment)> {
        let home = self.home.as_ref().filter(|_| !self.is_homeless())?;
        let until = self.shipped.min(self.durable).min(acknowledged);
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

    /// Takes note of the space on the volume.
    pub(crate) const fn measured(&mut self, free: u64) {
        self.short = free < self.site.segment_bytes;
    }

    const fn is_pressed(&self) -> bool {
        self.cramped.is_some() || self.short || self.fault.is_some()
    }

    /// Leaves the active segment where space is short and no event waits in it, so that it can be deleted.
    pub(crate) fn leave_shipped(&mut self) -> io::Result<()> {
        let len = self.segments.back().map_or(0, |active| active.len);
        let is_worth_it = len > MIN_LEFT_BYTES + 2 * self.open_bytes;
        if self.waiting > 0 || self.closed || !self.is_syncable() || !self.is_pressed() || !is_worth_it {
            return Ok(());
        }
        self.roll().or_else(|_| self.roll_to_spare())
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
        let slack = if self.is_pressed() {
            0
        } else {
            self.site.segment_bytes
        };
        let shipped = self
            .segments
            .iter()
            .take_while(|segment| segment.end() <= self.shipped);
        let piled: u64 = shipped.map(|segment| segment.len).sum();
        (piled > slack + 2 * self.open_bytes).then(|| (*front, self.source(front.base)))
    }

    /// Copies the intents among these records of a segment that still wait for their outcome to the head. How many of them
    /// are not among these.
    pub(crate) fn carry(&mut self, base: u64, bytes: &[u8]) -> io::Result<u32> {
        let mut buffer = Vec::new();
        for record in Records::new(bytes) {
            let open = self.open.get(&record.id).filter(|open| open.base == base);
            if let Some(open) = open.copied()
                && matches!(record.kind, Kind::Intent | Kind::Dispatched)
                && !record.payload.is_empty()
            {
                let kind = open.departure.kind();
                let (at, id, payload) = (record.at, record.id, record.payload);
                self.write_for(Need::Own, &record::encode(&mut buffer, kind, at, id, payload))?;
            }
        }
        // An intent that does not read back cannot be moved. Its outcome will come all the same.
        let Some(segment) = self.segment(base).filter(|segment| segment.open > 0) else {
            return Ok(0);
        };
        segment.damaged = true;
        Ok(std::mem::take(&mut segment.open))
    }

    /// Whether the log has been removed.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether everything is shipped, and no request whose intent is on record is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let is_written = !self.has_parked() && self.fault.is_none();
        self.waiting == 0 && self.open.is_empty() && is_written
    }

    /// Ends the log, in which nothing is needed any more. What is left of it is to be deleted.
    pub(crate) fn close(&mut self) -> Closed {
        self.closed = true;
        self.disk = 0;
        Closed {
            disk: Arc::clone(&self.site.disk),
            home: self.home.take(),
            segments: std::mem::take(&mut self.segments),
        }
    }
}

/// The files of a log that has ended.
#[derive(Debug)]
pub(crate) struct Closed {
    disk: Arc<dyn Disk>,
    home: Option<Home>,
    segments: VecDeque<Segment>,
}

impl Closed {
    /// Deletes them, oldest first.
    pub(crate) fn remove(self) -> io::Result<()> {
        let Some(mut home) = self.home else {
            return Ok(());
        };
        // A successor must find where the chain stands for as long as it finds the chain.
        home.chain.sync()?;
        superseded::settle(&*self.disk, home.claim(), &home.chain)?;
        for segment in &self.segments {
            segment::discard(&**home.dir(), segment)?;
        }
        home.remove(&*self.disk)
    }
}

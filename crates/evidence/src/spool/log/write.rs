//! Records get to the disk.

use std::io;

use uuid::Uuid;

use crate::spool::record::{Kind, Record};
use crate::spool::segment::Segment;

use super::{Departure, Home, Log, Open, no_segment};

/// What a record may take the space that is kept back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Something new: nothing of it.
    New,
    /// What was promised: as much as leaves the intents that wait a place to be copied to.
    Due,
    /// What other space is set free by: all of it.
    Own,
}

impl Log {
    pub(super) fn need(&self, record: &Record<'_>) -> Need {
        match record.kind {
            // Nothing rests on an acknowledgement.
            Kind::Ack | Kind::Intent => Need::New,
            Kind::Event if !self.open.contains_key(&record.id) => Need::New,
            _ => Need::Due,
        }
    }

    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.write_for(self.need(record), record)
    }

    /// Writes to the active segment, to the next one where that is full, or to the spare one where neither takes it.
    pub(super) fn write_for(&mut self, need: Need, record: &Record<'_>) -> io::Result<()> {
        let length = record.bytes.len() as u64;
        let end = self.segments.back().map(|active| active.len + length);
        let written = match (end, self.last) {
            (Some(end), Some(last)) if !self.leaves_room(need, end, last) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            (Some(end), last) if end <= last.unwrap_or(0).max(self.site.segment_bytes) => {
                self.put(record.bytes)
            }
            _ => self.roll().and_then(|()| self.put(record.bytes)),
        };
        if let Err(error) = written {
            let spare = self.home.as_ref().and_then(Home::spare_bytes);
            let end = Segment::fresh(0).len + length;
            if !spare.is_some_and(|spare| self.leaves_room(need, end, spare)) {
                return Err(error);
            }
            self.roll_to_spare()?;
            self.put(record.bytes)?;
        }
        let Some(active) = self.segments.back_mut() else {
            return Err(no_segment());
        };
        active.len += length;
        self.disk += length;
        self.head = active.end();
        self.account(record);
        Ok(())
    }

    /// Whether a record that ends here may be in a segment that has space up to there, and no other.
    const fn leaves_room(&self, need: Need, end: u64, space: u64) -> bool {
        match need {
            Need::New => false,
            Need::Due => end + self.open_bytes <= space,
            Need::Own => true,
        }
    }

    /// Whether what is kept back has a place for an outcome of this length.
    #[cfg(test)]
    pub(super) fn has_place_for(&self, length: u64) -> bool {
        let active = self.segments.back().map_or(0, |active| active.len);
        let spare = self.home.as_ref().and_then(Home::spare_bytes);
        let fits =
            |end, space: Option<u64>| space.is_some_and(|space| self.leaves_room(Need::Due, end, space));
        fits(active + length, self.last) || fits(Segment::fresh(0).len + length, spare)
    }

    /// Takes note of a record that was written.
    fn account(&mut self, record: &Record<'_>) {
        let length = record.bytes.len() as u64;
        match record.kind {
            Kind::Intent => self.stands(record.id, length, Departure::Pending),
            Kind::Dispatched if !record.payload.is_empty() => {
                self.stands(record.id, length, Departure::Marked);
            }
            Kind::Dispatched => {
                if let Some(open) = self.open.get_mut(&record.id) {
                    open.departure = Departure::Marked;
                }
            }
            Kind::Event => {
                if let Some(active) = self.segments.back_mut() {
                    active.events += 1;
                }
                let _ = self.settled(record.id);
                self.waiting += 1;
                self.waiting_since.get_or_insert(record.at);
            }
            Kind::Cancel => {
                let _ = self.settled(record.id);
            }
            Kind::Ack | Kind::Boot | Kind::Undispatched | Kind::Untold | Kind::Rewritten | Kind::Lost => {}
        }
    }

    /// Writes behind the last record of the active segment.
    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let (Some(home), Some(active)) = (&self.home, self.segments.back()) else {
            return Err(no_segment());
        };
        home.active().write_at(bytes, active.len).inspect_err(|_| {
            // What did get there is overwritten by the next record, or cut when the segment is left or read again. To cut
            // it now would give away the space that is kept back.
            if self.last.is_none() {
                let _ = home.active().cut(active.len);
            }
        })
    }

    /// Notes that the active segment holds the newest copy of an intent.
    pub(super) fn stands(&mut self, id: Uuid, bytes: u64, departure: Departure) {
        let was = self.settled(id);
        let Some(active) = self.segments.back_mut() else {
            return;
        };
        active.open += 1;
        let base = active.base;
        // What is known is not forgotten.
        let departure = was.map_or(departure, |was| was.departure);
        self.open_bytes += bytes;
        let open = Open {
            base,
            bytes,
            departure,
        };
        self.open.insert(id, open);
    }

    /// Notes that an intent waits no more.
    fn settled(&mut self, id: Uuid) -> Option<Open> {
        let was = self.open.remove(&id)?;
        self.open_bytes = self.open_bytes.saturating_sub(was.bytes);
        let head = self.head;
        if let Some(segment) = self.segment(was.base) {
            segment.open = segment.open.saturating_sub(1);
            segment.settled = head;
        }
        Some(was)
    }
}

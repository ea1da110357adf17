//! Records get to the disk.

use std::io;

use uuid::Uuid;

use crate::spool::record::{Kind, Record};

use super::{Departure, Fault, Home, Log, Open, no_segment};

/// The most bytes of intents that are written late.
const MAX_LATE_BYTES: usize = 32 * 1024;

/// No segment begins here.
const NOWHERE: u64 = u64::MAX;

impl Log {
    /// Appends the record of an intent with the next record, or with the next [`write_out`](Self::write_out).
    pub(crate) fn append_late(&mut self, intent: &Record<'_>) -> io::Result<()> {
        let length = intent.bytes.len();
        if self.fault.is_some() || self.closed || self.late.len() + length > MAX_LATE_BYTES {
            return self.append(intent);
        }
        self.late.extend_from_slice(intent.bytes);
        self.late_intents.push((intent.id, length as u64));
        let open = Open {
            base: NOWHERE,
            bytes: 0,
            departure: Departure::Pending,
        };
        self.open.insert(intent.id, open);
        Ok(())
    }

    /// Writes the intents that wait for it.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        if self.late.is_empty() || self.fault.is_some() || self.closed {
            return Ok(());
        }
        self.write_late()
            .inspect_err(|error| self.fault = Some(Fault::of(error)))
    }

    /// Whether no intent waits to be written.
    #[cfg(test)]
    pub(crate) const fn is_written_out(&self) -> bool {
        self.late.is_empty()
    }

    /// Writes a record behind the intents that wait for it.
    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.late.is_empty() {
            self.put_somewhere(record.bytes)?;
        } else {
            let intents = self.late.len();
            self.late.extend_from_slice(record.bytes);
            if let Err(error) = self.write_late() {
                self.late.truncate(intents);
                return Err(error);
            }
        }
        self.account(record);
        Ok(())
    }

    /// Writes all that waits, and takes the intents for written.
    fn write_late(&mut self) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.late);
        let written = self.put_somewhere(&bytes);
        if written.is_ok() {
            bytes.clear();
            for (id, length) in std::mem::take(&mut self.late_intents) {
                self.stands(id, length, Departure::Pending);
            }
        }
        self.late = bytes;
        written
    }

    /// Writes to the active segment, or to the next one where that is full or fails.
    fn put_somewhere(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        let active = self.segments.back();
        if active.is_none_or(|active| active.len + length > self.site.segment_bytes) {
            self.roll()?;
        }
        if let Err(error) = self.put(bytes) {
            // Another file may take it, above all one whose space is there.
            if !self.home.as_ref().is_some_and(Home::has_spare) {
                return Err(error);
            }
            self.roll()?;
            self.put(bytes)?;
        }
        let Some(active) = self.segments.back_mut() else {
            return Err(no_segment());
        };
        active.len += length;
        self.disk += length;
        self.head = active.end();
        Ok(())
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
            Kind::Ack | Kind::Boot | Kind::Undispatched => {}
        }
    }

    /// Writes behind the last record of the active segment.
    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let (Some(home), Some(active)) = (&self.home, self.segments.back()) else {
            return Err(no_segment());
        };
        home.active().write_at(bytes, active.len).inspect_err(|_| {
            // What did get there is overwritten by the next record, or cut when the segment is read again.
            let _ = home.active().cut(active.len);
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

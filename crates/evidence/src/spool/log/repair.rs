//! Coming back after the disk failed.

use std::io;

use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, Records, Segment};

use super::{Fault, Log, no_segment};

impl Log {
    /// Tries to write again: first what a failed sync has put in doubt, then what could not be written.
    /// Where there is neither, an acknowledgement is written to see whether the disk is back.
    pub(crate) fn repair(&mut self, now: i64) -> io::Result<()> {
        if self.fault == Some(Fault::Sync) {
            self.rewrite()?;
        }
        self.write_parked(now)
            .inspect_err(|error| self.fault = Some(Fault::of(error)))?;
        self.fault = None;
        Ok(())
    }

    fn write_parked(&mut self, now: i64) -> io::Result<()> {
        let mut buffer = Vec::new();
        self.write(&record::ack(&mut buffer, self.shipped, now))?;
        while let Some(parked) = self.parked.pop_front() {
            let written = match record::decode(&parked) {
                Ok(record) => self.write(&record),
                Err(_) => Ok(()),
            };
            if let Err(error) = written {
                self.parked.push_front(parked);
                return Err(error);
            }
            self.parked_bytes = self.parked_bytes.saturating_sub(parked.len() as u64);
        }
        Ok(())
    }

    /// Appends everything that is not known to be durable once more, to a new file.
    ///
    /// After a failed `fsync` the kernel may drop the pages it could not write and report success the next
    /// time, so asking again proves nothing. The records are read back now, while the kernel still has them.
    fn rewrite(&mut self) -> io::Result<()> {
        let doubtful = self.read_doubtful()?;
        let Some(home) = &mut self.home else {
            return Err(no_segment());
        };
        let mut next = Segment::fresh(self.head);
        let file = home.next(next.base)?;
        let written = file
            .write_at(&doubtful.bytes, next.len)
            .and_then(|()| file.sync())
            .and_then(|()| home.dir().sync());
        if let Err(error) = written {
            let _ = home.dir().remove(&segment::name(next.base));
            return Err(error);
        }
        home.take_up(next.base, file)?;
        next.len += doubtful.bytes.len() as u64;

        for segment in &mut self.segments {
            let kept = self.durable.max(segment.first()).min(segment.end());
            self.disk = self.disk.saturating_sub(segment.end() - kept);
            segment.len = kept - segment.base;
        }
        for (base, copied) in doubtful.events {
            next.events += copied;
            if let Some(segment) = self.segment(base) {
                segment.events = segment.events.saturating_sub(copied);
            }
        }
        self.left.clear();
        self.enter(next);
        for record in Records::new(&doubtful.bytes) {
            if let Some(open) = self.open.get(&record.id).copied()
                && !record.payload.is_empty()
            {
                self.stands(record.id, record.bytes.len() as u64, open.departure);
            }
        }
        self.durable = self.head;
        self.planned = self.head;
        self.directory_changed = false;
        Ok(())
    }

    /// The records that are not known to be durable and still wanted.
    fn read_doubtful(&self) -> io::Result<Doubtful> {
        let mut doubtful = Doubtful::default();
        let mut buffer = Vec::new();
        for segment in &self.segments {
            let Some(from) = segment.beyond(self.durable) else {
                continue;
            };
            let length = usize::try_from(segment.end() - from).map_err(io::Error::other)?;
            let read = segment::read(&self.source(segment.base), segment, from, length)?;
            let mut copied = 0;
            let mut records = Records::new(&read);
            for record in &mut records {
                let open = self.open.get(&record.id);
                match (record.kind, open) {
                    (Kind::Intent | Kind::Dispatched, Some(open)) if !record.payload.is_empty() => {
                        if open.base == segment.base {
                            let kind = open.departure.kind();
                            let (at, id, payload) = (record.at, record.id, record.payload);
                            let copy = record::encode(&mut buffer, kind, at, id, payload);
                            doubtful.bytes.extend_from_slice(copy.bytes);
                        }
                        continue;
                    }
                    (Kind::Intent | Kind::Ack | Kind::Boot | Kind::Undispatched, _)
                    | (Kind::Dispatched, None) => continue,
                    (Kind::Event, _) => copied += 1,
                    (Kind::Cancel, _) | (Kind::Dispatched, Some(_)) => {}
                }
                doubtful.bytes.extend_from_slice(record.bytes);
            }
            if records.taken() < length {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "what was written does not read back",
                ));
            }
            doubtful.events.push((segment.base, copied));
        }
        Ok(doubtful)
    }
}

/// Records to be written again.
#[derive(Debug, Default)]
struct Doubtful {
    bytes: Vec<u8>,
    /// How many events there are, by the segment that they come from.
    events: Vec<(u64, u64)>,
}

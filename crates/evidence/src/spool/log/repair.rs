//! Coming back after the disk failed.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, PREFACE, Records, Segment};

use super::{Fault, Log};

impl Log {
    /// Tries to write again: first what a failed sync has put in doubt, then what could not be written.
    /// Where there is neither, an acknowledgement is written to see whether the disk is back.
    pub(crate) fn repair(&mut self, now: i64) -> io::Result<()> {
        if self.fault == Some(Fault::Sync) {
            self.rewrite()?;
            self.fault = Some(Fault::Write);
        }
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
        self.fault = None;
        Ok(())
    }

    /// Appends everything that is not known to be durable once more, to a new file.
    ///
    /// After a failed `fsync` the kernel may drop the pages it could not write and report success the next
    /// time, so asking again proves nothing. The records are read back now, while the kernel still has them.
    fn rewrite(&mut self) -> io::Result<()> {
        let dir = self.claim.path();
        let mut next = Segment::empty(self.head);
        let mut bytes = PREFACE.to_vec();
        let mut intents = Vec::new();
        let mut events = Vec::new();
        for segment in &self.segments {
            let Some(from) = segment.beyond(self.durable) else {
                continue;
            };
            let length = usize::try_from(segment.end() - from).map_err(io::Error::other)?;
            let read = segment::read(dir, segment, from, length)?;
            let mut copied = 0;
            let mut records = Records::new(&read);
            for record in &mut records {
                match record.kind {
                    Kind::Intent if self.open.get(&record.id) == Some(&segment.base) => {
                        intents.push(record.id);
                    }
                    Kind::Intent | Kind::Ack => continue,
                    Kind::Event => copied += 1,
                    Kind::Cancel => {}
                }
                bytes.extend_from_slice(record.bytes);
            }
            if records.taken() < length {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "what was written does not read back",
                ));
            }
            events.push((segment.base, copied));
        }
        next.len = bytes.len() as u64;
        let file = segment::create(dir, next.base)?;
        let written = file
            .write_all_at(&bytes, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.claim.sync());
        if let Err(error) = written {
            segment::discard(dir, &next)?;
            return Err(error);
        }

        for segment in &mut self.segments {
            let kept = self.durable.max(segment.first()).min(segment.end());
            self.disk = self.disk.saturating_sub(segment.end() - kept);
            segment.len = kept - segment.base;
        }
        for (base, copied) in events {
            next.events += copied;
            if let Some(segment) = self.segment(base) {
                segment.events = segment.events.saturating_sub(copied);
            }
        }
        next.open = u32::try_from(intents.len()).unwrap_or(u32::MAX);
        let base = next.base;
        self.active = Arc::new(file);
        self.left.clear();
        self.enter(next);
        for id in intents {
            self.moved(id, Some(base));
        }
        self.durable = self.head;
        Ok(())
    }
}

//! Coming back after the disk failed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::spool::disk::{DataFile, Directory, gone_is_fine, is_full};
use crate::spool::error::NoRoom;
use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, Records, SPARE, Segment, Source};

use super::{Fault, Log, Open, no_segment};

/// What a failed sync has put in doubt, to be appended once more, to a new file.
///
/// After a failed `fsync` the kernel may drop the pages it could not write and report success the next time, so asking
/// again proves nothing. The records are read back now, while the kernel still has them.
#[derive(Debug)]
pub(crate) struct Rewrite {
    dir: Arc<dyn Directory>,
    boot: Uuid,
    base: u64,
    spare: Option<Arc<dyn DataFile>>,
    durable: u64,
    segments: Vec<(Segment, Source)>,
    open: HashMap<Uuid, Open>,
}

/// A segment of what was in doubt, durable.
#[derive(Debug)]
pub(crate) struct Rewritten {
    file: Arc<dyn DataFile>,
    doubtful: Doubtful,
}

impl Log {
    /// What to append once more, where a sync has failed. Nothing is appended to the log meanwhile.
    pub(crate) fn rewrite(&self) -> Option<Rewrite> {
        let home = self.home.as_ref().filter(|_| self.fault == Some(Fault::Sync))?;
        let segments = self.segments.iter();
        Some(Rewrite {
            dir: Arc::clone(home.dir()),
            boot: self.site.boot,
            base: self.head,
            spare: home.spare(),
            durable: self.durable,
            segments: segments
                .map(|segment| (*segment, self.source(segment.base)))
                .collect(),
            open: self.open.clone(),
        })
    }

    /// Takes the new segment.
    pub(crate) fn rewritten(&mut self, rewritten: Rewritten) -> io::Result<()> {
        // It may be what was the spare.
        self.last = self.lose_spare(&rewritten.file).map(|spare| spare.bytes);
        let home = self.home.as_mut().ok_or_else(no_segment)?;
        let mut next = Segment::fresh(self.head);
        home.take_up(next.base, rewritten.file)?;
        next.len += rewritten.doubtful.bytes.len() as u64;

        for segment in &mut self.segments {
            let kept = self.durable.max(segment.first()).min(segment.end());
            self.disk = self.disk.saturating_sub(segment.end() - kept);
            segment.len = kept - segment.base;
        }
        for (base, copied) in rewritten.doubtful.events {
            next.events += copied;
            if let Some(segment) = self.segment(base) {
                segment.events = segment.events.saturating_sub(copied);
            }
        }
        self.left.clear();
        self.enter(next);
        for record in Records::new(&rewritten.doubtful.bytes) {
            if let Some(open) = self.open.get(&record.id).copied()
                && matches!(record.kind, Kind::Intent | Kind::Dispatched)
                && !record.payload.is_empty()
            {
                self.stands(record.id, record.bytes.len() as u64, open.departure);
            }
        }
        self.durable = self.head;
        self.planned = self.head;
        self.directory_changed = false;
        // What could not be written meanwhile is still to be.
        self.fault = Some(Fault::Write(NoRoom::Unwritable));
        Ok(())
    }
}

impl Rewrite {
    /// Writes and syncs the new segment.
    pub(crate) fn run(self) -> io::Result<Rewritten> {
        let doubtful = self.read()?;
        let name = segment::name(self.base);
        // A try that failed may have left one.
        gone_is_fine(self.dir.remove(&name))?;
        let written = segment::create(&*self.dir, &name, self.boot).and_then(|file| doubtful.write(file));
        let written = match (written, self.spare.clone()) {
            (Err(error), Some(spare)) if is_full(&error) => {
                let renamed = self.dir.rename(SPARE, &name);
                renamed.and_then(|()| doubtful.write(spare))
            }
            (written, _) => written,
        };
        let written = written.and_then(|file| self.dir.sync().map(|()| file));
        let file = written.inspect_err(|_| {
            let _ = self.dir.remove(&name);
        })?;
        Ok(Rewritten { file, doubtful })
    }

    /// The records that are not known to be durable and still wanted.
    fn read(&self) -> io::Result<Doubtful> {
        let mut doubtful = Doubtful::default();
        let mut buffer = Vec::new();
        // A successor finds what is copied twice: here it counts, if the copy is whole, which the second mark says.
        let mut mark = Vec::new();
        record::rewritten(&mut mark, self.durable);
        doubtful.bytes.extend_from_slice(&mark);
        for (segment, source) in &self.segments {
            let Some(from) = segment.beyond(self.durable) else {
                continue;
            };
            let length = usize::try_from(segment.end() - from).map_err(io::Error::other)?;
            let read = segment::read(source, segment, from, length)?;
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
                    (
                        Kind::Intent
                        | Kind::Ack
                        | Kind::Boot
                        | Kind::Undispatched
                        | Kind::Untold
                        | Kind::Rewritten,
                        _,
                    )
                    | (Kind::Dispatched, None) => continue,
                    (Kind::Event, _) => copied += 1,
                    (Kind::Cancel | Kind::Lost, _) | (Kind::Dispatched, Some(_)) => {}
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
        doubtful.bytes.extend_from_slice(&mark);
        Ok(doubtful)
    }
}

impl Doubtful {
    /// Writes the records to an empty segment.
    fn write(&self, file: Arc<dyn DataFile>) -> io::Result<Arc<dyn DataFile>> {
        file.write_at(&self.bytes, Segment::fresh(0).len)?;
        file.sync()?;
        Ok(file)
    }
}

/// Records to be written again.
#[derive(Debug, Default)]
struct Doubtful {
    bytes: Vec<u8>,
    /// How many events there are, by the segment that they come from.
    events: Vec<(u64, u64)>,
}

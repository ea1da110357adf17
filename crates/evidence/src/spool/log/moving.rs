//! A new home for a log whose directory is gone, or that never had one.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use crate::spool::chain_file::{self, Carried};
use crate::spool::disk::Directory;
use crate::spool::error::NoRoom;
use crate::spool::record::{self, Kind};
use crate::spool::segment::{self, Records, Segment, Source};

use super::write::Need;
use super::{Departure, Fault, Log, Open, Site};

/// What has to be carried to a new home. Nothing is appended to the log meanwhile.
#[derive(Debug)]
pub(crate) struct Moving {
    site: Site,
    head: u64,
    shipped: u64,
    old: Option<Arc<dyn Directory>>,
    segments: Vec<(Segment, Source)>,
    open: HashMap<Uuid, Open>,
    /// As it stands where shipping does.
    chain: Option<Carried>,
}

/// A new home with all that could be read of the old one, all of it durable.
#[derive(Debug)]
pub(crate) struct Moved {
    log: Log,
    /// Events that could not be read.
    pub(crate) lost: u64,
}

impl Log {
    /// Notes that the home is not in its place any more.
    pub(crate) fn evict(&mut self) {
        self.fault = Some(Fault::Homeless(NoRoom::Removed));
    }

    /// What to carry to a new home, where one is needed.
    pub(crate) fn moving(&self) -> Option<Moving> {
        if self.closed || !self.is_homeless() {
            return None;
        }
        let segments = self.segments.iter();
        Some(Moving {
            site: self.site.clone(),
            // Behind whatever the old one says, so that a successor who finds both knows which of them goes on.
            head: self.head + 1,
            shipped: self.shipped,
            old: self.home.as_ref().map(|home| Arc::clone(home.dir())),
            segments: segments
                .map(|segment| (*segment, self.source(segment.base)))
                .collect(),
            open: self.open.clone(),
            chain: self.home.as_ref().map(|home| home.chain.carried()),
        })
    }

    /// Moves in. What could not be written meanwhile is written by the next [repair](Self::repair).
    pub(crate) fn move_in(&mut self, moved: Moved) {
        let old = std::mem::replace(self, moved.log);
        self.shipped = self.shipped.max(old.shipped);
        for (id, was) in old.open {
            // Those that could not be read have no copy in any segment: they cannot depart any more, and the outcome of
            // one that did will come all the same.
            self.open.entry(id).or_insert(was).departure = was.departure;
        }
        self.owed = old.owed;
        self.refusals = old.refusals;
        self.fault = Some(Fault::Write(NoRoom::Removed));
    }
}

impl Moving {
    /// Makes a home and copies what is still wanted: the intents that wait, and the events that are not shipped.
    pub(crate) fn run(self) -> io::Result<Moved> {
        let mut log = Log::at_home(self.site.clone(), self.head, self.chain.clone())?;
        let mut lost = 0;
        let copied = self.copy(&mut log, &mut lost).and_then(|()| settle(&mut log));
        match copied.and_then(|()| self.finish(&log)) {
            Ok(()) => {
                self.empty();
                Ok(Moved { log, lost })
            }
            Err(error) => {
                log.clear();
                Err(error)
            }
        }
    }

    /// From now on the copy counts, and the old directory does not: so far a successor would have gone on with that.
    fn finish(&self, log: &Log) -> io::Result<()> {
        match &log.home {
            Some(home) if self.chain.is_some() => chain_file::finish_copy(&**home.dir()),
            _ => Ok(()),
        }
    }

    /// Deletes the segments of a directory that was moved away, or lost only some of them. Where it is found again its
    /// intents would miss the outcomes that are in the new one.
    fn empty(&self) {
        for (segment, _) in &self.segments {
            let emptied = self
                .old
                .as_ref()
                .map_or(Ok(()), |old| segment::discard(&**old, segment));
            if let Err(error) = emptied {
                tracing::warn!(segment = segment.base, %error, "what is left of the removed directory cannot be deleted");
            }
        }
        if let Some(old) = &self.old {
            // Without its chain nothing that was in it may come back. Where it is found again, it is as good as empty.
            let _ = chain_file::remove_for_good(&**old);
        }
    }

    fn copy(&self, log: &mut Log, lost: &mut u64) -> io::Result<()> {
        let mut buffer = Vec::new();
        for (segment, source) in &self.segments {
            let length = usize::try_from(segment.end() - segment.first()).map_err(io::Error::other)?;
            let mut events = 0;
            let read = segment::read(source, segment, segment.first(), length);
            let bytes = read.unwrap_or_else(|error| {
                tracing::error!(segment = segment.base, %error, "a segment of the removed directory cannot be read");
                Vec::new()
            });
            let mut position = segment.first();
            let mut records = Records::new(&bytes);
            for record in &mut records {
                match record.kind {
                    Kind::Event if position >= self.shipped => {
                        events += 1;
                        log.write_for(Need::Own, &record)?;
                    }
                    Kind::Lost if position >= self.shipped => log.write_for(Need::Own, &record)?,
                    Kind::Intent | Kind::Dispatched if !record.payload.is_empty() => {
                        if let Some(open) = self.open.get(&record.id)
                            && !log.is_open(record.id)
                        {
                            let kind = open.departure.kind();
                            let (at, id, payload) = (record.at, record.id, record.payload);
                            log.write_for(Need::Own, &record::encode(&mut buffer, kind, at, id, payload))?;
                        }
                    }
                    _ => {}
                }
                position += record.bytes.len() as u64;
            }
            if records.taken() < length {
                tracing::error!(
                    segment = segment.base,
                    "a segment of the removed directory is not whole; requests whose intent it lost do not depart"
                );
            }
            let missing = segment.events.saturating_sub(events);
            if missing > 0 {
                log.write_for(Need::Own, &record::lost(&mut buffer, missing))?;
            }
            *lost += missing;
        }
        Ok(())
    }
}

/// Makes all of a new home durable.
fn settle(log: &mut Log) -> io::Result<()> {
    if let Some(plan) = log.plan_sync() {
        plan.files.iter().try_for_each(|file| file.sync())?;
        plan.directory.iter().try_for_each(|directory| directory.sync())?;
        log.synced(plan.until);
    }
    Ok(())
}

impl Departure {
    /// The kind of a copy of the intent.
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Pending | Self::Barred => Kind::Intent,
            Self::Marked => Kind::Dispatched,
        }
    }
}

impl Log {
    /// Deletes the files of a home that was not moved into.
    fn clear(&mut self) {
        let disk = Arc::clone(&self.site.disk);
        if let Some(home) = &mut self.home {
            // Where it may count nothing of it goes.
            if chain_file::disown_copy(&**home.dir()).is_err() {
                return;
            }
            for segment in &self.segments {
                let _ = home.dir().remove(&segment::name(segment.base));
            }
            let _ = home.remove(&*disk);
        }
    }
}

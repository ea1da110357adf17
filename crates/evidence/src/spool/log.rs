//! The append-only log of one process: a chain of segments, and what is known about the records in them.
//!
//! Segments are deleted from the front alone. As the record that settles an intent always stands behind every
//! copy of it, a log that still shows an intent also shows how it was settled, unless a segment behind it cannot be read.

mod home;
mod look;
mod moving;
mod parked;
mod repair;
mod trim;
mod write;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::chain_file::Carried;
use super::disk::{DataFile, Directory, is_full};
use super::error::NoRoom;
use super::record::Record;
use super::segment::{Segment, Source};

use parked::Parked;
use write::Need;

pub(crate) use home::{Home, Site};

#[derive(Debug)]
pub(crate) struct Log {
    site: Site,
    /// None before there was space for one, and after the log was closed.
    home: Option<Home>,
    closed: bool,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    /// Bytes in all segments.
    disk: u64,
    head: u64,
    durable: u64,
    shipped: u64,
    /// The intents that wait for their outcome.
    open: HashMap<Uuid, Open>,
    /// Bytes of their records.
    open_bytes: u64,
    /// Files that were written to and left since the last sync.
    left: Vec<Arc<dyn DataFile>>,
    directory_changed: bool,
    /// What has been synced or is about to be.
    planned: u64,
    /// The flusher has been told that there is more to sync.
    announced: bool,
    fault: Option<Fault>,
    /// The disk has not answered the flusher for too long. Nobody else asks it for anything then: a write would hang too, and
    /// whoever waits for the log with it.
    stuck: bool,
    /// Why there is no whole spare segment.
    cramped: Option<NoRoom>,
    /// There is no space for another segment besides.
    short: bool,
    /// How many bytes of the active segment have their space, where it was the spare one and there is no other.
    last: Option<u64>,
    /// Outcomes that could not be written yet.
    owed: Parked,
    /// Refusals that could not be.
    refusals: Parked,
    waiting: u64,
    waiting_since: Option<i64>,
}

/// An intent that waits for its outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    /// The segment that holds the newest copy of it.
    base: u64,
    bytes: u64,
    departure: Departure,
}

/// Whether bytes of a request left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    /// They may yet.
    Pending,
    /// It is on record that they may have.
    Marked,
    /// They never will: the outcome says so.
    Barred,
}

/// Why nothing new may be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record could not be appended.
    Write(NoRoom),
    /// The operating system could not say that it kept what was appended, and may have forgotten it.
    Sync,
    /// There is no directory to append to: the volume was full when this process began, or it was removed.
    Homeless(NoRoom),
}

/// What to sync, and what is durable afterwards.
#[derive(Debug)]
pub(crate) struct SyncPlan {
    pub(crate) files: Vec<Arc<dyn DataFile>>,
    pub(crate) directory: Option<Arc<dyn Directory>>,
    pub(crate) until: u64,
}

impl Log {
    /// Makes a home for a log. Where there is no space for one, it begins without.
    pub(crate) fn create(site: Site) -> io::Result<Self> {
        match Self::at_home(site.clone(), 0, None) {
            Err(error) if is_full(&error) => {
                tracing::error!(%error, "there is no space for the evidence spool; requests are refused until there is");
                Ok(Self::homeless(site, 0))
            }
            made => made,
        }
    }

    /// An empty log that begins at this position, in a home of its own, and goes on with this chain.
    fn at_home(site: Site, base: u64, chain: Option<Carried>) -> io::Result<Self> {
        let mut log = Self::homeless(site, base);
        let (home, first) = Home::make(&log.site, base, chain)?;
        log.home = Some(home);
        log.fault = None;
        log.enter(first);
        if let Some(wanted) = log.spare_of(log.site.segment_bytes) {
            log.equip(wanted.make());
        }
        Ok(log)
    }

    fn homeless(site: Site, head: u64) -> Self {
        Self {
            site,
            home: None,
            closed: false,
            segments: VecDeque::new(),
            disk: 0,
            head,
            durable: head,
            shipped: 0,
            open: HashMap::new(),
            open_bytes: 0,
            left: Vec::new(),
            directory_changed: true,
            planned: head,
            announced: false,
            fault: Some(Fault::Homeless(NoRoom::NoSpace)),
            stuck: false,
            cramped: None,
            short: false,
            last: None,
            owed: Parked::default(),
            refusals: Parked::default(),
            waiting: 0,
            waiting_since: None,
        }
    }

    fn is_homeless(&self) -> bool {
        self.home.is_none() || matches!(self.fault, Some(Fault::Homeless(_)))
    }

    pub(crate) const fn site(&self) -> &Site {
        &self.site
    }

    pub(crate) const fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// Bytes on disk and bytes that could not be put there yet.
    pub(crate) const fn bytes(&self) -> u64 {
        self.disk + self.owed.bytes() + self.refusals.bytes()
    }

    pub(crate) fn files(&self) -> usize {
        self.segments.len()
    }

    pub(crate) const fn head(&self) -> u64 {
        self.head
    }

    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Why nothing may be promised, if so.
    pub(crate) fn shut(&self) -> Option<NoRoom> {
        match self.fault {
            _ if self.closed => Some(NoRoom::Closed),
            Some(Fault::Write(why) | Fault::Homeless(why)) => Some(why),
            Some(Fault::Sync) => Some(NoRoom::Unwritable),
            None => self.cramped.or(self.last.map(|_| NoRoom::NoSpace)),
        }
    }

    /// Events that are not shipped yet, and when the oldest of them was recorded.
    pub(crate) const fn waiting(&self) -> (u64, Option<i64>) {
        (self.waiting, self.waiting_since)
    }

    /// Whether this id is that of an intent that waits for its outcome.
    pub(crate) fn is_open(&self, id: Uuid) -> bool {
        self.open.contains_key(&id)
    }

    /// Where the bytes of a segment are.
    pub(crate) fn source(&self, base: u64) -> Source {
        match &self.home {
            Some(home) => home.source(base),
            None => Source::Memory(Arc::default()),
        }
    }

    /// Appends a record, or says why it cannot.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.append_for(self.need(record), record)
    }

    fn append_for(&mut self, need: Need, record: &Record<'_>) -> io::Result<()> {
        let is_barred = match self.fault {
            // What was promised may fit the space that is kept back.
            Some(Fault::Write(NoRoom::NoSpace)) => need == Need::New,
            fault => fault.is_some(),
        };
        if is_barred || self.closed || self.stuck {
            return Err(io::Error::other("the spool takes no records now"));
        }
        self.write_for(need, record)
            .inspect_err(|error| self.fault = Some(Fault::of(error)))
    }

    /// Records that bytes of a request are about to leave.
    pub(crate) fn depart(&mut self, mark: &Record<'_>) -> io::Result<()> {
        let Some(open) = self.open.get(&mark.id).copied() else {
            return Err(io::Error::other("the request has ended"));
        };
        match open.departure {
            Departure::Marked => Ok(()),
            Departure::Barred => Err(io::Error::other("the request has ended")),
            Departure::Pending if self.segment(open.base).is_none() => {
                Err(io::Error::other("the intent of the request was lost"))
            }
            // Nobody waits for a mark to be durable.
            Departure::Pending => self.quietly(|log| log.append(mark)),
        }
    }

    /// Writes something for whose sake alone nobody need sync.
    fn quietly(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let is_quiet = self.planned == self.head;
        write(self)?;
        if is_quiet {
            self.planned = self.head;
        }
        Ok(())
    }

    /// Whether bytes of a request may have left. If not, none will.
    pub(crate) fn bar(&mut self, id: Uuid) -> bool {
        let Some(open) = self.open.get_mut(&id) else {
            return false;
        };
        if open.departure == Departure::Pending {
            open.departure = Departure::Barred;
        }
        open.departure == Departure::Marked
    }

    fn segment(&mut self, base: u64) -> Option<&mut Segment> {
        let at = self.segments.partition_point(|segment| segment.base < base);
        self.segments.get_mut(at).filter(|segment| segment.base == base)
    }

    /// Leaves the active segment for a new one.
    fn roll(&mut self) -> io::Result<()> {
        let home = self.home.as_mut().ok_or_else(no_segment)?;
        let file = home.create(self.head)?;
        self.leave_for(file, None)
    }

    /// Leaves the active segment for the spare one.
    fn roll_to_spare(&mut self) -> io::Result<()> {
        let home = self.home.as_mut().ok_or_else(no_segment)?;
        let spare = home.take_spare(self.head)?;
        self.leave_for(spare.file, Some(spare.bytes))
    }

    /// Leaves the active segment for the spare one.
    #[cfg(test)]
    pub(crate) fn use_spare(&mut self) -> io::Result<()> {
        self.roll_to_spare()
    }

    /// How many bytes are left of the space that is kept back, and how many the intents take that may have to go there.
    #[cfg(test)]
    pub(crate) fn kept_back(&self) -> (u64, u64) {
        let used = self.segments.back().map_or(0, |active| active.len);
        let in_active = self.last.map_or(0, |last| last.saturating_sub(used));
        let spare = self.home.as_ref().and_then(Home::spare_bytes);
        (in_active.max(spare.unwrap_or(0)), self.open_bytes)
    }

    fn leave_for(&mut self, file: Arc<dyn DataFile>, last: Option<u64>) -> io::Result<()> {
        let next = Segment::fresh(self.head);
        let len = self.segments.back().map(|active| active.len);
        let home = self.home.as_mut().ok_or_else(no_segment)?;
        let left = home.take_up(next.base, file)?;
        if let Some(len) = len {
            // It may have been the spare one, and have more space than it needs.
            let _ = left.cut(len);
        }
        self.left.push(left);
        self.last = last;
        self.enter(next);
        Ok(())
    }

    fn enter(&mut self, next: Segment) {
        self.directory_changed = true;
        self.disk += next.len;
        self.head = next.end();
        self.segments.push_back(next);
    }

    /// Whether the flusher must be told that there is something to sync. True once per sync.
    pub(crate) fn announce(&mut self) -> bool {
        let is_owed = self.has_parked() && self.fault.is_none();
        let news = (self.head > self.planned || is_owed) && !self.announced;
        self.announced |= news;
        news
    }

    /// What to sync, if anything.
    pub(crate) fn plan_sync(&mut self) -> Option<SyncPlan> {
        self.announced = false;
        self.planned = self.head;
        let home = self.home.as_ref().filter(|_| self.head > self.durable)?;
        let mut files = std::mem::take(&mut self.left);
        files.push(Arc::clone(home.active()));
        let directory = std::mem::take(&mut self.directory_changed).then(|| Arc::clone(home.dir()));
        Some(SyncPlan {
            files,
            directory,
            until: self.head,
        })
    }

    /// Everything before this position survives a power cut.
    pub(crate) fn synced(&mut self, until: u64) {
        self.durable = self.durable.max(until);
    }

    pub(crate) fn sync_failed(&mut self) {
        self.fault = Some(Fault::Sync);
    }

    /// Notes that it could not be seen whether the files are in their place.
    pub(crate) fn look_failed(&mut self) {
        self.fault.get_or_insert(Fault::Write(NoRoom::Unwritable));
    }

    /// Whether what is written can become durable, also where nothing more can be written.
    pub(crate) const fn is_syncable(&self) -> bool {
        !matches!(self.fault, Some(Fault::Sync | Fault::Homeless(_)))
    }
}

impl Fault {
    /// The fault that this answer of the system to a write means.
    fn of(error: &io::Error) -> Self {
        Self::Write(if is_full(error) {
            NoRoom::NoSpace
        } else {
            NoRoom::Unwritable
        })
    }
}

fn no_segment() -> io::Error {
    io::Error::other("the spool has no segment")
}

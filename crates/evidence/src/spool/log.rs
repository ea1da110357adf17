//! The append-only log of one process: a chain of segments, and what is known about the records in them.
//!
//! Segments are deleted from the front alone. As the record that settles an intent always stands behind every
//! copy of it, a log that still shows an intent also shows how it was settled.

mod repair;
mod trim;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use uuid::Uuid;

use super::claim::Claim;
use super::record::{Kind, Record};
use super::segment::{self, Segment};

#[derive(Debug)]
pub(crate) struct Log {
    claim: Claim,
    segment_bytes: u64,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    active: Arc<File>,
    /// Bytes in all segments.
    disk: u64,
    head: u64,
    durable: u64,
    shipped: u64,
    /// The intents that wait for their outcome, and the segment that holds the newest copy of each.
    open: HashMap<Uuid, u64>,
    /// Files that were written to and left since the last sync.
    left: Vec<Arc<File>>,
    directory_changed: bool,
    /// What has been synced or is about to be.
    planned: u64,
    /// The flusher has been told that there is more to sync.
    announced: bool,
    fault: Option<Fault>,
    /// Records that could not be written yet.
    parked: VecDeque<Vec<u8>>,
    parked_bytes: u64,
    waiting: u64,
    waiting_since: Option<i64>,
}

/// Why nothing new may be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record could not be appended.
    Write,
    /// The operating system could not say that it kept what was appended, and may have forgotten it.
    Sync,
}

/// What to sync, and what is durable afterwards.
#[derive(Debug)]
pub(crate) struct SyncPlan {
    pub(crate) files: Vec<Arc<File>>,
    pub(crate) directory: bool,
    pub(crate) until: u64,
}

impl Log {
    pub(crate) fn create(claim: Claim, segment_bytes: u64) -> io::Result<Self> {
        let active = Arc::new(segment::create(claim.path(), 0)?);
        let first = Segment::empty(0);
        Ok(Self {
            claim,
            segment_bytes,
            disk: first.len,
            head: first.end(),
            durable: 0,
            shipped: 0,
            segments: VecDeque::from([first]),
            active,
            open: HashMap::new(),
            left: Vec::new(),
            directory_changed: true,
            planned: 0,
            announced: false,
            fault: None,
            parked: VecDeque::new(),
            parked_bytes: 0,
            waiting: 0,
            waiting_since: None,
        })
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Bytes on disk and bytes that could not be put there yet.
    pub(crate) const fn bytes(&self) -> u64 {
        self.disk + self.parked_bytes
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

    /// Events that are not shipped yet, and when the oldest of them was recorded.
    pub(crate) const fn waiting(&self) -> (u64, Option<i64>) {
        (self.waiting, self.waiting_since)
    }

    /// Whether this id is that of an intent that waits for its outcome.
    pub(crate) fn is_open(&self, id: Uuid) -> bool {
        self.open.contains_key(&id)
    }

    /// Appends a record, or says why it cannot.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.fault.is_some() || self.is_closed() {
            return Err(io::Error::other("the spool takes no records now"));
        }
        self.write(record)
            .inspect_err(|_| self.fault = Some(Fault::Write))
    }

    /// Appends a record whose place was promised. What cannot be written now is kept and written later.
    pub(crate) fn append_or_park(&mut self, record: &Record<'_>) {
        if self.append(record).is_err() {
            self.parked_bytes += record.bytes.len() as u64;
            self.parked.push_back(record.bytes.to_vec());
        }
    }

    fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        let length = record.bytes.len() as u64;
        if self
            .segments
            .back()
            .is_none_or(|active| active.len + length > self.segment_bytes)
        {
            self.roll()?;
        }
        let Some(active) = self.segments.back_mut() else {
            return Err(io::Error::other("the spool has no segment"));
        };
        if let Err(error) = self.active.write_all_at(record.bytes, active.len) {
            // What did get there is overwritten by the next record, or cut when the segment is read again.
            let _ = self.active.set_len(active.len);
            return Err(error);
        }
        active.len += length;
        self.disk += length;
        self.head = active.end();
        match record.kind {
            Kind::Intent => {
                active.open += 1;
                let base = active.base;
                self.moved(record.id, Some(base));
            }
            Kind::Event => {
                active.events += 1;
                self.moved(record.id, None);
                self.waiting += 1;
                self.waiting_since.get_or_insert(record.at);
            }
            Kind::Cancel => self.moved(record.id, None),
            Kind::Ack => {}
        }
        Ok(())
    }

    /// Notes where an intent stands from now on, or that it is settled.
    fn moved(&mut self, id: Uuid, to: Option<u64>) {
        let from = match to {
            Some(base) => self.open.insert(id, base),
            None => self.open.remove(&id),
        };
        let head = self.head;
        if let Some(segment) = from.and_then(|base| self.segment(base)) {
            segment.open = segment.open.saturating_sub(1);
            segment.settled = head;
        }
    }

    fn segment(&mut self, base: u64) -> Option<&mut Segment> {
        let at = self.segments.partition_point(|segment| segment.base < base);
        self.segments.get_mut(at).filter(|segment| segment.base == base)
    }

    /// Leaves the active segment for a new one.
    fn roll(&mut self) -> io::Result<()> {
        let next = Segment::empty(self.head);
        let file = Arc::new(segment::create(self.claim.path(), next.base)?);
        self.left.push(std::mem::replace(&mut self.active, file));
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
        let news = self.head > self.planned && !self.announced;
        self.announced |= news;
        news
    }

    /// What to sync, if anything.
    pub(crate) fn plan_sync(&mut self) -> Option<SyncPlan> {
        self.announced = false;
        self.planned = self.head;
        if self.head == self.durable {
            return None;
        }
        let mut files = std::mem::take(&mut self.left);
        files.push(Arc::clone(&self.active));
        let directory = std::mem::take(&mut self.directory_changed);
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

    #[cfg(test)]
    pub(crate) fn replace_active(&mut self, file: File) -> Arc<File> {
        std::mem::replace(&mut self.active, Arc::new(file))
    }

    #[cfg(test)]
    pub(crate) fn restore_active(&mut self, file: Arc<File>) {
        self.active = file;
    }
}

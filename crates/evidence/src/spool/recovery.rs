//! Taking over what a process left behind.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use uuid::Uuid;

use super::claim::Claim;
use super::inner::Inner;
use super::record::{self, Kind, Record};
use super::segment::{self, PREFACE, Records, Segment};
use super::stats::{Counters, add, subtract};
use super::unreadable::is_of_the_file;

/// How many spools are adopted in one go: each costs a file descriptor until it is shipped.
const MAX_ORPHANS: usize = 64;

/// The spool of a process that is gone. Every event in it is finished and durable.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) claim: Claim,
    /// Oldest first.
    pub(crate) segments: VecDeque<Segment>,
    /// What is shipped up to.
    pub(crate) shipped: u64,
    /// How many intents recovery has finished as interrupted.
    pub(crate) interrupted: u64,
    /// Bytes, at the end of segments, that were no records.
    pub(crate) torn: u64,
}

impl Orphan {
    /// Where to ship on from.
    pub(crate) fn unshipped(&self) -> Option<(Segment, u64)> {
        let mut segments = self.segments.iter();
        segments.find_map(|segment| Some((*segment, segment.beyond(self.shipped)?)))
    }

    /// Notes what is shipped, or that the rest of the segment cannot be, and deletes what is done with.
    pub(crate) fn ship(&mut self, until: u64, damaged: bool, counters: &Counters) -> io::Result<()> {
        let mut segments = self.segments.iter_mut();
        let current = segments.find(|segment| segment.beyond(self.shipped).is_some());
        self.shipped = self.shipped.max(until);
        if damaged && let Some(segment) = current {
            segment.damaged = true;
            self.shipped = self.shipped.max(segment.end());
            add(&counters.dropped, 1);
        }
        self.trim(counters)
    }

    /// Deletes what is done with, oldest first.
    fn trim(&mut self, counters: &Counters) -> io::Result<()> {
        while let Some(front) = self.segments.front()
            && front.beyond(self.shipped).is_none()
        {
            segment::discard(self.claim.path(), front)?;
            subtract(&counters.adopted_bytes, front.len);
            subtract(&counters.adopted_files, 1);
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Deletes all of it once everything is shipped. Files that were kept aside stay.
    pub(crate) fn remove(&mut self, counters: &Counters) -> io::Result<()> {
        self.trim(counters)?;
        match self.claim.remove() {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }
}

/// Adopts the spools that no living process owns, but not too many at once. One that cannot be read is left for
/// a later try; neither it nor one in which only files that were kept aside are left counts as one of them, or
/// such would in the end be all that is adopted.
pub(crate) fn adopt(inner: &Inner) -> io::Result<Vec<Orphan>> {
    let counters = &inner.counters;
    let mut found = Vec::new();
    let user = inner.with_log(|log| log.claim().user())?;
    for claim in Claim::orphans(&inner.root, user)? {
        let path = claim.path().display().to_string();
        match recover(claim) {
            Ok(mut orphan) => {
                let (interrupted, torn) = (orphan.interrupted, orphan.torn);
                let damaged = orphan.segments.iter().filter(|segment| segment.damaged).count();
                if orphan.unshipped().is_some() {
                    tracing::info!(
                        path,
                        interrupted,
                        torn,
                        damaged,
                        "adopted the evidence of a process that ended"
                    );
                }
                add(&counters.recovered, interrupted);
                add(&counters.dropped, damaged as u64);
                add(&counters.adopted_files, orphan.segments.len() as u64);
                add(
                    &counters.adopted_bytes,
                    orphan.segments.iter().map(|segment| segment.len).sum(),
                );
                let is_over = orphan.unshipped().is_none() && damaged == orphan.segments.len();
                if is_over && orphan.remove(counters).is_ok() {
                    continue;
                }
                found.push(orphan);
            }
            Err(error) => tracing::error!(path, %error, "an abandoned evidence spool cannot be adopted"),
        }
        if found.len() == MAX_ORPHANS {
            break;
        }
    }
    found.sort_by(|a, b| a.claim.path().cmp(b.claim.path()));
    Ok(found)
}

/// Cuts torn tails, finishes the intents without an outcome, and makes all of it durable.
///
/// Repeated after a crash in the middle, it has the same result: what it adds is the payload of the intents, so an
/// event has the same bytes however often it is made.
pub(crate) fn recover(claim: Claim) -> io::Result<Orphan> {
    let bases = segment::list(claim.path())?;
    let mut scan = Scan::default();
    let mut segments = VecDeque::new();
    for (n, base) in bases.iter().enumerate() {
        segments.push_back(scan.segment(&claim, *base, n + 1 == bases.len())?);
    }
    let mut interrupted = 0;
    if !scan.open.is_empty() {
        let base = segments.back().map_or(0, Segment::end).max(scan.beyond);
        let (segment, count) = finish(&claim, base, scan.open)?;
        segments.push_back(segment);
        interrupted = count;
    }
    claim.sync()?;
    Ok(Orphan {
        claim,
        segments,
        shipped: scan.shipped,
        interrupted,
        torn: scan.torn,
    })
}

#[derive(Debug, Default)]
struct Scan {
    /// The intents without an outcome: where the first copy of each stands, when it was made, its payload.
    open: HashMap<Uuid, Intent>,
    shipped: u64,
    torn: u64,
    /// The position behind the last byte of any file.
    beyond: u64,
}

#[derive(Debug)]
struct Intent {
    position: u64,
    at: i64,
    payload: Vec<u8>,
}

impl Scan {
    /// One that cannot be read is set aside with all that it holds; the others are read all the same.
    fn segment(&mut self, claim: &Claim, base: u64, last: bool) -> io::Result<Segment> {
        let path = segment::path(claim.path(), base);
        let (file, bytes) = match read_whole(&path) {
            Err(error) if is_of_the_file(&error) => {
                tracing::error!(path = %path.display(), %error, "a segment of an abandoned spool cannot be read");
                return Ok(Segment {
                    damaged: true,
                    ..Segment::empty(base)
                });
            }
            read => read?,
        };
        let size = bytes.len() as u64;
        let mut segment = Segment::empty(base);
        if let Some((preface, body)) = bytes.split_first_chunk::<{ PREFACE.len() }>() {
            if *preface != PREFACE && preface.iter().any(|byte| *byte != 0) {
                return Err(io::Error::other("a segment of another format"));
            }
            let mut records = Records::new(body);
            let mut position = segment.first();
            for record in &mut records {
                self.record(&record, position, &mut segment);
                position += record.bytes.len() as u64;
            }
            segment.len += records.taken() as u64;
        }
        if size > segment.len {
            self.torn += size - segment.len;
            if last {
                file.set_len(segment.len)?;
            } else {
                // A tail tears where writing ended. Anything else is damage, and is kept.
                segment.damaged = true;
            }
        }
        self.beyond = self.beyond.max(base.saturating_add(size.max(segment.len)));
        file.write_all_at(&PREFACE, 0)?;
        file.sync_all()?;
        Ok(segment)
    }

    fn record(&mut self, record: &Record<'_>, position: u64, segment: &mut Segment) {
        match record.kind {
            Kind::Intent => {
                self.open.entry(record.id).or_insert_with(|| Intent {
                    position,
                    at: record.at,
                    payload: record.payload.to_vec(),
                });
            }
            Kind::Event => {
                segment.events += 1;
                self.open.remove(&record.id);
            }
            Kind::Cancel => {
                self.open.remove(&record.id);
            }
            Kind::Ack => self.shipped = self.shipped.max(record::acked(record).unwrap_or(0)),
        }
    }
}

fn read_whole(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

/// Writes the events of interrupted requests, in the order of their intents, to a segment of their own.
fn finish(claim: &Claim, base: u64, open: HashMap<Uuid, Intent>) -> io::Result<(Segment, u64)> {
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort_unstable_by_key(|(_, intent)| intent.position);
    let file: File = segment::create(claim.path(), base)?;
    let mut segment = Segment::empty(base);
    let mut buffer = Vec::new();
    for (id, intent) in open {
        let event = record::encode(&mut buffer, Kind::Event, intent.at, id, &intent.payload);
        file.write_all_at(event.bytes, segment.len)?;
        segment.len += event.bytes.len() as u64;
        segment.events += 1;
    }
    file.sync_all()?;
    Ok((segment, segment.events))
}

//! The files of a spool.
//!
//! A position counts the bytes that were ever appended to a spool. A segment is named after the position at
//! which it begins, so the names alone put the segments in order, and a position alone finds its file.

use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::disk::{DataFile, Directory, gone_is_fine};
use super::record::{self, Broken, HEADER, Record};

/// What every segment begins with; the last byte is the version of the record format.
pub(crate) const PREFACE: [u8; 8] = *b"carspl\n\x02";

/// The version before, which says neither what was dispatched nor when it was written.
pub(crate) const PREFACE_BEFORE: [u8; 8] = *b"carspl\n\x01";

const SUFFIX: &str = ".seg";
/// What the names of segments end with that were set aside.
pub(crate) const ASIDE: &str = ".damaged";

/// The name of the file that becomes the next segment.
pub(crate) const SPARE: &str = "spare";

/// One file of a spool, as far as it is known to be sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The position of its first byte.
    pub(crate) base: u64,
    /// How many of its bytes count.
    pub(crate) len: u64,
    /// How many intents in it still wait for their outcome.
    pub(crate) open: u32,
    /// The position behind the last record that settled or moved one of its intents: until that is durable,
    /// the intent must stay.
    pub(crate) settled: u64,
    /// How many events in it are not shipped.
    pub(crate) events: u64,
    /// It holds bytes that cannot be read: the file is kept aside when it is done with, not deleted.
    pub(crate) damaged: bool,
}

impl Segment {
    /// A new segment: it says in which run of the operating system it was written.
    pub(crate) const fn fresh(base: u64) -> Self {
        let empty = Self::empty(base);
        Self {
            len: empty.len + HEADER as u64,
            ..empty
        }
    }

    /// A segment without a record.
    pub(crate) const fn empty(base: u64) -> Self {
        Self {
            base,
            len: PREFACE.len() as u64,
            open: 0,
            settled: 0,
            events: 0,
            damaged: false,
        }
    }

    /// The position behind its last byte.
    pub(crate) const fn end(&self) -> u64 {
        self.base.saturating_add(self.len)
    }

    /// The position of its first record.
    pub(crate) const fn first(&self) -> u64 {
        self.base.saturating_add(PREFACE.len() as u64)
    }

    /// Where in it to go on behind this position; none where nothing is left behind it.
    pub(crate) fn beyond(&self, position: u64) -> Option<u64> {
        let from = position.max(self.first());
        (self.end() > from).then_some(from)
    }
}

/// The name of the segment that begins at `base`.
pub(crate) fn name(base: u64) -> String {
    format!("{base:016x}{SUFFIX}")
}

/// The name under which that segment is set aside, for someone to look at.
pub(crate) fn name_aside(base: u64) -> String {
    format!("{base:016x}{ASIDE}")
}

/// Creates a file that is a [fresh](Segment::fresh) segment.
pub(crate) fn create(dir: &dyn Directory, name: &str, boot: Uuid) -> io::Result<Arc<dyn DataFile>> {
    let file = dir.create(name)?;
    let mut bytes = Vec::new();
    record::boot(&mut bytes, boot);
    bytes.splice(0..0, PREFACE);
    if let Err(error) = file.write_at(&bytes, 0) {
        let _ = dir.remove(name);
        return Err(error);
    }
    Ok(file)
}

/// The bases of the segments in a directory, in order.
pub(crate) fn list(dir: &dyn Directory) -> io::Result<Vec<u64>> {
    let names = dir.names()?;
    let bases = names.iter().filter_map(|name| name.strip_suffix(SUFFIX));
    let mut bases: Vec<u64> = bases
        .filter_map(|base| u64::from_str_radix(base, 16).ok())
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Deletes a segment that is done with; a damaged one is renamed, for someone to look at. What was deleted before is
/// made durable first: were an older segment to come back after a power cut, its intents would miss the outcomes in a
/// younger one.
pub(crate) fn discard(dir: &dyn Directory, segment: &Segment) -> io::Result<()> {
    dir.sync()?;
    let name = name(segment.base);
    gone_is_fine(if segment.damaged {
        dir.rename(&name, &name_aside(segment.base))
    } else {
        dir.remove(&name)
    })
}

/// Where the bytes of a segment are read.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In a file that is open.
    Open(Arc<dyn DataFile>),
    /// In a directory, under the segment's name.
    Named(Arc<dyn Directory>),
    /// Here.
    Memory(Arc<[u8]>),
}

/// Reads at most `limit` bytes of a segment from the given position on.
pub(crate) fn read(source: &Source, segment: &Segment, from: u64, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(segment.end().saturating_sub(from))
        .unwrap_or(limit)
        .min(limit);
    let offset = from.saturating_sub(segment.base);
    let mut bytes = vec![0; length];
    match source {
        Source::Open(file) => file.read_at(&mut bytes, offset)?,
        Source::Named(dir) => dir.open_file(&name(segment.base))?.read_at(&mut bytes, offset)?,
        Source::Memory(all) => {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let part = all.get(start..).and_then(|rest| rest.get(..length));
            bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
    }
    Ok(bytes)
}

/// The records in a run of bytes, up to the first that is incomplete or broken.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    taken: usize,
    stopped: Option<Broken>,
}

impl<'a> Records<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            taken: 0,
            stopped: None,
        }
    }

    /// How many bytes the records so far took.
    pub(crate) const fn taken(&self) -> usize {
        self.taken
    }

    /// What ended the records, where bytes were left over.
    pub(crate) const fn stopped(&self) -> Option<Broken> {
        self.stopped
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let rest = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty())?;
        match record::decode(rest) {
            Ok(record) => {
                self.taken += record.bytes.len();
                Some(record)
            }
            Err(broken) => {
                self.stopped = Some(broken);
                None
            }
        }
    }
}

//! The files of a spool.
//!
//! A position counts the bytes that were ever appended to a spool. A segment is named after the position at
//! which it begins, so the names alone put the segments in order, and a position alone finds its file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::{self, Broken, Record};

/// What every segment begins with; the last byte is the version of the record format.
pub(crate) const PREFACE: [u8; 8] = *b"carspl\n\x01";

const SUFFIX: &str = "seg";

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

pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:016x}.{SUFFIX}"))
}

/// Creates the segment that begins at `base`, readable by this user alone.
pub(crate) fn create(dir: &Path, base: u64) -> io::Result<File> {
    let path = path(dir, base);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    if let Err(error) = file.write_all_at(&PREFACE, 0) {
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(file)
}

/// The bases of the segments in a directory, in order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        bases.extend(base.and_then(|base| u64::from_str_radix(base, 16).ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Deletes a segment that is done with; a damaged one is renamed, for someone to look at.
pub(crate) fn discard(dir: &Path, segment: &Segment) -> io::Result<()> {
    let path = path(dir, segment.base);
    let done = if segment.damaged {
        fs::rename(&path, path.with_extension("damaged"))
    } else {
        fs::remove_file(&path)
    };
    done.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// Reads at most `limit` bytes of a segment from the given position on.
pub(crate) fn read(dir: &Path, segment: &Segment, from: u64, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(segment.end().saturating_sub(from))
        .unwrap_or(limit)
        .min(limit);
    let mut bytes = vec![0; length];
    let file = File::open(path(dir, segment.base))?;
    file.read_exact_at(&mut bytes, from.saturating_sub(segment.base))?;
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

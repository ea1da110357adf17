//! Where a log lies: its directory, its open files, and the spare one.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::spool::claim::Claim;
use crate::spool::disk::{DataFile, Directory, Disk, Identity, gone_is_fine, is_full};
use crate::spool::segment::{self, SPARE, Segment, Source};

use super::Log;

/// How many segments are held open, the newest. What is held can be read even if somebody removes it.
const MAX_HELD: usize = 64;

/// How many segments a volume should have place for, and the least size of one.
const SEGMENTS_PER_VOLUME: u64 = 8;
const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// The least space that a spare segment is worth having for.
const MIN_SPARE_BYTES: u64 = 16 * 1024;

/// Where homes are made, and how.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    /// The run of the operating system.
    pub(crate) boot: Uuid,
    /// How long a segment gets.
    pub(crate) segment_bytes: u64,
}

impl Site {
    /// Segments of at most this size, and smaller ones where the volume holds few of them.
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf, most: u64) -> Self {
        let free = disk.open(&root, false).and_then(|dir| dir.available());
        let fitting = free.map_or(most, |free| (free / SEGMENTS_PER_VOLUME).max(MIN_SEGMENT_BYTES));
        Self {
            boot: disk.boot(),
            segment_bytes: most.min(fitting),
            disk,
            root,
        }
    }
}

/// The directory of a log.
///
/// It holds a spare segment whose space is allocated: even on a full volume the log can leave its active segment, and
/// move the intents of live requests on, so that what is shipped can be deleted.
#[derive(Debug)]
pub(crate) struct Home {
    claim: Claim,
    boot: Uuid,
    active: Arc<dyn DataFile>,
    /// The newest segments, oldest first, the active one included.
    held: VecDeque<HeldSegment>,
    spare: Option<Arc<dyn DataFile>>,
}

/// A segment that is held open.
#[derive(Debug, Clone)]
pub(crate) struct HeldSegment {
    pub(crate) base: u64,
    file: Arc<dyn DataFile>,
    identity: Identity,
}

/// What is needed to see whether a home is still in its place.
#[derive(Debug)]
pub(crate) struct Look {
    disk: Arc<dyn Disk>,
    claim: Claim,
    held: Vec<HeldSegment>,
}

/// What is needed to make a spare segment.
#[derive(Debug)]
pub(crate) struct WantedSpare {
    dir: Arc<dyn Directory>,
    boot: Uuid,
    bytes: u64,
}

impl Home {
    /// Makes a directory with one segment in it.
    pub(crate) fn make(site: &Site, base: u64) -> io::Result<(Self, Segment)> {
        let claim = Claim::create(&*site.disk, &site.root)?;
        match Self::furnish(claim.clone(), site.boot, base) {
            Ok(home) => Ok((home, Segment::fresh(base))),
            Err(error) => {
                let _ = claim.dir().remove(&segment::name(base));
                let _ = claim.remove(&*site.disk);
                Err(error)
            }
        }
    }

    fn furnish(claim: Claim, boot: Uuid, base: u64) -> io::Result<Self> {
        let active = segment::create(&**claim.dir(), &segment::name(base), boot)?;
        let mut home = Self {
            claim,
            boot,
            active: Arc::clone(&active),
            held: VecDeque::new(),
            spare: None,
        };
        home.hold(base, active)?;
        Ok(home)
    }

    fn hold(&mut self, base: u64, file: Arc<dyn DataFile>) -> io::Result<()> {
        let identity = file.identity()?;
        if self.held.len() == MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(HeldSegment { base, file, identity });
        Ok(())
    }

    pub(crate) const fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn dir(&self) -> &Arc<dyn Directory> {
        self.claim.dir()
    }

    pub(crate) const fn active(&self) -> &Arc<dyn DataFile> {
        &self.active
    }

    pub(crate) const fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    pub(crate) fn source(&self, base: u64) -> Source {
        match self.held.iter().find(|held| held.base == base) {
            Some(held) => Source::Open(Arc::clone(&held.file)),
            None => Source::Named(Arc::clone(self.dir())),
        }
    }

    /// The file of a new segment: the spare, or else a new one.
    pub(super) fn next(&mut self, base: u64) -> io::Result<Arc<dyn DataFile>> {
        let (dir, name) = (self.claim.dir(), segment::name(base));
        let Some(spare) = &self.spare else {
            // A try that failed may have left one.
            gone_is_fine(dir.remove(&name))?;
            return segment::create(&**dir, &name, self.boot);
        };
        dir.rename(SPARE, &name)?;
        let next = Arc::clone(spare);
        self.spare = None;
        Ok(next)
    }

    /// Writes to this file from now on, and returns the one that was written to.
    pub(super) fn take_up(&mut self, base: u64, file: Arc<dyn DataFile>) -> io::Result<Arc<dyn DataFile>> {
        self.hold(base, Arc::clone(&file))?;
        Ok(std::mem::replace(&mut self.active, file))
    }

    pub(super) fn forget(&mut self, base: u64) {
        self.held.retain(|held| held.base != base);
    }

    /// Deletes the spare and the directory, if nothing else is left in it.
    pub(super) fn remove(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.spare = None;
        gone_is_fine(self.dir().remove(SPARE))?;
        match self.claim.remove(disk) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => gone_is_fine(removed),
        }
    }
}

impl Look {
    /// Whether the directory and the segments still stand under their names.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        if !self.claim.is_in_place(&*self.disk)? {
            return Ok(false);
        }
        for held in &self.held {
            match self.claim.dir().identity_of(&segment::name(held.base)) {
                Ok(there) if there == held.identity => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(_) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl WantedSpare {
    /// Makes a spare with as much space as there is, up to what is wanted.
    pub(crate) fn make(&self) -> io::Result<Arc<dyn DataFile>> {
        gone_is_fine(self.dir.remove(SPARE))?;
        let spare = segment::create(&*self.dir, SPARE, self.boot)?;
        let mut bytes = self.bytes;
        loop {
            match spare.allocate(bytes) {
                Ok(()) => return Ok(spare),
                Err(error) if is_full(&error) && bytes > MIN_SPARE_BYTES => bytes /= 2,
                Err(error) => {
                    let _ = self.dir.remove(SPARE);
                    return Err(error);
                }
            }
        }
    }
}

impl Log {
    /// What to look at to see whether the home is in its place.
    pub(crate) fn look(&self) -> Option<Look> {
        let home = self.home.as_ref().filter(|_| !self.is_homeless())?;
        Some(Look {
            disk: Arc::clone(&self.site.disk),
            claim: home.claim.clone(),
            held: home.held.iter().cloned().collect(),
        })
    }

    /// The spare segment to make, where one is missing.
    pub(crate) fn wanted_spare(&self) -> Option<WantedSpare> {
        let home = self.home.as_ref().filter(|home| !home.has_spare())?;
        (!self.is_homeless()).then(|| WantedSpare {
            dir: Arc::clone(home.dir()),
            boot: home.boot,
            bytes: self.site.segment_bytes,
        })
    }

    /// Takes a spare segment, or notes why there is none.
    pub(crate) fn equip(&mut self, spare: io::Result<Arc<dyn DataFile>>) {
        let cramped = spare.as_ref().is_err_and(is_full);
        match (spare, &mut self.home) {
            (Ok(spare), Some(home)) => home.spare = Some(spare),
            (Err(error), _) if !cramped => {
                tracing::warn!(%error, "the next evidence segment cannot be prepared");
            }
            (Err(error), _) if !self.cramped => {
                tracing::error!(%error, "the volume of the evidence spool is full; requests are refused until there is space");
            }
            _ => {}
        }
        if self.cramped && !cramped {
            tracing::info!("the volume of the evidence spool has space again");
        }
        self.cramped = cramped;
    }

    /// Gives back the space behind the last record, for a spare segment to take. False where there is none.
    pub(crate) fn shrink(&self) -> bool {
        let (Some(home), Some(active)) = (&self.home, self.segments.back()) else {
            return false;
        };
        home.active.cut(active.len).is_ok()
    }
}

//! Where a log lies: its directory, its open files, and the spare one.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::chain::{Chain, CheckpointKey};
use crate::spool::chain_file::{self, CHAIN, COPY, Carried, ChainFile};
use crate::spool::claim::Claim;
use crate::spool::disk::{DataFile, Directory, Disk, Identity, gone_is_fine, is_full};
use crate::spool::error::NoRoom;
use crate::spool::segment::{self, SPARE, Segment, Source};

use super::{Fault, Log};

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
    /// How long a segment may get on any volume.
    most: u64,
    /// How long one gets on this volume, as things are.
    pub(crate) segment_bytes: u64,
    /// Signs checkpoints; where there is none each process has a key of its own.
    pub(crate) checkpoint_key: Option<CheckpointKey>,
}

impl Site {
    /// Segments of at most this size, and smaller ones where the volume holds few of them.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        most: u64,
        checkpoint_key: Option<CheckpointKey>,
    ) -> Self {
        // Where it cannot be made, it is said when it is needed.
        let free = disk.open(&root, true).and_then(|dir| dir.available());
        let mut site = Self {
            boot: disk.boot(),
            most,
            segment_bytes: most,
            disk,
            root,
            checkpoint_key,
        };
        site.segment_bytes = site.fitting(free.unwrap_or(u64::MAX));
        site
    }

    /// How long segments should get where this process has so much of the volume.
    fn fitting(&self, share: u64) -> u64 {
        (share / SEGMENTS_PER_VOLUME)
            .max(MIN_SEGMENT_BYTES)
            .min(self.most)
    }

    /// A new chain.
    fn chain(&self) -> io::Result<Chain> {
        let key = self.checkpoint_key.clone().or_else(CheckpointKey::generate);
        let key = key.ok_or_else(|| io::Error::other("no key for checkpoints can be made"))?;
        let chain = Chain::new(Uuid::new_v4(), key);
        tracing::info!(chain = %chain.id, key = %chain.public.hex(), "a chain of audit events begins");
        Ok(chain)
    }
}

/// The directory of a log.
///
/// It holds a spare segment whose space is allocated and which nothing new is written to: even on a full volume the log
/// can move the intents of live requests on, so that what is shipped can be deleted, and take outcomes.
#[derive(Debug)]
pub(crate) struct Home {
    pub(super) claim: Claim,
    boot: Uuid,
    active: Arc<dyn DataFile>,
    /// The newest segments, oldest first, the active one included.
    pub(super) held: VecDeque<HeldSegment>,
    pub(super) spare: Option<Spare>,
    pub(super) chain: ChainFile,
}

/// A file that becomes a segment where no other can.
#[derive(Debug, Clone)]
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DataFile>,
    /// How many bytes it has the space for.
    pub(crate) bytes: u64,
}

/// A segment that is held open.
#[derive(Debug, Clone)]
pub(crate) struct HeldSegment {
    pub(crate) base: u64,
    file: Arc<dyn DataFile>,
    pub(super) identity: Identity,
}

/// What is needed to make a spare segment.
#[derive(Debug)]
pub(crate) struct WantedSpare {
    /// The one that is there and of another size.
    other: Option<Spare>,
    dir: Arc<dyn Directory>,
    boot: Uuid,
    bytes: u64,
}

impl Home {
    /// Makes a directory with one segment in it, which begins a chain, or that of a copy which goes on with one.
    pub(crate) fn make(site: &Site, base: u64, chain: Option<Carried>) -> io::Result<(Self, Segment)> {
        let claim = Claim::create(&*site.disk, &site.root)?;
        match Self::furnish(claim.clone(), site, base, chain) {
            Ok(home) => Ok((home, Segment::fresh(base))),
            Err(error) => {
                let _ = claim.dir().remove(&segment::name(base));
                let _ = chain_file::remove(&**claim.dir());
                let _ = claim.remove(&*site.disk);
                Err(error)
            }
        }
    }

    fn furnish(claim: Claim, site: &Site, base: u64, carried: Option<Carried>) -> io::Result<Self> {
        let name = if carried.is_some() { COPY } else { CHAIN };
        let new = || site.chain().map(|chain| Carried { chain, at: 0 });
        let carried = carried.map_or_else(new, Ok)?;
        let chain = ChainFile::create(&**claim.dir(), name, carried, base, site.checkpoint_key.is_some())?;
        // Segments that are found without it are taken for those of a build that made no chains.
        claim.dir().sync()?;
        let active = segment::create(&**claim.dir(), &segment::name(base), site.boot)?;
        let mut home = Self {
            claim,
            boot: site.boot,
            active: Arc::clone(&active),
            held: VecDeque::new(),
            spare: None,
            chain,
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

    /// How many bytes the spare segment has the space for.
    pub(crate) fn spare_bytes(&self) -> Option<u64> {
        self.spare.as_ref().map(|spare| spare.bytes)
    }

    pub(super) fn spare(&self) -> Option<Arc<dyn DataFile>> {
        self.spare.as_ref().map(|spare| Arc::clone(&spare.file))
    }

    pub(crate) fn source(&self, base: u64) -> Source {
        match self.held.iter().find(|held| held.base == base) {
            Some(held) => Source::Open(Arc::clone(&held.file)),
            None => Source::Named(Arc::clone(self.dir())),
        }
    }

    /// Makes the file of a new segment.
    pub(super) fn create(&self, base: u64) -> io::Result<Arc<dyn DataFile>> {
        let name = segment::name(base);
        // A try that failed may have left one.
        gone_is_fine(self.dir().remove(&name))?;
        segment::create(&**self.dir(), &name, self.boot)
    }

    /// Makes the spare a segment.
    pub(super) fn take_spare(&mut self, base: u64) -> io::Result<Spare> {
        let spare = self.spare.take().ok_or(io::ErrorKind::NotFound)?;
        self.dir().rename(SPARE, &segment::name(base))?;
        Ok(spare)
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
        self.claim.conclude(disk)
    }
}

impl WantedSpare {
    /// Makes a spare with as much space as there is, up to what is wanted.
    pub(crate) fn make(self) -> io::Result<Spare> {
        let file = match self.other {
            Some(other) if other.bytes <= 2 * self.bytes => {
                let grown = other.file.allocate(self.bytes);
                let bytes = grown.map_or(other.bytes, |()| other.bytes.max(self.bytes));
                return Ok(Spare { bytes, ..other });
            }
            Some(large) => {
                large.file.cut(Segment::fresh(0).len)?;
                large.file
            }
            None => {
                gone_is_fine(self.dir.remove(SPARE))?;
                segment::create(&*self.dir, SPARE, self.boot)?
            }
        };
        let mut bytes = self.bytes;
        loop {
            match file.allocate(bytes) {
                Ok(()) => return Ok(Spare { file, bytes }),
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
    /// The spare segment to make, where none is or one of another size, on a volume of which this process has `taken` and
    /// may have `free` besides.
    pub(crate) fn wanted_spare(&mut self, taken: u64, free: u64) -> Option<WantedSpare> {
        let len = self.segments.back().map_or(0, |active| active.len);
        let kept = self.last.map_or(0, |last| last.saturating_sub(len));
        let spare = self.home.as_ref().and_then(Home::spare_bytes);
        let unkept = free.saturating_add(spare.unwrap_or(0));
        let unused = unkept.saturating_add(kept);
        let fitting = self.fit(taken.saturating_add(unused), spare);
        // What is kept back in the active segment may be more than a spare one needs, and all the space there is for one.
        let is_worth_it = unkept < fitting && unused >= 2 * fitting;
        if is_worth_it
            && self
                .home
                .as_ref()
                .is_some_and(|home| home.active().cut(len).is_ok())
        {
            self.last = Some(len);
        }
        self.spare_of(fitting)
    }

    /// How long segments should get where this process may have so much of the volume. They get shorter at once, and longer
    /// when there is a spare one of that size; never too short for the intents that wait.
    fn fit(&mut self, share: u64, spare: Option<u64>) -> u64 {
        let live = Segment::fresh(0).len + 2 * self.open_bytes;
        let fitting = self.site.fitting(share).max(live).min(self.site.most);
        let is_there = spare.is_some_and(|spare| spare >= fitting);
        if is_there || fitting < self.site.segment_bytes {
            self.site.segment_bytes = fitting;
        }
        fitting
    }

    /// The spare segment of about this size to make, where there is none. Until it is [taken](Self::equip) there is none at
    /// all, so that nobody writes to one that is changed.
    pub(super) fn spare_of(&mut self, bytes: u64) -> Option<WantedSpare> {
        let home = self
            .home
            .as_mut()
            .filter(|_| !matches!(self.fault, Some(Fault::Homeless(_))))?;
        let fits = |spare: &Spare| (bytes / 4 * 3..=2 * bytes).contains(&spare.bytes);
        if self.cramped.is_none() && home.spare.as_ref().is_some_and(fits) {
            return None;
        }
        Some(WantedSpare {
            other: home.spare.take(),
            dir: Arc::clone(home.dir()),
            boot: home.boot,
            bytes,
        })
    }

    /// Takes a spare segment, or notes why there is none. While there is no whole one, nothing new is accepted. True where
    /// there is one again.
    pub(crate) fn equip(&mut self, spare: io::Result<Spare>) -> bool {
        let cramped = match &spare {
            Ok(spare) if spare.bytes >= self.site.segment_bytes => None,
            Err(error) if !is_full(error) => Some(NoRoom::Unwritable),
            _ => Some(NoRoom::NoSpace),
        };
        let was = std::mem::replace(&mut self.cramped, cramped);
        match cramped {
            Some(why) if was != cramped => match &spare {
                Ok(_) => tracing::error!("requests are refused: {why}"),
                Err(error) => tracing::error!(%error, "requests are refused: {why}"),
            },
            None if was.is_some() => tracing::info!("the evidence spool has its spare segment again"),
            _ => {}
        }
        if let Some(home) = &mut self.home {
            home.spare = spare.ok();
        }
        if cramped.is_some() {
            return false;
        }
        self.last.take().is_some() || was.is_some()
    }
}

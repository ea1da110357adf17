//! When a segment that cannot be read is given up: one rule for whoever reads one.

use std::collections::BTreeMap;
use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};
use std::sync::Arc;

use parking_lot::MutexGuard;
use rustix::io::Errno;

use super::claim::{Claim, PREFIX};
use super::disk::is_full;
use super::error::NoRoom;
use super::inner::Inner;
use super::log::{Fault, Log};
use super::probe::{is_long, probe, read_back};
use super::segment;
use crate::timestamp::SECOND;

/// How long a segment is tried, in microseconds.
const PATIENCE: i64 = 3 * SECOND / 2;

/// How long it counts what the volume answered, in microseconds: one answer for all segments of a pass.
const FRESH: i64 = SECOND / 20;

/// How many files are read on a full volume until one can be.
const FILES: usize = 8;

/// What a file says that cannot be read: a bad sector, one that the server of the volume does not know any more, something
/// that is no file, a file system that finds itself damaged. Whatever else the system says is about this process, or
/// about the volume as a whole.
const BAD: [Errno; 5] = [
    Errno::IO,
    Errno::STALE,
    Errno::ISDIR,
    Errno::UCLEAN,
    Errno::BADMSG,
];

/// The segments of one log that cannot be read, by where they begin, and since when that is so on a sound volume, by the
/// monotonic clock. No more than there are files.
#[derive(Debug, Default)]
pub(crate) struct Unread(BTreeMap<u64, Option<i64>>);

/// What the volume answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probed {
    /// By the monotonic clock.
    at: i64,
    is_sound: bool,
}

impl Unread {
    /// Whether all of them can be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is being tried.
    pub(crate) fn has(&self, base: u64) -> bool {
        self.0.contains_key(&base)
    }

    /// Notes that this one can be read.
    pub(crate) fn reads(&mut self, base: u64) {
        self.0.remove(&base);
    }
}

impl Inner {
    /// Whether to give up a segment that cannot be read: the error is about the file, it has been so for a while, and the
    /// volume has been sound all the while. Where it is not, or this process lacks something, the while has not begun.
    pub(crate) fn gives_up(&self, unread: &mut Unread, base: u64, error: &io::Error) -> bool {
        self.judge(unread, base, error, || self.is_sound(self.probed.lock(), &|| {}))
    }

    /// The same for the flusher, who says what it waits for. It does not wait for what others ask; until that is answered
    /// nobody knows.
    pub(super) fn flusher_gives_up(&self, unread: &mut Unread, base: u64, error: &io::Error) -> bool {
        self.judge(unread, base, error, || {
            let probed = self.probed.try_lock();
            probed.is_some_and(|probed| self.is_sound(probed, &|| self.ask()))
        })
    }

    fn judge(
        &self,
        unread: &mut Unread,
        base: u64,
        error: &io::Error,
        is_sound: impl FnOnce() -> bool,
    ) -> bool {
        if !is_of_the_file(error) {
            unread.reads(base);
            return false;
        }
        let (is_sound, now) = (is_sound(), (self.monotonic)());
        let since = unread.0.entry(base).or_default();
        *since = is_sound.then_some(since.unwrap_or(now));
        since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE)
    }

    /// Whether records can be written, as far as there is space for them, and the device takes and gives a file. It is asked
    /// by one at a time, and not for each segment anew.
    fn is_sound(&self, mut probed: MutexGuard<'_, Option<Probed>>, ask: &dyn Fn()) -> bool {
        let was = *probed;
        let fresh = was.filter(|was| (self.monotonic)().saturating_sub(was.at) < FRESH);
        if let Some(fresh) = fresh {
            return fresh.is_sound;
        }
        let answered = match self.probe(ask) {
            Err(error) if is_full(&error) => self.reads_back(ask),
            answered => answered,
        };
        if let Err(error) = &answered
            && was.is_none_or(|was| was.is_sound)
        {
            tracing::error!(%error, "the volume of the evidence spool is not sound; what cannot be read waits for it");
        }
        let is_sound = answered.is_ok();
        *probed = Some(Probed {
            at: (self.monotonic)(),
            is_sound,
        });
        is_sound
    }

    /// Asks the device, in our own directory or, where there is none in its place, in one that is made for it.
    pub(super) fn probe(&self, ask: &dyn Fn()) -> io::Result<()> {
        let home = |log: &mut Log| (log.fault(), log.home().map(|home| Arc::clone(home.dir())));
        match self.with_log(home) {
            (Some(Fault::Sync | Fault::Write(NoRoom::Unwritable)), _) => {
                Err(io::Error::other("the spool cannot be written"))
            }
            (Some(Fault::Homeless(_)), _) | (_, None) => {
                ask();
                let claim = Claim::create(&*self.disk, &self.root)?;
                let answered = probe(&**claim.dir(), ask);
                ask();
                claim.remove(&*self.disk).and(answered)
            }
            (_, Some(dir)) => probe(&*dir, ask),
        }
    }

    /// Asks the device for what is there, where it has no space for anything new: for a segment of any process.
    fn reads_back(&self, ask: &dyn Fn()) -> io::Result<()> {
        ask();
        let above = self.disk.open(&self.root, false)?;
        let names = above.names()?.into_iter().filter(|name| name.starts_with(PREFIX));
        let dirs = names.filter_map(|name| {
            ask();
            above.open_directory(&name).ok()
        });
        let ours = dirs.filter(|dir| dir.owner().is_ok_and(|owner| owner == self.disk.user()));
        let files = ours.flat_map(|dir| {
            let bases = segment::list(&*dir).unwrap_or_default().into_iter();
            bases.filter_map(move |base| {
                ask();
                dir.open_file(&segment::name(base)).ok()
            })
        });
        let mut answered = Err(io::Error::other(
            "it is full, and no segment is long enough to be read back",
        ));
        for file in files.filter(|file| is_long(&**file)).take(FILES) {
            answered = read_back(&*file, ask);
            if answered.is_ok() {
                break;
            }
        }
        answered
    }
}

/// Whether this error is about the one file, which may be gone or shorter than it was.
fn is_of_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), NotFound | UnexpectedEof)
        || Errno::from_io_error(error).is_some_and(|errno| BAD.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::{PATIENCE, UnexpectedEof, Unread, is_of_the_file};
    use crate::spool::Fsync;
    use crate::spool::tests::sim::Sim;
    use crate::testing::{MIB, open_on};

    #[test]
    fn any_number_of_segments_is_given_up_at_the_same_time_and_the_volume_asked_once_a_pass() {
        let sim = Sim::new();
        let (spool, _, time) = open_on(Arc::new(sim.clone()), Path::new("/"), MIB, Fsync::Always);
        let mut unread = Unread::default();
        let mut given_up = || {
            let before = sim.changes();
            let bases = (0..300).filter(|base| spool.inner.gives_up(&mut unread, *base, &Errno::IO.into()));
            (bases.count(), sim.changes() - before)
        };
        // It is made, written, synced and removed.
        assert_eq!(given_up(), (0, 4));
        time.advance(PATIENCE);
        assert_eq!(given_up(), (300, 4));
    }

    #[test]
    fn a_want_of_this_process_is_not_an_error_of_the_file() {
        for (errno, expected) in [
            (Errno::IO, true),
            (Errno::ISDIR, true),
            (Errno::STALE, true),
            (Errno::MFILE, false),
            (Errno::NOMEM, false),
            (Errno::ACCESS, false),
            (Errno::ROFS, false),
        ] {
            assert_eq!(is_of_the_file(&errno.into()), expected, "{errno}");
        }
        assert!(is_of_the_file(&UnexpectedEof.into()), "it was cut");
        assert!(!is_of_the_file(&io::Error::other("the runtime ends")));
    }
}

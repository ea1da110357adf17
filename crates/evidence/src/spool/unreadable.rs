//! When a segment that cannot be read is given up: one rule for whoever reads one.

use std::collections::BTreeMap;
use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};

use rustix::io::Errno;

use super::error::NoRoom;
use super::inner::Inner;
use super::log::Fault;
use super::record::HEADER;
use super::segment::{Segment, Source, read};

/// How long a segment is tried, in microseconds.
const PATIENCE: i64 = 3 * crate::timestamp::SECOND / 2;

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

/// The segments of one log that cannot be read, by where they begin, and since when, by the monotonic clock. No more than
/// there are files.
#[derive(Debug, Default)]
pub(crate) struct Unread(BTreeMap<u64, i64>);

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
    /// volume is sound. Where the volume is not, or this process lacks something, the while begins when it is mended.
    /// `others` may show that it is sound, as our own log may.
    pub(crate) fn gives_up(
        &self,
        unread: &mut Unread,
        base: u64,
        error: &io::Error,
        others: &[(Segment, Source)],
    ) -> bool {
        let now = (self.monotonic)();
        if !is_of_the_file(error) {
            unread.reads(base);
            return false;
        }
        let since = unread.0.entry(base).or_insert(now);
        if !self.is_volume_sound(others) {
            *since = now;
        }
        now.saturating_sub(*since) >= PATIENCE
    }

    /// Whether records can be written, as far as there is space for them, and some file can be read.
    fn is_volume_sound(&self, others: &[(Segment, Source)]) -> bool {
        let fault = self.with_log(|log| log.fault());
        let refuses = matches!(fault, Some(Fault::Sync | Fault::Write(NoRoom::Unwritable)));
        let reads =
            |(segment, source): &(Segment, Source)| read(source, segment, segment.first(), HEADER).is_ok();
        !refuses && others.iter().any(reads)
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

    use rustix::io::Errno;

    use super::{PATIENCE, UnexpectedEof, Unread, is_of_the_file};
    use crate::spool::Fsync;
    use crate::testing::{MIB, open_with};

    #[test]
    fn any_number_of_segments_is_given_up_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, time) = open_with(dir.path(), MIB, Fsync::Always);
        let mut unread = Unread::default();
        let mut given_up = || {
            let bases = (0..300).filter(|base| {
                spool.inner.gives_up(
                    &mut unread,
                    *base,
                    &Errno::IO.into(),
                    &spool.inner.with_log(|log| log.others(None)),
                )
            });
            bases.count()
        };
        assert_eq!(given_up(), 0);
        time.advance(PATIENCE);
        assert_eq!(given_up(), 300);
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

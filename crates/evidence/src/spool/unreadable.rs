//! What an error says when a file of the spool cannot be read.

use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};

use rustix::io::Errno;

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

/// Whether this error is about the one file, which may be gone or shorter than it was.
pub(crate) fn is_of_the_file(error: &io::Error) -> bool {
    matches!(error.kind(), NotFound | UnexpectedEof)
        || Errno::from_io_error(error).is_some_and(|errno| BAD.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{UnexpectedEof, is_of_the_file};

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

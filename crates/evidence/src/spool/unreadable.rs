//! What an error says when a file of the spool cannot be read.

use std::io;

use rustix::io::Errno;

/// What this process, or its machine, lacks, and what somebody can grant: a later try may succeed.
const LACKING: [Errno; 5] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::ACCESS,
    Errno::PERM,
];

/// Whether this error of the system is about the one file, such as EIO for a bad sector, and not about this process.
pub(crate) fn is_of_the_file(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| !LACKING.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::is_of_the_file;

    #[test]
    fn a_want_of_this_process_is_not_an_error_of_the_file() {
        for (errno, expected) in [
            (Errno::IO, true),
            (Errno::ISDIR, true),
            (Errno::STALE, true),
            (Errno::MFILE, false),
            (Errno::NOMEM, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(is_of_the_file(&errno.into()), expected, "{errno}");
        }
        assert!(!is_of_the_file(&io::Error::other("the runtime ends")));
    }
}

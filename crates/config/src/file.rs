//! Reading a file that a variable names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Largest file read, secrets and PEM alike: a bundle of every public authority is a quarter of it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a whole file, refusing one that is too large to be what it should be.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

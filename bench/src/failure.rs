//! Why a run was broken off.

use std::error::Error;
use std::path::Path;

/// A result whose error ends the run and is printed.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The text of a file below `/proc`, or an error that names it.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

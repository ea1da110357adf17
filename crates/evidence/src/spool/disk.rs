//! The file operations that a spool rests on, as a port: what the real disk does, and what one does that loses
//! everything that was not synced.
//!
//! Directories are held open and names are looked up in them, so that what is held can be told from what stands
//! under the same path by now.

mod system;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

pub(crate) use system::System;

/// What a file or directory is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A disk with directories and files, all of them readable by this user alone.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Opens a directory; first makes it, and those above it, where they are missing and `make` says so.
    fn open(&self, path: &Path, make: bool) -> io::Result<Arc<dyn Directory>>;
    /// Names the run of the operating system. What was written in this run and not synced is still there.
    fn boot(&self) -> Uuid;
    /// The user that new files will belong to.
    fn user(&self) -> u32;
}

/// An open directory.
pub(crate) trait Directory: Debug + Send + Sync {
    fn identity(&self) -> io::Result<Identity>;
    fn owner(&self) -> io::Result<u32>;
    /// Bytes that this user may still write to the file system.
    fn available(&self) -> io::Result<u64>;
    fn names(&self) -> io::Result<Vec<String>>;
    /// What this name stands for.
    fn identity_of(&self, name: &str) -> io::Result<Identity>;
    /// Makes a directory that does not exist yet.
    fn make_directory(&self, name: &str) -> io::Result<()>;
    fn open_directory(&self, name: &str) -> io::Result<Arc<dyn Directory>>;
    /// Removes an empty directory.
    fn remove_directory(&self, name: &str) -> io::Result<()>;
    /// Makes a file that does not exist yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>>;
    /// Opens a file to be read.
    fn open_file(&self, name: &str) -> io::Result<Arc<dyn DataFile>>;
    /// Opens a file to be read and written.
    fn open_to_write(&self, name: &str) -> io::Result<Arc<dyn DataFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Locks the directory for as long as it is held; false when another process has locked it.
    fn lock(&self) -> io::Result<bool>;
    /// Makes the creation, renaming and deletion of what is in it durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DataFile: Debug + Send + Sync {
    fn identity(&self) -> io::Result<Identity>;
    fn len(&self) -> io::Result<u64>;
    /// Reads as many bytes as there is place for, or fails.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of the bytes, or fails and may have written some.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, also what was allocated behind its end.
    fn cut(&self, len: u64) -> io::Result<()>;
    /// Takes space for this many bytes without changing the length. Where the file system cannot, it does nothing.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync(&self) -> io::Result<()>;
}

/// Whether there was no space, on the volume or in the user's quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What stands under a name in a directory, if anything.
pub(crate) fn standing(dir: &dyn Directory, name: &str) -> io::Result<Option<Identity>> {
    match dir.identity_of(name) {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes a name away; that it is not there any more is no error.
pub(crate) fn gone_is_fine(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

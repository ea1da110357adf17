//! Which process owns which part of the spool.
//!
//! Each process works in a subdirectory of its own and holds a lock (`flock`) on it for as long as it lives. The
//! kernel drops the lock with the process, however it ends; from then on whoever takes the lock owns what
//! is left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// How many names are tried for a new subdirectory.
const TRIES: u32 = 10_000;
/// How many subdirectories are adopted in one go: each costs a file descriptor until it is shipped.
const AT_ONCE: usize = 64;

/// A subdirectory of the spool that this process owns until the value is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    /// The lock belongs to this open file.
    dir: File,
}

impl Claim {
    /// Makes a new subdirectory, readable by this user alone.
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let pid = std::process::id();
        for n in 0..TRIES {
            let path = root.join(format!("{PREFIX}{pid}-{n}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // Another process may adopt the new directory before it is locked, find it empty and remove it.
            if let Some(claim) = Self::take(path)? {
                File::open(root)?.sync_all()?;
                return Ok(claim);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Takes the subdirectories of this user that no living process owns, but not too many at once. One that
    /// cannot be taken does not keep the others from it.
    ///
    /// Whoever else may write to the root could leave events there, to be signed in our name.
    pub(crate) fn orphans(root: &Path, user: u32) -> io::Result<Vec<Self>> {
        let mut orphans = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let ours = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(PREFIX));
            if !ours || !entry.file_type()?.is_dir() {
                continue;
            }
            match Self::take(entry.path()).and_then(|claim| claim.map(|claim| claim.of(user)).transpose()) {
                Ok(claim) => orphans.extend(claim),
                Err(error) => {
                    let path = entry.path().display().to_string();
                    tracing::error!(path, %error, "an abandoned evidence spool cannot be adopted");
                }
            }
            if orphans.len() == AT_ONCE {
                break;
            }
        }
        orphans.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(orphans)
    }

    /// Locks a directory. `None` when it is owned, or gone.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let dir = match File::open(&path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The owner before us may have removed the directory between our opening and our locking it.
        let current = fs::metadata(&path).and_then(|there| Ok(there.ino() == dir.metadata()?.ino()));
        Ok(current.unwrap_or(false).then_some(Self { path, dir }))
    }

    fn of(self, user: u32) -> io::Result<Self> {
        if self.user()? == user {
            Ok(self)
        } else {
            Err(io::Error::other("it belongs to another user"))
        }
    }

    /// The user that made it.
    pub(crate) fn user(&self) -> io::Result<u32> {
        Ok(self.dir.metadata()?.uid())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the creation and deletion of files in it durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    /// Removes the directory if nothing is left in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_dir(&self.path)
    }
}

const PREFIX: &str = "spool-";

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;

    use super::Claim;

    fn orphans(root: &Path) -> Vec<Claim> {
        Claim::orphans(root, root.metadata().unwrap().uid()).unwrap()
    }

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = Claim::create(root.path()).unwrap();
        let second = Claim::create(root.path()).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(orphans(root.path()).is_empty());

        let path = first.path().to_owned();
        drop(first);
        let adopted = orphans(root.path());
        assert_eq!(adopted.iter().map(Claim::path).collect::<Vec<_>>(), [path]);
        assert!(orphans(root.path()).is_empty());
    }

    #[test]
    fn a_removed_directory_is_not_adopted_and_its_name_is_free_again() {
        let root = tempfile::tempdir().unwrap();
        let first = Claim::create(root.path()).unwrap();
        let path = first.path().to_owned();
        first.remove().unwrap();
        assert!(orphans(root.path()).is_empty());
        assert_eq!(Claim::create(root.path()).unwrap().path(), path);
    }

    #[test]
    fn what_another_user_left_is_not_adopted_and_keeps_nothing_else_from_it() {
        let root = tempfile::tempdir().unwrap();
        let foreign = root.path().join("spool-0-0");
        fs::create_dir(&foreign).unwrap();
        // Only root can give something away; to anyone else a directory that does not open looks the same.
        if chown(&foreign, Some(65_534), None).is_err() {
            fs::set_permissions(&foreign, Permissions::from_mode(0o000)).unwrap();
        }
        let path = Claim::create(root.path()).unwrap().path().to_owned();
        let adopted = orphans(root.path());
        assert_eq!(adopted.iter().map(Claim::path).collect::<Vec<_>>(), [path]);
    }

    #[test]
    fn adoption_holds_a_bounded_number_of_directories() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..100 {
            fs::create_dir(root.path().join(format!("spool-1-{n}"))).unwrap();
        }
        let first = orphans(root.path());
        let second = orphans(root.path());
        assert_eq!((first.len(), second.len()), (64, 36));
    }

    #[test]
    fn only_this_user_may_look_inside() {
        let root = tempfile::tempdir().unwrap();
        let claim = Claim::create(&root.path().join("deep/er")).unwrap();
        for dir in [claim.path(), claim.path().parent().unwrap()] {
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}

//! Which process owns which part of the spool.
//!
//! Each process works in a subdirectory of its own and holds a lock (`flock`) on it for as long as it lives. The
//! kernel drops the lock with the process, however it ends; from then on whoever takes the lock owns what
//! is left.

use std::fs::{self, DirBuilder, DirEntry, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// How many names are tried for a new subdirectory.
const TRIES: u32 = 10_000;

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

    /// Whether a subdirectory could be made. It is removed again, and so is each directory above that was not there.
    pub(crate) fn judge(root: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = root.ancestors().take_while(|above| !above.exists()).collect();
        let made = Self::create(root).and_then(|claim| claim.remove());
        // One that another process uses by now is not empty, and stays.
        let _ = missing.into_iter().try_for_each(fs::remove_dir);
        made
    }

    /// Takes, one after the other, the subdirectories of this user that no living process owns. One that cannot
    /// be taken does not keep the others from it.
    ///
    /// Whoever else may write to the root could leave events there, to be signed in our name.
    pub(crate) fn orphans(root: &Path, user: u32) -> io::Result<impl Iterator<Item = Self> + use<>> {
        Ok(fs::read_dir(root)?.filter_map(move |entry| {
            let path = entry.as_ref().map_or_else(|_| PathBuf::new(), DirEntry::path);
            Self::orphan(entry, user).unwrap_or_else(|error| {
                let path = path.display().to_string();
                tracing::error!(path, %error, "an abandoned evidence spool cannot be adopted");
                None
            })
        }))
    }

    fn orphan(entry: io::Result<DirEntry>, user: u32) -> io::Result<Option<Self>> {
        let entry = entry?;
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if !ours || !entry.file_type()?.is_dir() {
            return Ok(None);
        }
        match Self::take(entry.path())? {
            Some(claim) if claim.user()? != user => Err(io::Error::other("it belongs to another user")),
            claim => Ok(claim),
        }
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

/// How the names of subdirectories begin.
pub(super) const PREFIX: &str = "spool-";

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    use std::path::Path;

    use super::Claim;

    fn orphans(root: &Path) -> Vec<Claim> {
        Claim::orphans(root, root.metadata().unwrap().uid())
            .unwrap()
            .collect()
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
    fn judging_a_directory_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for (dir, usable) in [
            (root.path().to_owned(), true),
            (root.path().join("deep/er"), true),
            (file.clone(), false),
            (file.join("below"), false),
        ] {
            assert_eq!(Claim::judge(&dir).is_ok(), usable, "{}", dir.display());
            let left: Vec<_> = fs::read_dir(root.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert_eq!(left, std::slice::from_ref(&file));
        }
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

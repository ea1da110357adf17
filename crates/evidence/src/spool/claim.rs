//! Which process owns which part of the spool.
//!
//! Each process works in a subdirectory of its own and holds a lock (`flock`) on it for as long as it lives. The
//! kernel drops the lock with the process, however it ends; from then on whoever takes the lock owns what
//! is left.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain_file;
use super::disk::{Directory, Disk, gone_is_fine};

/// How many names are tried for a new subdirectory.
const TRIES: u32 = 10_000;

/// A subdirectory of the spool that this process owns until the value is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    root: PathBuf,
    name: String,
    /// The lock belongs to this open directory.
    dir: Arc<dyn Directory>,
}

impl Claim {
    /// Makes a new subdirectory, readable by this user alone.
    pub(crate) fn create(disk: &dyn Disk, root: &Path) -> io::Result<Self> {
        let above = disk.open(root, true)?;
        let pid = std::process::id();
        for n in 0..TRIES {
            let name = format!("{PREFIX}{pid}-{n}");
            match above.make_directory(&name) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // Another process may adopt the new directory before it is locked, find it empty and remove it.
            if let Some(claim) = Self::take(&*above, root, name)? {
                above.sync()?;
                return Ok(claim);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Whether a subdirectory could be made. It is removed again, and so is each directory above that was not there.
    pub(crate) fn judge(disk: &dyn Disk, root: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = root.ancestors().take_while(|above| !above.exists()).collect();
        let made = Self::create(disk, root).and_then(|claim| claim.remove(disk));
        // One that another process uses by now is not empty, and stays.
        let _ = missing.into_iter().try_for_each(fs::remove_dir);
        made
    }

    /// Takes, one after the other, the subdirectories of this user that no living process owns. One that cannot
    /// be taken does not keep the others from it.
    ///
    /// Whoever else may write to the root could leave events there, to be signed in our name.
    pub(crate) fn orphans(
        disk: &dyn Disk,
        root: &Path,
        user: u32,
    ) -> io::Result<impl Iterator<Item = Self> + use<>> {
        let above = disk.open(root, false)?;
        let mut names = above.names()?;
        names.retain(|name| name.starts_with(PREFIX));
        let root = root.to_owned();
        Ok(names.into_iter().filter_map(move |name| {
            let path = root.join(&name).display().to_string();
            Self::orphan(&*above, &root, name, user).unwrap_or_else(|error| {
                tracing::error!(path, %error, "an abandoned evidence spool cannot be adopted");
                None
            })
        }))
    }

    fn orphan(above: &dyn Directory, root: &Path, name: String, user: u32) -> io::Result<Option<Self>> {
        match Self::take(above, root, name)? {
            Some(claim) if claim.user()? != user => Err(io::Error::other("it belongs to another user")),
            claim => Ok(claim),
        }
    }

    /// Locks a directory. `None` when it is owned, gone, or none.
    fn take(above: &dyn Directory, root: &Path, name: String) -> io::Result<Option<Self>> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let dir = match above.open_directory(&name) {
            Ok(dir) => dir,
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !dir.lock()? {
            return Ok(None);
        }
        // The owner before us may have removed the directory between our opening and our locking it.
        let ours = dir.identity()?;
        let current = above.identity_of(&name).is_ok_and(|there| there == ours);
        let root = root.to_owned();
        Ok(current.then_some(Self { root, name, dir }))
    }

    /// The user that made it.
    pub(crate) fn user(&self) -> io::Result<u32> {
        self.dir.owner()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(crate) fn dir(&self) -> &Arc<dyn Directory> {
        &self.dir
    }

    /// Whether the directory still stands under its path.
    pub(crate) fn is_in_place(&self, disk: &dyn Disk) -> io::Result<bool> {
        use io::ErrorKind::{NotADirectory, NotFound};
        let there = disk
            .open(&self.root, false)
            .and_then(|above| above.identity_of(&self.name));
        match there {
            Ok(there) => Ok(there == self.dir.identity()?),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The other directories of this user that a process with the same number made, open, with their names.
    pub(crate) fn siblings(&self, disk: &dyn Disk) -> io::Result<Vec<(String, Arc<dyn Directory>)>> {
        use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        let above = disk.open(&self.root, false)?;
        let stem = self.name.trim_end_matches(|end| end != '-');
        let user = self.user()?;
        let mut siblings = Vec::new();
        for name in above.names()? {
            if !name.starts_with(stem) || name == self.name {
                continue;
            }
            match above.open_directory(&name) {
                Ok(dir) if dir.owner()? == user => siblings.push((name, dir)),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(siblings)
    }

    /// Takes one of them. `None` when it is owned or gone.
    pub(crate) fn sibling(&self, disk: &dyn Disk, name: String) -> io::Result<Option<Self>> {
        Self::take(&*disk.open(&self.root, false)?, &self.root, name)
    }

    /// Removes the chain, and the directory if nothing is left in it.
    pub(crate) fn conclude(&self, disk: &dyn Disk) -> io::Result<()> {
        // Without its chain nothing that was in it may come back.
        self.dir.sync()?;
        chain_file::remove(&*self.dir)?;
        match self.remove(disk) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => gone_is_fine(removed),
        }
    }

    /// Removes the directory if nothing is left in it.
    pub(crate) fn remove(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.open(&self.root, false)?.remove_directory(&self.name)
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
    use crate::spool::disk::System;

    fn create(root: &Path) -> std::io::Result<Claim> {
        Claim::create(&System, root)
    }

    fn orphans(root: &Path) -> Vec<Claim> {
        Claim::orphans(&System, root, root.metadata().unwrap().uid())
            .unwrap()
            .collect()
    }

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let first = create(root.path()).unwrap();
        let second = create(root.path()).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(orphans(root.path()).is_empty());

        let path = first.path();
        drop(first);
        let adopted = orphans(root.path());
        assert_eq!(adopted.iter().map(Claim::path).collect::<Vec<_>>(), [path]);
        assert!(orphans(root.path()).is_empty());
    }

    #[test]
    fn a_removed_directory_is_not_adopted_and_its_name_is_free_again() {
        let root = tempfile::tempdir().unwrap();
        let first = create(root.path()).unwrap();
        let path = first.path();
        first.remove(&System).unwrap();
        assert!(orphans(root.path()).is_empty());
        assert_eq!(create(root.path()).unwrap().path(), path);
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
        let path = create(root.path()).unwrap().path();
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
            assert_eq!(Claim::judge(&System, &dir).is_ok(), usable, "{}", dir.display());
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
        let claim = create(&root.path().join("deep/er")).unwrap();
        for dir in [&*claim.path(), claim.path().parent().unwrap()] {
            assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}

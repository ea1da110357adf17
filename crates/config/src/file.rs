//! Reading files that variables name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// What was found in files when they were looked at, or why they could not be read. Two looks that found the same are equal.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, Found>);

type Found = Result<Arc<[u8]>, io::ErrorKind>;

fn found(path: &Path) -> Found {
    read_file(path).map(Arc::from).map_err(|error| error.kind())
}

fn regular(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(io::ErrorKind::Unsupported),
        Ok(_) => found(path),
        Err(error) => Err(error.kind()),
    }
}

impl Contents {
    /// Looks at these files. A pipe is waited for.
    pub(crate) fn read<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self::by(found, paths)
    }

    /// The same, but of what is no regular file, such as a pipe, nothing is read.
    pub(crate) fn of_regular<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self::by(regular, paths)
    }

    fn by<'a>(look: fn(&Path) -> Found, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let paths = paths.into_iter();
        Self(paths.map(|path| (path.to_owned(), look(path))).collect())
    }

    /// Looks at the same files again. What is no regular file, such as a pipe, can be read once, and stays as it was.
    pub(crate) fn read_again(&self) -> Self {
        let again = |(path, before): (&PathBuf, &Found)| match regular(path) {
            Err(io::ErrorKind::Unsupported) => (path.clone(), before.clone()),
            found => (path.clone(), found),
        };
        Self(self.0.iter().map(again).collect())
    }

    /// What was found in this file.
    pub(crate) fn of(&self, path: &Path) -> Result<&[u8], io::ErrorKind> {
        match self.0.get(path) {
            Some(found) => found.as_deref().map_err(|kind| *kind),
            None => Err(io::ErrorKind::NotFound),
        }
    }

    /// A directory whose files could not be listed.
    pub(crate) fn failed(directory: &Path, kind: io::ErrorKind) -> Self {
        Self(BTreeMap::from([(directory.to_owned(), Err(kind))]))
    }

    /// Why nothing was found under this path.
    pub(crate) fn failure(&self, path: &Path) -> Option<io::ErrorKind> {
        self.0.get(path)?.as_ref().err().copied()
    }

    /// The files that were looked at, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// What was found in these files of them.
    pub(crate) fn part<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let of = |path: &Path| Some((path.to_owned(), self.0.get(path)?.clone()));
        Self(paths.into_iter().filter_map(of).collect())
    }

    /// Adds what was found in other files.
    pub(crate) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Of a key file's content nothing is shown.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contents({})", self.0.len())
    }
}

//! Which memory of the store was last seen, in a file beside the spool.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use uuid::Uuid;

use super::value::Name;

/// For this user alone, like the spool beside it.
const MODE: u32 = 0o600;
/// Most bytes that are read of it.
const MAX_BYTES: u64 = 512;

/// The file; without one, nothing is remembered.
pub(super) struct EpochFile {
    path: Option<PathBuf>,
    /// Work on a disk that did not answer in time. There is never more than one.
    pending: Mutex<Option<Job>>,
}

/// Reads or writes; what was read, if there was a file.
type Job = JoinHandle<io::Result<Option<String>>>;

impl EpochFile {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            pending: Mutex::new(None),
        }
    }

    /// What an earlier process saw last; none where there is no file.
    ///
    /// # Errors
    /// The file does not read back within the limit, which is a fault of this process and says nothing about the store.
    pub(super) async fn recall(&self, limit: Duration) -> Result<Option<Name>, Cause> {
        let Some(path) = &self.path else { return Ok(None) };
        let broken = |why: &str| {
            let path = path.display();
            Cause::local(format!(
                "replay epoch: {path}: {why} (AUDIT_REPLAY_DIR; a file that is removed is written anew)"
            ))
        };
        let from = path.clone();
        match self.within(limit, move || read(&from)).await {
            Ok(None) => Ok(None),
            Ok(Some(text)) => match Name::parse(text.trim()) {
                Some(name) => Ok(Some(name)),
                None => Err(broken("it holds no id")),
            },
            Err(error) => Err(broken(&error.to_string())),
        }
    }

    /// Writes down what was seen.
    ///
    /// # Errors
    /// It is not on disk within the limit.
    pub(super) async fn remember(&self, name: String, limit: Duration) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let written = self.within(limit, move || replace(&path, &name).map(|()| None));
        written.await.map(|_| ())
    }

    /// Work on the disk, which may hang. While earlier work hangs nothing is tried, so that one thread hangs with the
    /// disk, and nobody waits for it twice.
    async fn within(
        &self,
        limit: Duration,
        work: impl FnOnce() -> io::Result<Option<String>> + Send + 'static,
    ) -> io::Result<Option<String>> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer in time");
        if self.pending.lock().as_ref().is_some_and(|job| !job.is_finished()) {
            return Err(late());
        }
        let mut begun = Begun {
            file: self,
            job: Some(spawn_blocking(work)),
        };
        timeout(limit, begun.done()).await.map_err(|_| late())?
    }
}

/// Work that is left for later unless its end is seen.
struct Begun<'a> {
    file: &'a EpochFile,
    job: Option<Job>,
}

impl Begun<'_> {
    async fn done(&mut self) -> io::Result<Option<String>> {
        let Some(job) = &mut self.job else { return Ok(None) };
        let done = job.await;
        self.job = None;
        done.map_err(io::Error::other)?
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        *self.file.pending.lock() = self.job.take();
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    (&file).take(MAX_BYTES).read_to_string(&mut text)?;
    // One that others could read is closed to them.
    if let Err(error) = file.set_permissions(Permissions::from_mode(MODE)) {
        tracing::warn!(%error, "the file of the replay epoch stays readable by others");
    }
    Ok(Some(text))
}

/// A reader sees the old content or the new one, never half of it, after a power cut too.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    // Another gateway on the same volume may have the same process id.
    let draft = path.with_extension(format!("{}.new", Uuid::new_v4().simple()));
    let replaced = write(&draft, content).and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() {
        // Nobody reads a draft. The error that counts is the first one.
        let _ = fs::remove_file(&draft);
    }
    replaced
}

fn write(path: &Path, content: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

//! Which memory of the store was last seen, in a file beside the spool.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use admission::ports::Cause;
use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt as _;

/// For this user alone, like the spool beside it.
const MODE: u32 = 0o600;

/// The file; without one, nothing is remembered.
pub(super) struct EpochFile(Option<PathBuf>);

impl EpochFile {
    /// A file that others could read is closed to them.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let tightened = match &path {
            Some(path) if path.is_file() => std::fs::set_permissions(path, Permissions::from_mode(MODE)),
            Some(_) | None => Ok(()),
        };
        if let Err(error) = tightened {
            tracing::warn!(%error, "the file of the replay epoch stays readable by others");
        }
        Self(path)
    }

    /// The id that an earlier process saw last; none where there is no file.
    ///
    /// # Errors
    /// The file does not read back, which is a fault of this process and says nothing about the store.
    pub(super) async fn recall(&self) -> Result<Option<String>, Cause> {
        let Some(path) = &self.0 else { return Ok(None) };
        let broken = |why: &str| Cause::local(format!("replay epoch: {}: {why}", path.display()));
        match fs::read_to_string(path).await {
            Ok(text) => {
                let id = text.trim();
                if id.is_empty() || id.contains(|c: char| c == ':' || c.is_whitespace()) {
                    return Err(broken("it holds no id"));
                }
                Ok(Some(id.to_owned()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(broken(&error.to_string())),
        }
    }

    pub(super) async fn remember(&self, id: &str) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = replace(path, id).await {
            tracing::warn!(%error, path = %path.display(), "the replay epoch is not remembered on disk");
        }
    }
}

/// A reader sees the old content or the new one, never half of it, after a power cut too.
async fn replace(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(MODE);
    let mut file = options.open(&draft).await?;
    // A draft that was left behind keeps the mode that it had.
    file.set_permissions(Permissions::from_mode(MODE)).await?;
    file.write_all(content.as_bytes()).await?;
    file.flush().await?;
    file.sync_all().await?;
    fs::rename(&draft, path).await
}

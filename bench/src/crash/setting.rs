//! Under which circumstances processes are killed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use testkit::redis::PrivateRedis;
use testkit::volume::Volume;

use super::random::Random;

/// The size of a volume that is filled.
const VOLUME: u64 = 3 * 1024 * 1024;
/// Out of so many lives of a gateway one sees Redis die, and one the volume filled.
const ONE_OF: u64 = 2;

/// What goes wrong besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    Nothing,
    /// Redis is killed and comes back, with what it had acknowledged.
    Redis,
    /// The volume of the spool is full at times.
    Disk,
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// What goes wrong besides.
    pub(super) trouble: Trouble,
    /// `AUDIT_FSYNC`.
    pub(super) fsync: &'static str,
}

impl Setting {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let troubles = [Trouble::Nothing, Trouble::Redis, Trouble::Disk];
        troubles.into_iter().flat_map(|trouble| {
            let with = move |fsync| Self { trouble, fsync };
            ["interval", "always"].map(with)
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trouble = match self.trouble {
            Trouble::Nothing => "Redis up",
            Trouble::Redis => "Redis killed",
            Trouble::Disk => "disk full",
        };
        write!(f, "{trouble}, {}", self.fsync)
    }
}

/// Where the spool lies.
pub(super) enum Place {
    /// An ordinary directory.
    Directory(TempDir),
    /// A small volume.
    Volume(Volume),
}

impl Place {
    /// The one for this setting, or why this machine does not allow it.
    pub(super) fn of(setting: Setting) -> Result<Self, String> {
        if setting.trouble == Trouble::Disk {
            return Ok(Self::Volume(Volume::mount(VOLUME)?));
        }
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self::Directory(directory))
    }

    /// Where gateways find it.
    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory.path(),
            Self::Volume(volume) => volume.dir(),
        }
    }

    /// By which command gateways run.
    pub(super) fn enter(&self) -> Vec<String> {
        match self {
            Self::Directory(_) => Vec::new(),
            Self::Volume(volume) => volume.enter(),
        }
    }

    /// The parts of the spool that are still there, from here.
    pub(super) fn left(&self) -> std::io::Result<Vec<PathBuf>> {
        let root = match self {
            Self::Directory(directory) => directory.path().to_owned(),
            Self::Volume(volume) => volume.seen(),
        };
        let entries = fs::read_dir(root)?.map(|entry| Ok(entry?.path()));
        let paths: std::io::Result<Vec<_>> = entries.collect();
        let is_part = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"spool-")
        };
        Ok(paths?.into_iter().filter(is_part).collect())
    }
}

/// What goes wrong during one life of a gateway.
pub(super) struct Troubles<'a> {
    place: &'a Place,
    redis: &'a mut PrivateRedis,
    trouble: Trouble,
    filler: Option<PathBuf>,
    redis_is_away: bool,
}

impl<'a> Troubles<'a> {
    /// Everything is well still.
    pub(super) fn new(setting: Setting, place: &'a Place, redis: &'a mut PrivateRedis) -> Self {
        Self {
            place,
            redis,
            trouble: setting.trouble,
            filler: None,
            redis_is_away: false,
        }
    }

    /// Lets something go wrong, or be well again; or leaves all as it is.
    pub(super) async fn stir(&mut self, random: &mut Random) -> std::io::Result<()> {
        if random.below(ONE_OF) > 0 {
            return Ok(());
        }
        if self.filler.is_some() || self.redis_is_away {
            return self.settle().await;
        }
        match (self.trouble, self.place) {
            (Trouble::Redis, _) => {
                self.redis.kill().await;
                self.redis_is_away = true;
            }
            (Trouble::Disk, Place::Volume(volume)) => self.filler = Some(volume.fill()),
            _ => {}
        }
        Ok(())
    }

    /// Lets everything be well again.
    pub(super) async fn settle(&mut self) -> std::io::Result<()> {
        if let Some(filler) = self.filler.take() {
            fs::remove_file(filler)?;
        }
        if std::mem::take(&mut self.redis_is_away) {
            self.redis.restart().await;
        }
        Ok(())
    }

    /// Waits, as long as something lasts.
    pub(super) async fn last(&mut self, random: &mut Random, longest: Duration) -> std::io::Result<()> {
        tokio::time::sleep(random.within(longest)).await;
        self.stir(random).await?;
        tokio::time::sleep(random.within(longest)).await;
        Ok(())
    }
}

//! Which memory of the store was last seen, in a file beside the spool.
//!
//! One note, or, in a cluster, a line `<slot>=<note>` for each shard.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use admission::ports::Cause;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use uuid::Uuid;

use super::value::Name;

/// For this user alone, like the spool beside it.
const MODE: u32 = 0o600;
/// Most bytes that are read of it: at most some 500 for each of a thousand shards, and usually 90.
const MAX_BYTES: u64 = 512 * 1024;

/// The file; without one, nothing is remembered.
pub(in crate::replay) struct EpochFile {
    path: Option<PathBuf>,
    /// Work on a disk that did not answer in time. There is never more than one.
    pending: Mutex<Option<Job>>,
    /// The shards share it.
    one_at_a_time: Semaphore,
    notes: Mutex<Notes>,
}

/// What is known, by the slot of a shard's key; without a slot it is of the only server.
type Lines = BTreeMap<Option<u16>, Name>;

#[derive(Default)]
struct Notes {
    /// What the file held when it was read first: what is there later this process wrote itself.
    recalled: Option<Lines>,
    /// What this process wrote since.
    written: BTreeMap<u16, String>,
    /// The shards that there are.
    anchors: BTreeSet<u16>,
    /// Those that were gone since: what the file held of them counts no more.
    gone: BTreeSet<u16>,
}

/// Reads or writes; what was read, if there was a file.
type Job = JoinHandle<io::Result<Option<String>>>;

impl EpochFile {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            pending: Mutex::new(None),
            one_at_a_time: Semaphore::new(1),
            notes: Mutex::default(),
        }
    }

    /// Remembers these shards of a cluster from now on, and no others.
    pub(in crate::replay) fn keep(&self, anchors: BTreeSet<u16>) {
        self.notes.lock().keep(anchors);
    }

    /// What an earlier process saw last of this shard, or of the only server. Where it was something else, the one of all
    /// that lost its marks last: others vouched for the same mandates. None where there is no file. It is read once: what
    /// this process has written of one shard says nothing of another that it has not seen yet.
    ///
    /// # Errors
    /// The file does not read back within the limit, which is a fault of this process and says nothing about the store.
    pub(super) async fn recall(&self, anchor: Option<u16>, limit: Duration) -> Result<Option<Name>, Cause> {
        let Some(path) = &self.path else { return Ok(None) };
        if let Some(recalled) = self.notes.lock().recalled(anchor) {
            return Ok(recalled);
        }
        let broken = |why: &str| {
            let path = path.display();
            Cause::local(format!(
                "replay epoch: {path}: {why} (AUDIT_REPLAY_DIR; a file that is removed is written anew)"
            ))
        };
        let from = path.clone();
        let text = self.within(limit, || move || read(&from)).await;
        let text = text.map_err(|error| broken(&error.to_string()))?;
        let lines = text.map_or_else(|| Some(Lines::new()), |text| Notes::lines(text.trim()));
        let lines = lines.ok_or_else(|| broken("it holds no id"))?;
        Ok(self.notes.lock().recall(lines, anchor))
    }

    /// Writes down what was seen of this shard, or of the only server.
    ///
    /// # Errors
    /// It is not on disk within the limit.
    pub(super) async fn remember(
        &self,
        anchor: Option<u16>,
        note: String,
        limit: Duration,
    ) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let begin = || {
            let text = self.notes.lock().with(anchor, note);
            move || replace(&path, &text).map(|()| None)
        };
        self.within(limit, begin).await.map(|_| ())
    }

    /// Whether it is in its place, or nobody can tell within the limit.
    pub(super) async fn is_there(&self, limit: Duration) -> bool {
        let Some(path) = self.path.clone() else {
            return true;
        };
        let look = move || match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(String::new())),
        };
        !matches!(self.within(limit, || look).await, Ok(None))
    }

    /// Work on the disk, which may hang. While earlier work hangs nothing is tried, so that one thread hangs with the
    /// disk, and nobody waits for it twice.
    async fn within<W>(&self, limit: Duration, begin: impl FnOnce() -> W) -> io::Result<Option<String>>
    where
        W: FnOnce() -> io::Result<Option<String>> + Send + 'static,
    {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer in time");
        let work = async {
            let _turn = self.one_at_a_time.acquire().await.map_err(io::Error::other)?;
            if self.pending.lock().as_ref().is_some_and(|job| !job.is_finished()) {
                return Err(late());
            }
            let mut begun = Begun {
                file: self,
                job: Some(spawn_blocking(begin())),
            };
            begun.done().await
        };
        timeout(limit, work).await.map_err(|_| late())?
    }
}

impl Notes {
    /// The lines of a file; none where one of them holds no id.
    fn lines(text: &str) -> Option<Lines> {
        let line = |line: &str| {
            let (anchor, note) = match line.split_once('=') {
                Some((slot, note)) => (Some(slot.parse().ok()?), note),
                None => (None, line),
            };
            Some((anchor, Name::parse(note)?))
        };
        let lines: Lines = text.split('\n').map(line).collect::<Option<_>>()?;
        // A note of the only server stands alone.
        (lines.len() == 1 || !lines.contains_key(&None)).then_some(lines)
    }

    fn keep(&mut self, anchors: BTreeSet<u16>) {
        self.written.retain(|slot, _| anchors.contains(slot));
        self.gone.extend(self.anchors.difference(&anchors));
        self.anchors = anchors;
    }

    fn recall(&mut self, lines: Lines, anchor: Option<u16>) -> Option<Name> {
        // Another shard may have read it, and have written since.
        self.recalled.get_or_insert(lines);
        self.recalled(anchor)?
    }

    /// What is known of this shard; nothing where the file was not read yet.
    fn recalled(&self, anchor: Option<u16>) -> Option<Option<Name>> {
        let lines = self.recalled.as_ref()?;
        let latest = || lines.values().max_by_key(|name| name.birth());
        let name = lines.get(&anchor).or_else(latest).cloned();
        let lead = lines.values().map(|name| name.lead).max().unwrap_or_default();
        Some(name.map(|name| name.with_lead(lead)))
    }

    /// The file, with this note.
    fn with(&mut self, anchor: Option<u16>, note: String) -> String {
        let Some(slot) = anchor else { return note };
        self.written.insert(slot, note);
        self.written.retain(|slot, _| self.anchors.contains(slot));
        let recalled = self
            .recalled
            .iter()
            .flatten()
            .filter_map(|(slot, name)| Some(((*slot)?, name.note())));
        let mut all: BTreeMap<u16, String> = recalled
            .filter(|(slot, _)| self.anchors.contains(slot) && !self.gone.contains(slot))
            .collect();
        all.extend(self.written.clone());
        let lines: Vec<_> = all
            .into_iter()
            .map(|(slot, note)| format!("{slot}={note}"))
            .collect();
        lines.join("\n")
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
    if (&file).take(MAX_BYTES).read_to_string(&mut text)? as u64 == MAX_BYTES {
        return Err(io::Error::other("it is too long"));
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{EpochFile, Lines, Name, Notes};

    fn recalled(text: &str, anchor: Option<u16>) -> Option<Option<String>> {
        let lines = Notes::lines(text)?;
        let name = Notes::default().recall(lines, anchor);
        Some(name.map(|name| format!("{name:?}")))
    }

    fn name(text: &str) -> Option<Option<String>> {
        Some(Name::parse(text).map(|name| format!("{name:?}")))
    }

    #[test]
    fn shard_recalls_its_own_line_or_else_the_latest_loss() {
        let both = "256=a.h.0\n512=b.900.3";
        for (text, anchor, expect) in [
            ("a.h.0", None, "a.h.0"),
            (both, Some(256), "a.h.3"),
            (both, Some(512), "b.900.3"),
            (both, Some(768), "b.900.3"),
            (both, None, "b.900.3"),
            ("a.h.0", Some(256), "a.h.0"),
        ] {
            assert_eq!(recalled(text, anchor), name(expect), "{text} {anchor:?}");
        }
        for text in [
            "",
            "256=",
            "x=a.h.0",
            "a.h.0\n256=b.h.0",
            "256=a.h.0\n\n512=b.h.0",
            "256=a b",
        ] {
            assert_eq!(recalled(text, Some(256)), None, "{text}");
        }
    }

    #[tokio::test]
    async fn what_this_process_wrote_is_no_memory_of_an_earlier_one() {
        const LIMIT: Duration = Duration::from_secs(20);
        let directory = tempfile::tempdir().unwrap();
        let at = || EpochFile::new(Some(directory.path().join("replay-epoch")));
        let recalled = async |file: &EpochFile, anchor| {
            let name = file.recall(Some(anchor), LIMIT).await.unwrap();
            name.map(|name| format!("{name:?}"))
        };
        let note = async |file: &EpochFile, anchor, note: &str| {
            file.keep([256, 512].into());
            file.remember(Some(anchor), note.to_owned(), LIMIT).await.unwrap();
        };
        let first = at();
        assert_eq!(recalled(&first, 256).await, None);
        note(&first, 512, "b.h.0").await;
        assert_eq!(recalled(&first, 256).await, None, "the first use of a cluster");
        note(&first, 256, "a.h.0").await;

        let second = at();
        assert_eq!(recalled(&second, 256).await, name("a.h.0").unwrap());
        note(&second, 256, "c.900.0").await;
        assert_eq!(recalled(&second, 512).await, name("b.h.0").unwrap());
        assert_eq!(recalled(&second, 768).await, name("b.h.0").unwrap());
        assert_eq!(recalled(&at(), 768).await, name("c.900.0").unwrap());
    }

    #[test]
    fn file_holds_the_shards_that_there_are() {
        let mut notes = Notes {
            recalled: Notes::lines("0=x.h.0\n256=a.h.0\n512=b.900.3"),
            anchors: [256, 512, 768].into(),
            ..Notes::default()
        };
        let written = notes.with(Some(256), "c.h.0".to_owned());
        assert_eq!(written, "256=c.h.0\n512=b.900.3");
        notes.anchors = [512, 768].into();
        assert_eq!(
            notes.with(Some(768), "d.h.0".to_owned()),
            "512=b.900.3\n768=d.h.0"
        );
        assert_eq!(notes.with(None, "e.h.0".to_owned()), "e.h.0");
    }

    #[test]
    fn shard_that_is_gone_and_back_has_no_line_of_before() {
        let mut notes = Notes::default();
        notes.keep([256, 512].into());
        notes.recall(Notes::lines("256=a.h.0\n512=b.900.3/7").unwrap(), Some(256));
        notes.keep([256].into());
        notes.keep([256, 512].into());
        assert_eq!(notes.with(Some(256), "c.h.0".to_owned()), "256=c.h.0");
    }

    #[test]
    fn what_this_process_wrote_is_nothing_that_it_recalls() {
        let mut notes = Notes::default();
        notes.keep([256, 512].into());
        assert_eq!(notes.recall(Lines::new(), Some(256)), None);
        let written = notes.with(Some(256), "a.h.0".to_owned());
        assert_eq!(notes.recall(Notes::lines(&written).unwrap(), Some(512)), None);
    }

    #[test]
    fn what_another_shard_was_without_stays_in_its_line() {
        let mut notes = Notes::default();
        notes.keep([256, 512].into());
        notes.recall(Notes::lines("256=a.h.0\n512=b.900.3/7,9").unwrap(), Some(256));
        let written = notes.with(Some(256), "c.h.0".to_owned());
        assert_eq!(written, "256=c.h.0\n512=b.900.3/7,9");
    }
}

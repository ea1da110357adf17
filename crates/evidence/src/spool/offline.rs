//! Reading a spool without owning it: read only, without a lock, while its process runs or after it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::claim::PREFIX;
use super::disk::{Disk as _, System};
use super::record::{self, Kind};
use super::segment::{self, PREFACE, Records, Segment};

/// How often a directory is looked at again whose files go while they are opened.
const TRIES: u32 = 100;

/// An event that lies in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The event's id.
    pub id: Uuid,
    /// Its exact bytes; of a request that is under way, those that would be shipped if nothing more were heard of it.
    pub data: Vec<u8>,
    /// Whether it is finished, and only waits to be shipped.
    pub is_finished: bool,
}

/// Gives every event that is not shipped, as far as the spool knows, to `take`, and then every request that is under way.
///
/// The directory is that of `AUDIT_REPLAY_DIR`, or one process's below it.
///
/// # Errors
/// The directory cannot be read, or belongs to no spool.
pub fn read_spool(dir: &Path, take: &mut dyn FnMut(Stored)) -> io::Result<()> {
    let mut parts = parts(dir)?;
    if parts.is_empty() && !bases(dir)?.is_empty() {
        parts.push(dir.to_owned());
    }
    for part in parts {
        match Part::open(&part) {
            Ok(part) => part.read(take)?,
            // Its process has ended meanwhile, with everything shipped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The directories of processes, in the order of their names.
fn parts(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_part = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes());
        if is_part && entry.file_type()?.is_dir() {
            parts.push(entry.path());
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

/// The segments in a directory.
fn bases(dir: &Path) -> io::Result<Vec<u64>> {
    segment::list(&*System.open(dir, false)?)
}

/// The files of one process. They stay readable when they are deleted.
struct Part(Vec<(u64, File)>);

impl Part {
    fn open(dir: &Path) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            let bases = bases(dir)?;
            let files = bases
                .into_iter()
                .map(|base| Ok((base, File::open(dir.join(segment::name(base)))?)));
            match files.collect::<io::Result<Vec<_>>>() {
                Ok(files) => return Ok(Self(files)),
                // Shipped, and deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn read(&self, take: &mut dyn FnMut(Stored)) -> io::Result<()> {
        let (mut shipped, mut settled) = (0, HashSet::new());
        self.each(|_, record| match record.kind {
            Kind::Ack => shipped = shipped.max(record::acked(record).unwrap_or(0)),
            Kind::Event | Kind::Cancel => drop(settled.insert(record.id)),
            Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Boot => {}
        })?;
        let stored = |record: &record::Record<'_>, is_finished| Stored {
            id: record.id,
            data: record.payload.to_vec(),
            is_finished,
        };
        self.each(|position, record| {
            if record.kind == Kind::Event && position >= shipped {
                take(stored(record, true));
            }
        })?;
        self.each(|_, record| {
            let is_intent = matches!(record.kind, Kind::Intent | Kind::Dispatched | Kind::Undispatched);
            if is_intent && !record.payload.is_empty() && settled.insert(record.id) {
                take(stored(record, false));
            }
        })
    }

    /// Every record with its position, as far as files read back.
    fn each(&self, mut take: impl FnMut(u64, &record::Record<'_>)) -> io::Result<()> {
        for (base, file) in &self.0 {
            let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, 0)?;
            let mut position = Segment::empty(*base).first();
            for record in Records::new(bytes.get(PREFACE.len()..).unwrap_or_default()) {
                take(position, &record);
                position += record.bytes.len() as u64;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Stored, read_spool};
    use crate::spool::flush;
    use crate::testing::{DONE, cross, event, execute, interrupted, open, ship};

    fn read(dir: &std::path::Path) -> Vec<Stored> {
        let mut all = Vec::new();
        read_spool(dir, &mut |stored| all.push(stored)).unwrap();
        all
    }

    #[tokio::test]
    async fn a_spool_is_read_beside_its_process_and_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path());
        execute(&spool, 0..3).await;
        let crossing = cross(&spool, 7).await;
        flush(&spool.inner).await;
        let running = read(dir.path());
        let finished: Vec<_> = running
            .iter()
            .filter(|stored| stored.is_finished)
            .map(|stored| &stored.data)
            .collect();
        assert_eq!(finished, [&event(0, &DONE), &event(1, &DONE), &event(2, &DONE)]);
        assert_eq!(
            (running[3].is_finished, &running[3].data),
            (false, &interrupted(7))
        );
        // A process's own directory may be named too.
        let part = std::fs::read_dir(dir.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        assert_eq!(read(&part), running);
        crossing.abandon();
        drop(spool);
        assert_eq!(read(dir.path()), running);
    }

    #[tokio::test]
    async fn what_is_shipped_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path());
        execute(&spool, 0..3).await;
        let crossing = cross(&spool, 7).await;
        assert_eq!(ship(&spool).await.data().len(), 3);
        assert_eq!(
            read(dir.path())
                .iter()
                .filter(|stored| stored.is_finished)
                .count(),
            0
        );
        crossing.outcome(&DONE);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_an_empty_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).is_empty());
        assert!(read_spool(&dir.path().join("missing"), &mut |_| {}).is_err());
    }
}

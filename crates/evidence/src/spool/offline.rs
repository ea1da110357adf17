//! Reading a spool without owning it: read only, without a lock, while its process runs or after it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chain::{Chain, CheckpointKey, Head, PublicKey, is_checkpoint};

use super::chain_file::{CHAIN, KEY, Reading};
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

/// What is found in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The events that follow go on with this chain: the ones before are shipped.
    Chain {
        /// Its id.
        id: Uuid,
        /// Where it stands.
        head: Head,
        /// What its checkpoints are verified with.
        key: PublicKey,
    },
    /// An event.
    Event(Stored),
}

/// Gives every event that is not shipped, as far as the spool knows, to `take`, with the bytes with which it will be shipped,
/// and then every request that is under way.
///
/// The directory is that of `AUDIT_REPLAY_DIR`, or one process's below it. `lasting` is the key of checkpoints, where it is
/// none of the process's own.
///
/// # Errors
/// The directory cannot be read, or a checkpoint in it is to be signed with a key that is not at hand.
pub fn read_spool(
    dir: &Path,
    lasting: Option<&CheckpointKey>,
    take: &mut dyn FnMut(Found),
) -> io::Result<()> {
    let mut parts = parts(dir)?;
    if parts.is_empty() && !bases(dir)?.is_empty() {
        parts.push(dir.to_owned());
    }
    for part in parts {
        match Part::open(&part) {
            Ok(opened) => opened.read(key(&part, lasting), take)?,
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

/// The key in a directory, or the lasting one, whichever is the one that is asked for.
fn key<'a>(
    dir: &'a Path,
    lasting: Option<&'a CheckpointKey>,
) -> impl Fn(&PublicKey) -> Option<CheckpointKey> + 'a {
    move |public| {
        let seed = fs::read(dir.join(KEY)).ok().and_then(|seed| seed.try_into().ok());
        let own = seed.and_then(CheckpointKey::from_seed);
        let mut keys = own.into_iter().chain(lasting.cloned());
        keys.find(|key| key.public() == *public)
    }
}

/// Where the chain in a directory stands.
fn state(dir: &Path) -> io::Result<Option<Reading>> {
    match fs::read(dir.join(CHAIN)) {
        Ok(bytes) => Ok(Reading::of(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The segments in a directory.
fn bases(dir: &Path) -> io::Result<Vec<u64>> {
    segment::list(&*System.open(dir, false)?)
}

/// The files of one process. They stay readable when they are deleted.
struct Part {
    /// Up to where it is shipped, and the chain there; none where it is one of a build that made no chains.
    state: Option<Reading>,
    files: Vec<(u64, File)>,
}

impl Part {
    fn open(dir: &Path) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            let state = state(dir)?;
            let bases = bases(dir)?;
            let files = bases
                .into_iter()
                .map(|base| Ok((base, File::open(dir.join(segment::name(base)))?)));
            match files.collect::<io::Result<Vec<_>>>() {
                // What was deleted meanwhile was shipped before, which the state says then.
                Ok(files) if state == self::state(dir)? => return Ok(Self { state, files }),
                Ok(_) => last = io::Error::other("it is shipped faster than it can be read"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn read(
        &self,
        key: impl Fn(&PublicKey) -> Option<CheckpointKey>,
        take: &mut dyn FnMut(Found),
    ) -> io::Result<()> {
        let (mut shipped, mut settled, mut rewritten) = (0, HashSet::new(), Vec::new());
        let mut copied_from = None;
        self.each(|at, record| match record.kind {
            Kind::Ack => shipped = shipped.max(record::position(record).unwrap_or(0)),
            Kind::Event | Kind::Cancel => drop(settled.insert(record.id)),
            Kind::Rewritten => match copied_from.take() {
                Some((from, base)) => rewritten.push(from..base),
                None => copied_from = Some((record::position(record).unwrap_or(at), at)),
            },
            Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold | Kind::Boot | Kind::Lost => {
            }
        })?;
        // A copy that is not whole does not count; it is the last there is.
        rewritten.extend(copied_from.map(|(_, base)| base..u64::MAX));
        let chain = self.state.as_ref().map(Reading::chain);
        let mut chain = chain.map(|chain| Chain {
            key: key(&chain.public),
            ..chain
        });
        let mut is_unsigned = false;
        if let (Some(state), Some(chain)) = (&self.state, &chain) {
            shipped = state.position;
            take(Found::Chain {
                id: chain.id,
                head: chain.head,
                key: chain.public,
            });
        }
        let mut give = |record: &record::Record<'_>, data, is_finished| {
            take(Found::Event(Stored {
                id: record.id,
                data,
                is_finished,
            }));
        };
        self.each(|position, record| {
            let counts = position >= shipped && !rewritten.iter().any(|range| range.contains(&position));
            if record.kind == Kind::Lost && counts {
                let lost = record::position(record).unwrap_or(0);
                chain.iter_mut().for_each(|chain| chain.skip(lost));
            }
            if record.kind == Kind::Event && counts {
                let data = match &mut chain {
                    Some(chain) => {
                        is_unsigned |= chain.key.is_none() && is_checkpoint(record.payload);
                        chain.join(record.payload)
                    }
                    None => record.payload.to_vec(),
                };
                // What follows an event names its bytes.
                if !is_unsigned {
                    give(record, data, true);
                }
            }
        })?;
        if is_unsigned {
            let missing = "the key that signs its checkpoints is not at hand: set AUDIT_CHECKPOINT_KEY as its process has it";
            return Err(io::Error::other(missing));
        }
        self.each(|_, record| {
            let is_intent = matches!(
                record.kind,
                Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold
            ) && !record.payload.is_empty();
            if is_intent && settled.insert(record.id) {
                give(record, record.payload.to_vec(), false);
            }
        })
    }

    /// Every record with its position, as far as files read back.
    fn each(&self, mut take: impl FnMut(u64, &record::Record<'_>)) -> io::Result<()> {
        for (base, file) in &self.files {
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
    use super::{Found, Stored, read_spool};
    use crate::spool::flush;
    use crate::testing::{cross, execute, interrupted, open, plain, ship};
    use crate::verify::Verifier;

    fn read(dir: &std::path::Path) -> (Verifier, Vec<Stored>) {
        let (mut verifier, mut all) = (Verifier::default(), Vec::new());
        let found = read_spool(dir, None, &mut |found| match found {
            Found::Chain { id, head, key } => verifier.begins_behind(&id.to_string(), head, key),
            Found::Event(stored) => all.push(stored),
        });
        found.unwrap();
        for stored in all.iter().filter(|stored| stored.is_finished) {
            verifier.add(&stored.data, None);
        }
        (verifier, all)
    }

    #[tokio::test]
    async fn a_spool_is_read_beside_its_process_and_after_it_with_the_bytes_that_are_shipped() {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path());
        execute(&spool, 0..2).await;
        let crossing = cross(&spool, 7).await;
        let mut sink = ship(&spool).await.shipments();
        execute(&spool, 2..5).await;
        flush(&spool.inner).await;
        let (verifier, running) = read(dir.path());
        let report = verifier.finish();
        assert!(report.is_sound() && report.chains[0].first == 3, "{report:?}");
        // A process's own directory may be named too.
        let part = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(read(&part.path()).1, running);
        let (waiting, under_way) = running.split_at(3);
        assert_eq!(
            (under_way[0].is_finished, &under_way[0].data),
            (false, &interrupted(7))
        );

        crossing.abandon();
        drop(spool);
        assert_eq!(read(dir.path()).1, running);
        let next = open(dir.path());
        sink.extend(crate::testing::ship_until(&next, 4).await.shipments());
        let shipped: Vec<_> = sink
            .iter()
            .skip(2)
            .map(|shipment| shipment.data.to_vec())
            .collect();
        assert_eq!(
            shipped[..3],
            waiting
                .iter()
                .map(|stored| stored.data.clone())
                .collect::<Vec<_>>()
        );
        assert_eq!(plain(&shipped[3]), interrupted(7));
        let mut verifier = Verifier::default();
        sink.iter()
            .for_each(|shipment| verifier.add(&shipment.data, None));
        let report = verifier.finish();
        assert!(report.is_sound() && report.chains[0].is_complete, "{report:?}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_an_empty_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).1.is_empty());
        assert!(read_spool(&dir.path().join("missing"), None, &mut |_| {}).is_err());
    }
}

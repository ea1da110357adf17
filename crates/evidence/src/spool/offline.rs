//! Reading a spool without owning it: read only, without a lock, while its process runs or after it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::chain_file::{CHAIN, Reading};
use super::claim::PREFIX;
use super::disk::{Disk as _, System};
use super::record::{self, Kind, Record};
use super::segment::{self, ASIDE, PREFACE, Records, Segment};

/// How often a directory is looked at again whose files go while they are opened.
const TRIES: u32 = 100;

/// An event that lies in a spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The event's id.
    pub id: Uuid,
    /// Its bytes, without the place in the chain that it gets when it is shipped; of a request that is under way, those that
    /// would be shipped if nothing more were heard of it.
    pub data: Vec<u8>,
    /// Whether it is finished, and only waits to be shipped.
    pub is_finished: bool,
}

/// What one process left in a spool, or has in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoolPart {
    /// Its directory.
    pub name: String,
    /// The id of its chain; none where it is one of a build that made no chains.
    pub chain: Option<String>,
    /// The number of the last event of that chain that is shipped.
    pub shipped: Option<u64>,
    /// Events that wait to be shipped.
    pub waiting: u64,
    /// Requests whose end is not recorded.
    pub under_way: u64,
    /// What is missing, or cannot be read, and is not known to be shipped.
    pub holes: Vec<String>,
}

/// Gives every event that is not shipped, as far as the spool knows, to `take`, and then every request that is under way,
/// of one process after the other. Says of each what there is, and what is missing: the positions of records follow on
/// each other without a gap, and each record has a checksum.
///
/// The directory is that of `AUDIT_REPLAY_DIR`, or one process's below it.
///
/// # Errors
/// The directory cannot be read.
pub fn read_spool(dir: &Path, take: &mut dyn FnMut(Stored)) -> io::Result<Vec<SpoolPart>> {
    let mut parts = parts(dir)?;
    if parts.is_empty() && !bases(dir)?.is_empty() {
        parts.push(dir.to_owned());
    }
    let mut all = Vec::with_capacity(parts.len());
    for dir in parts {
        match Part::open(&dir) {
            Ok(part) => all.push(part.read(&dir, take)?),
            // Its process has ended meanwhile, with everything shipped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
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

/// What was set aside because it did not read back.
fn set_aside(dir: &Path) -> io::Result<Vec<(Range<u64>, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(ASIDE.as_bytes()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            all.push((0..u64::MAX, format!("{name} was set aside: it did not read back")));
        }
    }
    all.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
    Ok(all)
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
    files: Vec<Stretch>,
}

/// A segment, as long as it was when it was opened.
struct Stretch {
    base: u64,
    file: File,
    len: usize,
}

impl Stretch {
    fn open(dir: &Path, base: u64) -> io::Result<Self> {
        let file = File::open(dir.join(segment::name(base)))?;
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self { base, file, len })
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, 0)?;
        bytes.drain(..PREFACE.len().min(self.len));
        Ok(bytes)
    }

    /// The records in these bytes of it, with their positions, as far as they read back.
    fn records<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (u64, Record<'a>)> + use<'a> {
        let mut next = Segment::empty(self.base).first();
        Records::new(bytes).map(move |record| {
            let position = next;
            next += record.bytes.len() as u64;
            (position, record)
        })
    }
}

/// What a first reading of the records finds.
#[derive(Default)]
struct Survey {
    shipped: u64,
    settled: HashSet<Uuid>,
    /// The positions of what stands once more behind them.
    rewritten: Vec<Range<u64>>,
    /// Positions of which nothing can be read, and why.
    holes: Vec<(Range<u64>, String)>,
}

impl Part {
    fn open(dir: &Path) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..TRIES {
            let state = state(dir)?;
            let files = bases(dir)?.into_iter().map(|base| Stretch::open(dir, base));
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

    fn read(&self, dir: &Path, take: &mut dyn FnMut(Stored)) -> io::Result<SpoolPart> {
        let mut survey = self.survey()?;
        let (mut waiting, mut open) = (0, Vec::new());
        for stretch in &self.files {
            for (position, record) in stretch.records(&stretch.read()?) {
                let counts = position >= survey.shipped
                    && !survey.rewritten.iter().any(|range| range.contains(&position));
                let is_event = record.kind == Kind::Event && counts;
                let is_intent = matches!(
                    record.kind,
                    Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold
                );
                let is_open = is_intent && !record.payload.is_empty() && survey.settled.insert(record.id);
                let stored = || Stored {
                    id: record.id,
                    data: record.payload.to_vec(),
                    is_finished: is_event,
                };
                if is_event {
                    waiting += 1;
                    take(stored());
                } else if is_open {
                    open.push(stored());
                }
            }
        }
        let under_way = open.len() as u64;
        open.into_iter().for_each(take);
        let known = self.state.as_ref();
        let holes = survey.holes.into_iter().chain(set_aside(dir)?);
        Ok(SpoolPart {
            name: dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            chain: known.map(|state| state.id.to_string()),
            shipped: known.map(|state| state.head.seq),
            waiting,
            under_way,
            holes: holes
                .filter(|(positions, _)| positions.end > survey.shipped)
                .map(|(_, why)| why)
                .collect(),
        })
    }

    fn survey(&self) -> io::Result<Survey> {
        let mut survey = Survey::default();
        let (mut copied_from, mut end) = (None, self.state.as_ref().map(|state| state.position));
        for (n, stretch) in self.files.iter().enumerate() {
            let bytes = stretch.read()?;
            let mut read = Segment::empty(stretch.base).first();
            for (at, record) in stretch.records(&bytes) {
                read = at + record.bytes.len() as u64;
                match record.kind {
                    Kind::Ack => survey.shipped = survey.shipped.max(record::position(&record).unwrap_or(0)),
                    Kind::Event | Kind::Cancel => drop(survey.settled.insert(record.id)),
                    Kind::Rewritten => match copied_from.take() {
                        Some((from, base)) => survey.rewritten.push(from..base),
                        None => copied_from = Some((record::position(&record).unwrap_or(at), at)),
                    },
                    Kind::Lost => {
                        let lost = record::position(&record).unwrap_or(0);
                        let why = format!(
                            "{lost} events were lost before they were shipped, as the process itself says"
                        );
                        survey.holes.push((at..at + 1, why));
                    }
                    Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold | Kind::Boot => {}
                }
            }
            let is_last = n + 1 == self.files.len();
            end = Some(survey.hole(stretch, &bytes, (end, read), is_last));
        }
        // A copy that is not whole does not count; it is the last there is.
        survey
            .rewritten
            .extend(copied_from.map(|(_, base)| base..u64::MAX));
        if let Some(state) = &self.state {
            survey.shipped = state.position;
        }
        Ok(survey)
    }
}

impl Survey {
    /// Notes what is missing before these bytes of a file, or does not read back behind `read`. `end` is where the file
    /// before ends. Where this one does.
    fn hole(
        &mut self,
        stretch: &Stretch,
        bytes: &[u8],
        (end, read): (Option<u64>, u64),
        is_last: bool,
    ) -> u64 {
        let (base, name) = (stretch.base, segment::name(stretch.base));
        if let Some(end) = end.filter(|end| *end < base) {
            self.holes
                .push((end..base, format!("the segment before {name} is missing")));
        }
        let taken = usize::try_from(read - Segment::empty(base).first()).unwrap_or(bytes.len());
        let rest = bytes.get(taken..).unwrap_or_default();
        // Where writing ended there may be a part of a record, and nothing behind it.
        let is_damaged = !rest.is_empty() && (!is_last || holds_record(&rest[1..]));
        let until = if is_damaged {
            read + rest.len() as u64
        } else {
            read
        };
        if is_damaged {
            let why = format!("{name} cannot be read behind byte {}", read - base);
            self.holes.push((read..until, why));
        }
        end.unwrap_or(0).max(until)
    }
}

/// Whether a record stands anywhere in these bytes.
fn holds_record(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| record::decode(&bytes[at..]).is_ok())
}

#[cfg(test)]
mod tests;

//! What stands in the segments of an abandoned spool, and what does not read back.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use uuid::Uuid;

use crate::chain::{is_checkpoint, is_last, last_id};
use crate::spool::MAX_SEGMENT_BYTES;
use crate::spool::chain_file::ChainFile;
use crate::spool::claim::Claim;
use crate::spool::record::{self, Kind, Record};
use crate::spool::segment::{self, PREFACE, PREFACE_BEFORE, Records, Segment};

/// The least that a disk writes at a time, in bytes.
const SECTOR: usize = 512;

/// Where the version stands in the preface, and which can be read; 0 where it did not reach the disk.
const VERSION: usize = PREFACE.len() - 1;
const VERSIONS: [u8; 3] = [0, PREFACE_BEFORE[VERSION], PREFACE[VERSION]];

#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The intents without an outcome.
    pub(super) open: HashMap<Uuid, Intent>,
    /// The run of the system in which the spool was written.
    pub(super) boot: Option<Uuid>,
    pub(super) shipped: u64,
    pub(super) torn: u64,
    /// The position behind the last byte of any file.
    pub(super) beyond: u64,
    /// What does not read back, in order.
    pub(super) holes: Vec<Hole>,
    /// What does not count, because it stands elsewhere too.
    pub(super) rewritten: Vec<Range<u64>>,
    /// The last event: where it stands, when it was recorded, and whether it is the last of its chain.
    pub(super) event: Option<(u64, i64, bool)>,
    /// Where the last checkpoint stands.
    pub(super) checkpoint: Option<u64>,
    /// The end of the files is missing.
    pub(super) is_cut_short: bool,
}

/// A part of the log that does not read back.
#[derive(Debug)]
pub(super) struct Hole {
    /// Where it begins.
    pub(super) at: u64,
    /// It looks like what a power cut leaves of records that were not synced: nothing that counts was there.
    pub(super) looks_unwritten: bool,
    /// No file is left before it. Once shipping is past it nothing shows it any more.
    pub(super) is_first: bool,
}

#[derive(Debug)]
pub(super) struct Intent {
    /// Where the first copy stands.
    pub(super) position: u64,
    pub(super) at: i64,
    pub(super) payload: Vec<u8>,
    pub(super) dispatch: Dispatch,
    /// The segments in which copies stand, and where in them.
    pub(super) copies: Vec<(u64, u64)>,
    /// How many holes lie before its newest copy or mark: when that was written there was no outcome.
    pub(super) holes: usize,
    /// It was told before that nobody can tell.
    pub(super) is_untold: bool,
}

/// What is known of a request's dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dispatch {
    /// There is no mark of it.
    Unmarked,
    /// Bytes may have left.
    Marked,
    /// None have.
    Never,
}

impl Scan {
    /// The id and the time of the checkpoint that ends the chain, where it has none. Its time is that of the event before
    /// it, wherever that stands, so that it is the same when it is made again.
    pub(super) fn last(&self, file: &ChainFile) -> Option<(Uuid, i64)> {
        let chain = file.chain();
        let unfinished = self.open.values().max_by_key(|intent| intent.position);
        let (logged, is_final) = match self.event {
            Some((position, at, is_final)) if position >= file.position() => (Some(at), is_final),
            _ => (None, chain.is_final),
        };
        let at = unfinished.map(|intent| intent.at).or(logged);
        let has_events = chain.head.seq > 0 || at.is_some();
        let is_over = is_final && unfinished.is_none();
        (has_events && !is_over && chain.key.is_some()).then(|| (last_id(chain.id), at.unwrap_or(file.at())))
    }

    /// Takes in a segment. `next` is where the one behind it begins.
    pub(super) fn segment(
        &mut self,
        base: u64,
        next: Option<u64>,
        bytes: &[u8],
        boot: Uuid,
    ) -> io::Result<Segment> {
        let size = bytes.len() as u64;
        let mut segment = Segment::empty(base);
        let mut rest: &[u8] = &[];
        if let Some((preface, body)) = bytes.split_first_chunk::<{ PREFACE.len() }>() {
            // A power cut may have cost the end of it, and whatever else is damaged says nothing of the records.
            if preface[..VERSION] == PREFACE[..VERSION] && !VERSIONS.contains(&preface[VERSION]) {
                return Err(io::Error::other("a segment of another format"));
            }
            let marks = Records::new(body).filter(|record| record.kind == Kind::Rewritten);
            let is_part_of_a_copy = marks.count() == 1;
            let mut records = Records::new(body);
            let mut position = segment.first();
            for record in &mut records {
                if !is_part_of_a_copy {
                    self.record(&record, position, &mut segment);
                }
                position += record.bytes.len() as u64;
            }
            segment.len += records.taken() as u64;
            rest = body.get(records.taken()..).unwrap_or_default();
            if is_part_of_a_copy {
                self.rewritten.push(base..segment.end());
            }
        }
        self.beyond = self.beyond.max(base.saturating_add(size.max(segment.len)));
        if size > segment.len {
            self.torn += size - segment.len;
            // A tail tears where writing ended: in the last segment or, when the power was cut, in an earlier one that had not
            // been synced. Anything else is damage, and is kept.
            let (at, is_same_run) = (segment.end(), self.boot == Some(boot));
            let may_tear = next.is_none_or(|next| !is_same_run && at + written(rest) < next);
            let looks_unwritten = may_tear && is_unwritten(rest, segment.len, is_same_run);
            if next.is_some() || !looks_unwritten {
                self.holes.push(Hole {
                    at,
                    looks_unwritten,
                    is_first: false,
                });
                segment.damaged = true;
                segment.len = size;
            }
        }
        Ok(segment)
    }

    /// What is missing before this segment, where shipping stands at `shipped`: a part that cannot be read, unless it is not
    /// [real](Self::is_real), because the power was cut and it was never synced. Only what is shipped is deleted, oldest first.
    pub(super) fn missing(&mut self, base: u64, bytes: &[u8], shipped: u64, boot: Uuid) -> Option<Segment> {
        let at = if self.beyond == 0 { shipped } else { self.beyond };
        if at >= base {
            return None;
        }
        let first = Records::new(bytes.get(PREFACE.len()..).unwrap_or_default()).next();
        let run = first.and_then(|first| (first.kind == Kind::Boot).then_some(first.id));
        let looks_unwritten = run.or(self.boot) != Some(boot);
        self.holes.push(Hole {
            at,
            looks_unwritten,
            is_first: self.beyond == 0,
        });
        Some(damaged(at, base - at))
    }

    /// What was shipped up to `shipped` had been synced: where it is not there, it is missing.
    pub(super) fn missing_at_the_end(&mut self, shipped: u64) {
        self.is_cut_short = shipped > self.beyond;
        if self.is_cut_short {
            self.holes.push(Hole {
                at: self.beyond,
                looks_unwritten: false,
                is_first: false,
            });
        }
    }

    /// Takes note of a segment that is given up, with all that it holds.
    pub(super) fn unreadable(&mut self, claim: &Claim, base: u64, next: Option<u64>) -> Segment {
        let file = claim.dir().open_file(&segment::name(base));
        let size = file.and_then(|file| file.len()).ok();
        let size = size.or(next.map(|next| next - base)).unwrap_or(MAX_SEGMENT_BYTES);
        self.holes.push(Hole {
            at: base,
            looks_unwritten: false,
            is_first: false,
        });
        self.beyond = self.beyond.max(base.saturating_add(size));
        damaged(base, size)
    }

    fn record(&mut self, record: &Record<'_>, position: u64, segment: &mut Segment) {
        match record.kind {
            Kind::Dispatched if record.payload.is_empty() => {
                if let Some(intent) = self.open.get_mut(&record.id) {
                    intent.dispatch = Dispatch::Marked;
                    intent.holes = self.holes.len();
                }
            }
            Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold => {
                let intent = self.open.entry(record.id).or_insert_with(|| Intent {
                    position,
                    at: record.at,
                    payload: record.payload.to_vec(),
                    dispatch: Dispatch::Unmarked,
                    copies: Vec::new(),
                    holes: 0,
                    is_untold: false,
                });
                intent.holes = self.holes.len();
                if record.kind != Kind::Dispatched {
                    intent.copies.push((segment.base, position - segment.base));
                }
                intent.is_untold |= record.kind == Kind::Untold;
                match record.kind {
                    Kind::Dispatched | Kind::Untold => intent.dispatch = Dispatch::Marked,
                    Kind::Undispatched => intent.dispatch = Dispatch::Never,
                    _ => {}
                }
            }
            Kind::Event => {
                segment.events += 1;
                self.event = Some((position, record.at, is_last(record.payload)));
                self.checkpoint = is_checkpoint(record.payload)
                    .then_some(position)
                    .or(self.checkpoint);
                self.open.remove(&record.id);
            }
            Kind::Cancel => {
                self.open.remove(&record.id);
            }
            Kind::Ack => self.shipped = self.shipped.max(record::position(record).unwrap_or(0)),
            Kind::Boot => self.boot = Some(record.id),
            Kind::Lost => {}
            Kind::Rewritten => {
                let from = record::position(record).unwrap_or(segment.base);
                self.rewritten.push(from..segment.base);
            }
        }
    }
}

impl Scan {
    /// Whether what stood there was written once more, where it counts.
    pub(super) fn is_elsewhere(&self, position: u64) -> bool {
        self.rewritten.iter().any(|range| range.contains(&position))
    }

    /// Whether something that counts may have stood there. What was acknowledged had been synced before.
    pub(super) fn is_real(&self, hole: &Hole) -> bool {
        !self.is_elsewhere(hole.at) && (!hole.looks_unwritten || hole.at < self.shipped)
    }

    /// Takes out the intents whose outcome may stand in a part that does not read back. How many.
    pub(super) fn forget_doubtful(&mut self, claim: &Claim) -> u64 {
        let path = claim.path().display().to_string();
        let last = self
            .holes
            .iter()
            .rposition(|hole| self.is_real(hole))
            .map_or(0, |at| at + 1);
        let doubtful = self.open.extract_if(|_, intent| intent.holes < last);
        let named = doubtful.map(|(id, _)| {
            tracing::error!(path, %id, "how a request ended stands in a part of the spool that does not read back; no event is made of its intent");
        });
        named.count() as u64
    }
}

/// A segment of which something cannot be read.
fn damaged(base: u64, len: u64) -> Segment {
    Segment {
        len,
        damaged: true,
        ..Segment::empty(base)
    }
}

/// How many of these bytes are not zeros at the end.
fn written(rest: &[u8]) -> u64 {
    let last = rest.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |at| at as u64 + 1)
}

/// Whether these bytes, which begin there in the file and with which no record begins, may be what is left where writing ended:
/// the beginning of a record. When the power is cut zeros may lie behind it, and sectors of zeros between others, the first
/// of which holds the end of what was written before.
fn is_unwritten(rest: &[u8], from: u64, is_same_run: bool) -> bool {
    if is_same_run {
        return record::is_begun(rest);
    }
    let end = usize::try_from(written(rest)).unwrap_or(rest.len());
    let rest = rest.get(..end).unwrap_or_default();
    let in_sector = usize::try_from(from % SECTOR as u64).unwrap_or(0);
    let leading = rest.iter().take_while(|byte| **byte == 0).count();
    let mut zeros = rest.split(|byte| *byte != 0);
    record::is_begun(rest) || leading >= SECTOR - in_sector || zeros.any(|zeros| zeros.len() >= SECTOR)
}

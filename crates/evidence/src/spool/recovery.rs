//! Taking over what a process left behind.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use super::chain_file::ChainFile;
use super::claim::Claim;
use super::disk::{DataFile, Directory, Disk, gone_is_fine};
use super::inner::Inner;
use super::orphan::Orphan;
use super::record::{self, KIND_AT, Kind, Record};
use super::segment::{self, PREFACE, PREFACE_BEFORE, Records, SPARE, Segment};
use super::stats::add;
use super::unreadable::is_of_the_file;
use crate::chain::{CheckpointKey, is_last, last_id, write_checkpoint};
use crate::event::not_dispatched;

/// How many spools are adopted in one go: each costs a file descriptor until it is shipped.
const MAX_ORPHANS: usize = 64;

/// Adopts the spools that no living process owns, but not too many at once. One that cannot be read is left for
/// a later try; neither it nor one in which only files that were kept aside are left counts as one of them, or
/// such would in the end be all that is adopted. The last `try` sets a segment aside that cannot be read; says also
/// whether an earlier one met such.
pub(crate) fn adopt(inner: &Inner, last_try: bool) -> io::Result<(Vec<Orphan>, bool)> {
    let counters = &inner.counters;
    let (mut found, mut unread) = (Vec::new(), false);
    let lasting = inner.with_log(|log| log.site().checkpoint_key.clone());
    let user = inner.with_log(|log| log.home().map(|home| home.claim().user()));
    let user = user.unwrap_or_else(|| Ok(inner.disk.user()))?;
    for claim in Claim::orphans(&*inner.disk, &inner.root, user)? {
        let path = claim.path().display().to_string();
        match recover(&inner.disk, claim, last_try, lasting.as_ref()) {
            Ok(mut orphan) => {
                let (finished, torn) = (orphan.finished, orphan.torn);
                let damaged = orphan.segments.iter().filter(|segment| segment.damaged).count();
                if orphan.unshipped().is_some() {
                    tracing::info!(
                        path,
                        finished,
                        torn,
                        damaged,
                        "adopted the evidence of a process that ended"
                    );
                }
                add(&counters.recovered, finished);
                add(&counters.dropped, orphan.lost + damaged as u64);
                add(&counters.adopted_files, orphan.segments.len() as u64);
                add(
                    &counters.adopted_bytes,
                    orphan.segments.iter().map(|segment| segment.len).sum(),
                );
                let is_over = orphan.unshipped().is_none() && damaged == orphan.segments.len();
                if is_over && orphan.remove(counters).is_ok() {
                    continue;
                }
                found.push(orphan);
            }
            Err(error) => {
                unread |= is_of_the_file(&error);
                tracing::error!(path, %error, "an abandoned evidence spool cannot be adopted");
            }
        }
        if found.len() == MAX_ORPHANS {
            break;
        }
    }
    found.sort_by_key(|orphan| orphan.claim.path());
    Ok((found, unread))
}

/// Finishes the intents without an outcome, and makes durable what is there. No space is needed for it.
///
/// A segment that cannot be read is an error, or set aside where others can be read: then the intents before it whose
/// outcome may stand in it are not finished, because that would be told beside the true one. They are named and counted.
///
/// Repeated after a crash in the middle, it has the same result: what it adds is made of the intents, and what is said of
/// their dispatch is durable before it is shipped.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    claim: Claim,
    sets_aside: bool,
    lasting: Option<&CheckpointKey>,
) -> io::Result<Orphan> {
    let chain = ChainFile::open(&**claim.dir(), lasting)?;
    let bases = segment::list(&**claim.dir())?;
    let mut scan = Scan {
        sets_aside,
        ..Scan::default()
    };
    let mut segments = VecDeque::new();
    for (n, base) in bases.iter().enumerate() {
        segments.push_back(scan.segment(&claim, *base, n + 1 == bases.len())?);
    }
    if scan.unread.len() == segments.len()
        && let Some(error) = scan.unread.pop()
    {
        // Not this file: the volume.
        return Err(error);
    }
    // A mark that was not synced is lost with the system's run, and one may be in what is missing or does not read back.
    let is_whole = !scan.gap && segments.iter().all(|segment| !segment.damaged);
    let is_marked = is_whole && scan.boot == Some(disk.boot());
    tell(&**claim.dir(), &mut scan.open, is_marked)?;
    gone_is_fine(claim.dir().remove(SPARE))?;
    claim.dir().sync()?;
    let lost = scan.forget_doubtful(&claim);
    let first = scan.open.values().map(|intent| intent.position).min();
    let finished = scan.open.len() as u64;
    let shipped = chain.as_ref().map_or(scan.shipped, ChainFile::position);
    let last = chain.as_ref().and_then(|chain| scan.last(chain));
    let made = (first.is_some() || last.is_some()).then(|| {
        // Where it was before, if this is not the first time: some of it may be shipped.
        let base = segments.back().map_or(shipped, Segment::end).max(scan.beyond);
        let (segment, bytes) = finish(base, scan.open, last);
        segments.push_back(segment);
        bytes
    });
    Ok(Orphan {
        claim,
        segments,
        shipped,
        finished,
        lost,
        made,
        held: first.unwrap_or(u64::MAX),
        disk: Arc::clone(disk),
        chain,
        rewritten: scan.rewritten.into(),
        torn: scan.torn,
    })
}

#[derive(Debug, Default)]
struct Scan {
    /// The intents without an outcome.
    open: HashMap<Uuid, Intent>,
    /// The run of the system in which the spool was written.
    boot: Option<Uuid>,
    shipped: u64,
    torn: u64,
    /// The position behind the last byte of any file.
    beyond: u64,
    /// A segment is missing.
    gap: bool,
    /// Whether to go on behind a segment that cannot be read.
    sets_aside: bool,
    /// Why segments cannot be read.
    unread: Vec<io::Error>,
    /// What does not count, because it stands elsewhere too.
    rewritten: Vec<Range<u64>>,
    /// The last event: where it stands, when it was recorded, and whether it is the last of its chain.
    event: Option<(u64, i64, bool)>,
}

#[derive(Debug)]
struct Intent {
    /// Where the first copy stands.
    position: u64,
    at: i64,
    payload: Vec<u8>,
    dispatch: Dispatch,
    /// The segments in which copies stand, and where in them.
    copies: Vec<(u64, u64)>,
    /// Its outcome may stand in a segment that cannot be read.
    is_doubtful: bool,
    /// It was told before that nobody can tell.
    is_untold: bool,
}

/// What is known of a request's dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dispatch {
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
    fn last(&self, file: &ChainFile) -> Option<(Uuid, i64)> {
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

    /// One that cannot be read is set aside with all that it holds; the others are read all the same.
    fn segment(&mut self, claim: &Claim, base: u64, last: bool) -> io::Result<Segment> {
        let (file, bytes) = match read_whole(&**claim.dir(), base) {
            Err(error) if self.sets_aside && is_of_the_file(&error) => {
                let path = claim.path().join(segment::name(base)).display().to_string();
                tracing::error!(path, %error, "a segment of an abandoned spool cannot be read");
                for intent in self.open.values_mut() {
                    intent.is_doubtful = true;
                }
                self.unread.push(error);
                return Ok(Segment {
                    damaged: true,
                    ..Segment::empty(base)
                });
            }
            read => read?,
        };
        let size = bytes.len() as u64;
        let mut segment = Segment::empty(base);
        if let Some((preface, body)) = bytes.split_first_chunk::<{ PREFACE.len() }>() {
            // A power cut may have cost the end of it.
            let as_far_as_written = PREFACE
                .iter()
                .zip(preface)
                .skip_while(|(meant, found)| meant == found);
            let torn = as_far_as_written.map(|(_, found)| *found).all(|byte| byte == 0);
            if *preface != PREFACE_BEFORE && !torn {
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
            if is_part_of_a_copy {
                self.rewritten.push(base..segment.end());
            }
        }
        if size > segment.len {
            self.torn += size - segment.len;
            // A tail tears where writing ended. Anything else is damage, and is kept.
            segment.damaged = !last;
        }
        self.gap |= self.beyond != 0 && self.beyond < base;
        self.beyond = self.beyond.max(base.saturating_add(size.max(segment.len)));
        file.sync()?;
        Ok(segment)
    }

    fn record(&mut self, record: &Record<'_>, position: u64, segment: &mut Segment) {
        match record.kind {
            Kind::Dispatched if record.payload.is_empty() => {
                if let Some(intent) = self.open.get_mut(&record.id) {
                    intent.dispatch = Dispatch::Marked;
                    intent.is_doubtful = false;
                }
            }
            Kind::Intent | Kind::Dispatched | Kind::Undispatched | Kind::Untold => {
                let intent = self.open.entry(record.id).or_insert_with(|| Intent {
                    position,
                    at: record.at,
                    payload: record.payload.to_vec(),
                    dispatch: Dispatch::Unmarked,
                    copies: Vec::new(),
                    is_doubtful: false,
                    is_untold: false,
                });
                // When this was written there was no outcome.
                intent.is_doubtful = false;
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
                self.open.remove(&record.id);
            }
            Kind::Cancel => {
                self.open.remove(&record.id);
            }
            Kind::Ack => self.shipped = self.shipped.max(record::position(record).unwrap_or(0)),
            Kind::Boot => self.boot = Some(record.id),
            Kind::Rewritten => {
                let from = record::position(record).unwrap_or(segment.base);
                self.rewritten.push(from..segment.base);
            }
        }
    }
}

impl Scan {
    /// Takes out the intents whose outcome may stand in a segment that cannot be read. How many.
    fn forget_doubtful(&mut self, claim: &Claim) -> u64 {
        let path = claim.path().display().to_string();
        let doubtful = self.open.extract_if(|_, intent| intent.is_doubtful);
        let named = doubtful.map(|(id, _)| {
            tracing::error!(path, %id, "how a request ended stands in a segment that cannot be read; no event is made of its intent");
        });
        named.count() as u64
    }
}

fn read_whole(dir: &dyn Directory, base: u64) -> io::Result<(Arc<dyn DataFile>, Vec<u8>)> {
    let file = dir.open_file(&segment::name(base))?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

/// Writes down of the intents without a mark that their requests were not dispatched, or that nobody can tell: who comes
/// after us may know less, when the system has been started again, or not see any more what was missing.
fn tell(dir: &dyn Directory, open: &mut HashMap<Uuid, Intent>, is_marked: bool) -> io::Result<()> {
    let (dispatch, kind) = if is_marked {
        (Dispatch::Never, Kind::Undispatched)
    } else {
        (Dispatch::Marked, Kind::Untold)
    };
    let mut files = BTreeMap::new();
    for intent in open.values_mut() {
        // What was told before may not have reached every copy.
        let kind = match intent.dispatch {
            Dispatch::Unmarked => kind,
            Dispatch::Never => Kind::Undispatched,
            Dispatch::Marked if intent.is_untold => Kind::Untold,
            Dispatch::Marked => continue,
        };
        if intent.dispatch == Dispatch::Unmarked {
            intent.dispatch = dispatch;
        }
        for (base, at) in &intent.copies {
            let file = match files.entry(*base) {
                Entry::Occupied(file) => file.into_mut(),
                Entry::Vacant(place) => place.insert(dir.open_to_write(&segment::name(*base))?),
            };
            file.write_at(&[kind as u8], at + KIND_AT)?;
        }
    }
    files.values().try_for_each(|file| file.sync())
}

/// Makes a segment of the events of unfinished requests, in the order of their intents, and of the checkpoint that ends
/// the chain.
fn finish(base: u64, open: HashMap<Uuid, Intent>, last: Option<(Uuid, i64)>) -> (Segment, Arc<[u8]>) {
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort_unstable_by_key(|(_, intent)| intent.position);
    let mut segment = Segment::empty(base);
    let mut bytes = PREFACE.to_vec();
    let mut buffer = Vec::new();
    for (id, intent) in open {
        let event = match intent.dispatch {
            Dispatch::Never => not_dispatched(&intent.payload),
            Dispatch::Unmarked | Dispatch::Marked => intent.payload,
        };
        bytes.extend_from_slice(record::encode(&mut buffer, Kind::Event, intent.at, id, &event).bytes);
        segment.events += 1;
    }
    if let Some((id, at)) = last {
        let mut checkpoint = Vec::new();
        write_checkpoint(&mut checkpoint, id, at, true);
        bytes.extend_from_slice(record::encode(&mut buffer, Kind::Event, at, id, &checkpoint).bytes);
        segment.events += 1;
    }
    segment.len = bytes.len() as u64;
    (segment, bytes.into())
}

//! Taking over what a process left behind.

mod scan;

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::chain_file::ChainFile;
use super::claim::Claim;
use super::disk::{DataFile, Directory, gone_is_fine};
use super::inner::Inner;
use super::orphan::Orphan;
use super::record::{self, KIND_AT, Kind};
use super::segment::{self, PREFACE, SPARE, Segment};
use super::stats::add;
use super::superseded;
use super::unreadable::Unread;
use crate::chain::{CheckpointKey, write_checkpoint};
use crate::event::not_dispatched;
use scan::{Dispatch, Intent, Scan};

/// Where the segment of what is made begins: behind all that was ever written, so that a position says whether some of it was
/// shipped.
const MADE: u64 = 1 << 62;

/// What stands for the files of the chain among the segments that cannot be read.
const CHAIN: u64 = u64::MAX;

/// Without the key a checkpoint would be shipped that proves nothing, and with other bytes where it was shipped before.
const NO_KEY: &str = "a checkpoint in it waits for the key of its chain: set AUDIT_CHECKPOINT_KEY as its process had it; where \
                      that key is lost, remove the file `chain`, and its events are shipped without a chain";

/// How many spools are adopted in one go: each costs a file descriptor until it is shipped.
const MAX_ORPHANS: usize = 64;

/// Adopts the spools that no living process owns, but not too many at once. One that cannot be read is left for
/// a later try; neither it nor one in which only files that were kept aside are left counts as one of them, or
/// such would in the end be all that is adopted. Those with segments that cannot be read, and are tried, are in `unread`.
pub(crate) fn adopt(inner: &Inner, unread: &mut HashMap<PathBuf, Unread>) -> io::Result<Vec<Orphan>> {
    let counters = &inner.counters;
    let (mut found, mut tried) = (Vec::new(), std::mem::take(unread));
    let lasting = inner.with_log(|log| log.site().checkpoint_key.clone());
    let user = inner.with_log(|log| log.home().map(|home| home.claim().user()));
    let user = user.unwrap_or_else(|| Ok(inner.disk.user()))?;
    for claim in Claim::orphans(&*inner.disk, &inner.root, user)? {
        let path = claim.path();
        let mut those = tried.remove(&path).unwrap_or_default();
        match recover(inner, claim, &mut those, lasting.as_ref()) {
            Ok(None) => {}
            Ok(Some(mut orphan)) => {
                let (finished, torn) = (orphan.finished, orphan.torn);
                let damaged = orphan.segments.iter().filter(|segment| segment.damaged).count();
                if orphan.unshipped().is_some() {
                    tracing::info!(
                        path = %path.display(),
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
                tracing::error!(path = %path.display(), %error, "an abandoned evidence spool cannot be adopted");
                if !those.is_empty() {
                    unread.insert(path, those);
                }
            }
        }
        if found.len() == MAX_ORPHANS {
            break;
        }
    }
    found.sort_by_key(|orphan| orphan.claim.path());
    Ok(found)
}

/// Finishes the intents without an outcome, and makes durable what is there. No space is needed for it. None where another
/// directory goes on with the chain.
///
/// A segment that cannot be read is an error, until it is given up. What may have ended in a part that does not read back
/// is not finished, because that could be told beside the true outcome. It is named and counted.
///
/// Repeated after a crash in the middle, it has the same result: what it adds is made of the intents, and what is said of
/// their dispatch is durable before it is shipped.
pub(crate) fn recover(
    inner: &Inner,
    claim: Claim,
    unread: &mut Unread,
    lasting: Option<&CheckpointKey>,
) -> io::Result<Option<Orphan>> {
    let disk = &inner.disk;
    if superseded::is_copy(&**claim.dir())? {
        let lost = superseded::discard_copy(&**disk, &claim)?;
        add(&inner.counters.dropped, lost);
        return Ok(None);
    }
    let bases = segment::list(&**claim.dir())?;
    let chain = match ChainFile::open(&**claim.dir(), lasting) {
        Err(error) if inner.gives_up(unread, CHAIN, &error) => {
            let path = claim.path().display().to_string();
            tracing::error!(path, %error, "the state of a chain cannot be read: its events are shipped without one");
            None
        }
        read => read?,
    };
    unread.reads(CHAIN);
    if let Some(chain) = &chain
        && superseded::settle(&**disk, &claim, chain)?
    {
        return Ok(None);
    }
    let shipped = chain.as_ref().map(ChainFile::position);
    let (mut scan, mut segments) = look_through(inner, &claim, &bases, chain.as_ref(), unread)?;
    if let Some(file) = &chain
        && file.chain().key.is_none()
        && scan.checkpoint >= Some(file.position())
    {
        return Err(io::Error::other(NO_KEY));
    }
    // A mark that was not synced is lost with the system's run, and one may be in what is missing or does not read back.
    let is_whole = scan.holes.iter().all(|hole| scan.is_elsewhere(hole.at));
    let is_marked = is_whole && scan.boot == Some(disk.boot());
    tell(&**claim.dir(), &mut scan.open, is_marked)?;
    gone_is_fine(claim.dir().remove(SPARE))?;
    claim.dir().sync()?;
    let first = scan.open.values().map(|intent| intent.position).min();
    let lost = scan.forget_doubtful(&claim);
    // The first of them leaves its number unused where it is passed, and so does not count.
    let mut holes = scan
        .holes
        .iter()
        .filter(|hole| scan.is_real(hole) && !hole.is_first);
    // The file before it shows where it begins.
    let hole = holes.next().map(|hole| hole.at.saturating_sub(1));
    let finished = scan.open.len() as u64;
    let shipped = shipped.unwrap_or(scan.shipped);
    // Behind what is missing at the end nothing can be said.
    let last = chain.as_ref().filter(|_| !scan.is_cut_short);
    let last = last.and_then(|chain| scan.last(chain));
    let made = (finished > 0 || last.is_some()).then(|| {
        let (segment, bytes) = finish(scan.open, last);
        segments.push_back(segment);
        bytes
    });
    Ok(Some(Orphan {
        claim,
        segments,
        shipped,
        finished,
        lost,
        made,
        missing: lost + u64::from(hole.is_some()),
        held: first.into_iter().chain(hole).min().unwrap_or(u64::MAX),
        disk: Arc::clone(disk),
        chain,
        rewritten: scan.rewritten.into(),
        torn: scan.torn,
        given_up: 0,
        is_kept: false,
        unread: Unread::default(),
    }))
}

/// Reads what stands in the segments, and where something is missing. What may be judged in different ways is written down.
fn look_through(
    inner: &Inner,
    claim: &Claim,
    bases: &[u64],
    chain: Option<&ChainFile>,
    unread: &mut Unread,
) -> io::Result<(Scan, VecDeque<Segment>)> {
    let shipped = chain.map(ChainFile::position);
    let boot = chain.and_then(ChainFile::judged).unwrap_or(inner.disk.boot());
    let mut scan = Scan::default();
    let (mut segments, mut failed) = (VecDeque::new(), None);
    for (n, base) in bases.iter().enumerate() {
        let next = bases.get(n + 1).copied();
        match read_whole(&**claim.dir(), *base) {
            Ok((file, bytes)) => {
                unread.reads(*base);
                let before = scan.missing(*base, &bytes, shipped.unwrap_or(*base), boot);
                segments.extend(before);
                segments.push_back(scan.segment(*base, next, &bytes, boot)?);
                file.sync()?;
            }
            Err(error) if inner.gives_up(unread, *base, &error) => {
                let path = claim.path().join(segment::name(*base)).display().to_string();
                tracing::error!(path, %error, "a segment of an abandoned spool cannot be read");
                segments.push_back(scan.unreadable(claim, *base, next));
            }
            // The others are looked at all the same, so that all of them are tried for as long.
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(shipped) = shipped.filter(|shipped| *shipped < MADE && !bases.is_empty()) {
        scan.missing_at_the_end(shipped);
    }
    // What is missing and counts elsewhere was done with.
    let is_missing = |base| {
        scan.holes
            .iter()
            .any(|hole| hole.at == base && scan.is_real(hole))
    };
    segments.retain(|segment| bases.contains(&segment.base) || is_missing(segment.base));
    // Another run of the system would take for unwritten what this one knows was there.
    if let Some(file) = chain
        && !scan.holes.is_empty()
        && scan.boot == Some(boot)
    {
        file.judge(boot)?;
    }
    Ok((scan, segments))
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
fn finish(open: HashMap<Uuid, Intent>, last: Option<(Uuid, i64)>) -> (Segment, Arc<[u8]>) {
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort_unstable_by_key(|(_, intent)| intent.position);
    let mut segment = Segment::empty(MADE);
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

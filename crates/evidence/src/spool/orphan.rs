//! The spool of a process that is gone, while it is shipped.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::chain_file::ChainFile;
use super::claim::Claim;
use super::disk::Disk;
use super::segment::{self, Segment, Source};
use super::stats::{Counters, add, subtract};
use super::unreadable::Unread;
use crate::chain::Chain;

/// The spool of a process that is gone. Every event in it is finished and durable.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) claim: Claim,
    /// Oldest first.
    pub(crate) segments: VecDeque<Segment>,
    /// What is shipped up to.
    pub(crate) shipped: u64,
    /// How many intents recovery has finished.
    pub(crate) finished: u64,
    /// How many intents have an outcome that may stand where nothing reads back.
    pub(super) lost: u64,
    /// How many events may be missing before the last segment, for their sake and for that of intents that do not read back.
    pub(super) missing: u64,
    /// The last segment, where it is one of finished intents, in memory alone. Until it is shipped the intents stay, and
    /// from them it can be made again.
    pub(super) made: Option<Arc<[u8]>>,
    /// The position from which on segments hold such intents, or show that something is missing.
    pub(super) held: u64,
    pub(super) disk: Arc<dyn Disk>,
    /// None where it is one of a build that made no chains.
    pub(super) chain: Option<ChainFile>,
    /// The positions of what was written once more behind them.
    pub(super) rewritten: Arc<[Range<u64>]>,
    /// Bytes, at the end of segments, that were no records.
    pub(crate) torn: u64,
    /// Behind the last segment that was given up. Nothing from there on is shipped before it is durable that it was: what
    /// follows keeps its numbers, also where all of the segment reads back after a power cut.
    pub(super) given_up: u64,
    /// Something of it is shipped and could not be deleted.
    pub(crate) is_kept: bool,
    /// The segments that cannot be read now.
    pub(crate) unread: Unread,
}

impl Orphan {
    /// Where to ship on from, once it may be.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Segment, u64)>> {
        let next = self.unshipped();
        if next.is_some() {
            self.acknowledge(self.given_up)?;
        }
        Ok(next)
    }

    /// Where to ship on from.
    pub(crate) fn unshipped(&self) -> Option<(Segment, u64)> {
        let mut segments = self.segments.iter();
        segments.find_map(|segment| Some((*segment, segment.beyond(self.shipped)?)))
    }

    /// Where the bytes of a segment are.
    pub(crate) fn source(&self, base: u64) -> Source {
        match &self.made {
            Some(made) if self.is_made(base) => Source::Memory(Arc::clone(made)),
            _ => Source::Named(Arc::clone(self.claim.dir())),
        }
    }

    /// The positions of events that stand once more behind them, and are shipped from there.
    pub(crate) fn rewritten(&self) -> Arc<[Range<u64>]> {
        Arc::clone(&self.rewritten)
    }

    fn is_made(&self, base: u64) -> bool {
        self.made.is_some() && self.segments.back().is_some_and(|last| last.base == base)
    }

    /// The chain as it stands where shipping goes on.
    pub(crate) fn chain(&self) -> Option<Chain> {
        let mut chain = self.chain.as_ref()?.chain().clone();
        let (segment, from) = self.unshipped()?;
        if self.is_made(segment.base) && from == segment.first() {
            chain.skip(self.missing);
        }
        Some(chain)
    }

    /// Notes that everything before `until` is shipped, the last event of it recorded at `last`, and, where what follows does
    /// not read back, that the rest of the segment is not to be shipped: it had at least one event, unless it was written once
    /// more. Deletes what is done with. From there on the chain goes on as it stands in `chain`.
    pub(crate) fn ship(
        &mut self,
        until: u64,
        damaged: bool,
        mut chain: Option<Chain>,
        last: Option<i64>,
        counters: &Counters,
    ) -> io::Result<()> {
        let mut segments = self.segments.iter_mut();
        let current = segments.find(|segment| segment.beyond(self.shipped).is_some());
        self.shipped = self.shipped.max(until);
        if damaged && let Some(segment) = current {
            // It was counted when it was adopted, if it was seen then.
            add(&counters.dropped, u64::from(!segment.damaged));
            segment.damaged = true;
            self.shipped = self.shipped.max(segment.end());
            self.given_up = self.shipped;
            if !self.rewritten.iter().any(|range| range.contains(&until)) {
                chain.iter_mut().for_each(|chain| chain.skip(1));
            }
        }
        if let (Some(file), Some(chain)) = (&mut self.chain, chain) {
            file.advance(self.shipped, chain, last);
        }
        self.trim(counters)
    }

    /// Makes durable up to where events are shipped.
    fn acknowledge(&mut self, position: u64) -> io::Result<()> {
        match &mut self.chain {
            Some(chain) if chain.durable() < position => chain.sync(),
            _ => Ok(()),
        }
    }

    /// Deletes what is done with, oldest first.
    fn trim(&mut self, counters: &Counters) -> io::Result<()> {
        while let Some(front) = self.segments.front()
            && front.beyond(self.shipped).is_none()
            && (front.end() <= self.held || self.unshipped().is_none())
        {
            let front = *front;
            // Without the intents in it what was made of them could not be made again.
            let holds_intents = front.end() > self.held;
            self.acknowledge(if holds_intents { self.shipped } else { front.end() })?;
            if !self.is_made(front.base) {
                segment::discard(&**self.claim.dir(), &front)?;
            }
            subtract(&counters.adopted_bytes, front.len);
            subtract(&counters.adopted_files, 1);
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Deletes all of it once everything is shipped. Files that were kept aside stay.
    pub(crate) fn remove(&mut self, counters: &Counters) -> io::Result<()> {
        self.trim(counters)?;
        self.claim.conclude(&*self.disk)
    }
}

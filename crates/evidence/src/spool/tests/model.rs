//! The spool on a disk that loses what was not synced, with a crash at every operation of it.
//!
//! The spool, its recovery and the reading of batches are the real ones; the disk is [`Sim`]. What must hold at the
//! end, however often a process died on the way:
//!
//! * each request whose intent was said to be kept has an event, and one that left is never called `not_dispatched`;
//! * what was said to be on record after a kill, or durable after a power cut, is what is shipped;
//! * a request that nobody began has no event, and one that never left is not `interrupted` after a kill;
//! * an outcome for which there is a place in what is kept back becomes durable, and trying again eats nothing of that;
//! * once there is space again, everything is accepted, written and shipped;
//! * whatever is shipped under one id is the same each time, and has one place in its chain, which has no hole;
//! * nothing is left behind.

mod fact;
mod harm;
mod histories;
mod moves;
mod shipping;
mod step;
mod volume;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use uuid::Uuid;

use self::fact::Fact;
use self::step::Step;
use super::sim::{Crash, Sim};
use crate::spool::log::{Log, Site};
use crate::spool::recovery::adopt;
use crate::spool::segment::SPARE;
use crate::spool::{Disk, Fsync, Inner, Spool, SpoolConfig};
use crate::testing::{DONE, FSYNC_TIMEOUT, request};
use crate::{Crossing, Fault, Status, Verifier};

/// So few that six requests fill more than two segments.
const SEGMENT_BYTES: u64 = 4096;
const LIMIT: u64 = 1024 * 1024;

/// Whether a segment was removed alone, and not all of it is in a directory since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    Open,
    /// Events were shipped meanwhile.
    Shipped,
}

#[derive(Debug)]
struct World {
    sim: Sim,
    fsync: Fsync,
    facts: Vec<Fact>,
    /// The first request of the process that lives.
    first: usize,
    /// Its directory was removed, and it did not say that it noticed.
    removed: bool,
    gap: Gap,
    /// Events were lost of which the stream may have some, and no directory knew.
    forgets: bool,
    /// A byte of a segment was changed.
    damaged: bool,
    delivered: BTreeMap<Uuid, Vec<u8>>,
    /// How many events were said to be lost.
    dropped: u64,
    /// A segment was removed. After a power cut nobody can see whether it was ever synced.
    misses: bool,
    live: Vec<(usize, Crossing)>,
    spool: Option<Spool>,
}

/// Whether what is known of a request is not in memory alone.
fn is_on_record(spool: &Spool, n: usize) -> bool {
    spool.inner.with_log(|log| !log.owes(Uuid::from_u128(n as u128)))
}

/// What a future has to say at once.
fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

impl World {
    fn new(fsync: Fsync) -> Self {
        let mut world = Self {
            sim: Sim::new(),
            fsync,
            facts: Vec::new(),
            first: 0,
            removed: false,
            gap: Gap::None,
            forgets: false,
            damaged: false,
            delivered: BTreeMap::new(),
            dropped: 0,
            misses: false,
            live: Vec::new(),
            spool: None,
        };
        world.start();
        world
    }

    /// A process starts, takes over what others left, and ships it.
    fn start(&mut self) {
        let disk: Arc<dyn Disk> = Arc::new(self.sim.clone());
        let root = PathBuf::from("/");
        let config = SpoolConfig {
            dir: root.clone(),
            max_bytes: LIMIT,
            fsync: self.fsync,
            fsync_timeout: FSYNC_TIMEOUT,
            denials_per_second: 100,
            checkpoint_key: None,
            clock: Arc::new(|| 1),
            monotonic: Arc::new(|| 1),
        };
        let opened = Spool::open_at(Site::new(disk, root, SEGMENT_BYTES, None), LIMIT, config);
        let Ok((spool, _)) = opened else {
            return assert!(self.sim.is_dead(), "no start");
        };
        for orphan in adopt(&spool.inner, &mut HashMap::new()).unwrap_or_default() {
            if let Err(error) = self.ship_orphan(orphan, &spool) {
                assert!(self.sim.is_dead(), "an orphan is stuck: {error}");
            }
        }
        self.dropped += spool.stats().dropped;
        self.spool = Some(spool);
        self.first = self.facts.len();
        self.removed = false;
        if !self.sim.is_dead() {
            self.gap = Gap::None;
        }
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.spool.as_ref().map(|spool| Arc::clone(&spool.inner))
    }

    /// False where the step would change nothing.
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Whole => {
                if self.intend() {
                    self.leave();
                    self.end(self.live.len() - 1, true);
                }
            }
            Step::Leave => {
                if self.intend() {
                    self.leave();
                }
            }
            Step::Intend => {
                if self.intend() {
                    self.keep();
                }
            }
            Step::Hold => {
                self.intend();
            }
            Step::Keep => self.keep(),
            Step::Mark => self.leave(),
            Step::End | Step::Drop if self.live.is_empty() => return false,
            Step::End => self.end(0, true),
            Step::Drop => self.end(self.live.len() - 1, false),
            Step::Flush => return self.flush(),
            Step::Ship => return self.ship(),
            Step::Remove => {
                self.sim.tree().keys().for_each(|name| self.sim.remove_tree(name));
                self.risk();
            }
            Step::RemoveSegment(number) => return self.remove_segment(number),
            Step::RemoveSpare => self.sim.remove_files(SPARE),
            Step::FailSyncs(fail) => self.sim.fail_syncs(fail),
            Step::Fill(leaving) => self.sim.fill(u64::from(leaving)),
            Step::Free => self.sim.set_capacity(u64::MAX / 2),
            Step::Refuse => self.refuse(),
            Step::Probe => drop(self.inner().map(|inner| inner.probe(&|| {}))),
            Step::Wait => self.wait(),
            Step::Recover => self.recover(),
        }
        true
    }

    fn intend(&mut self) -> bool {
        let n = self.facts.len();
        self.facts.push(Fact {
            at_risk: self.removed,
            ..Fact::default()
        });
        let Some(spool) = &self.spool else { return false };
        let Ok(room) = spool.reserve() else { return false };
        let request = request(n as u128);
        let mut intent = Box::pin(room.intent(&request));
        let kept = poll(&mut intent).or_else(|| {
            let _ = spool.inner.flush();
            poll(&mut intent)
        });
        let Some(Ok(crossing)) = kept else { return false };
        self.facts[n].intended = self.fsync == Fsync::Always;
        self.facts[n].durable.0 = self.facts[n].intended;
        self.live.push((n, crossing));
        true
    }

    fn keep(&mut self) {
        if let Some((n, crossing)) = self.live.last() {
            self.facts[*n].intended |= crossing.departure().keep().is_ok();
        }
    }

    fn leave(&mut self) {
        if let Some((n, crossing)) = self.live.last() {
            let left = crossing.departure().mark().is_ok();
            self.facts[*n].left |= left;
            self.facts[*n].intended |= left;
        }
    }

    fn end(&mut self, at: usize, known: bool) {
        let (n, crossing) = self.live.remove(at);
        let fact = &mut self.facts[n];
        let left = fact.left;
        if known {
            fact.end = Some(Status::Executed);
            crossing.outcome(&DONE);
        } else {
            fact.end = Some(if left {
                Status::Interrupted
            } else {
                Status::NotDispatched
            });
            drop(crossing);
        }
        // What is kept in memory for now is not on record.
        fact.settled = self.spool.as_ref().is_some_and(|spool| is_on_record(spool, n));
    }

    fn flush(&mut self) -> bool {
        let Some(inner) = self.inner() else { return false };
        let idle = inner.with_log(|log| log.fault().is_none() && log.head() == log.durable());
        let is_done = inner.flush().is_ok();
        let is_durable = inner.with_log(|log| log.is_syncable() && log.head() == log.durable());
        for n in self.first..self.facts.len() {
            let spool = self.spool.as_ref();
            let fact = &mut self.facts[n];
            let ended = fact.end.is_some() && spool.is_some_and(|spool| is_on_record(spool, n));
            if is_done || (is_durable && !self.removed) {
                fact.settled |= ended;
                fact.intended |= ended;
                fact.durable = (fact.intended, ended);
                fact.at_risk &= !is_done;
            }
        }
        self.removed &= !is_done;
        if is_done {
            self.gap = Gap::None;
        }
        !idle
    }

    /// The process dies, with what it has in hand.
    fn die(&mut self) {
        if !self.sim.is_dead() {
            self.sim.die_at(self.sim.changes());
        }
        self.live.drain(..).for_each(|(_, crossing)| crossing.abandon());
        self.spool = None;
    }

    /// What its death leaves.
    fn crash(&mut self, crash: Crash) {
        self.die();
        self.sim.crash(crash);
        // In another run of the system what is missing may look like what was never synced.
        let is_unclear = self.damaged || self.gap == Gap::Open;
        self.forgets |= self.gap == Gap::Shipped || (is_unclear && crash != Crash::Kill);
        let delivered = &self.delivered;
        for (n, fact) in self.facts.iter_mut().enumerate() {
            // A mark may have stood in what is missing.
            let is_unsure = crash != Crash::Kill || (self.gap != Gap::None && n >= self.first);
            fact.cut |= is_unsure && !delivered.contains_key(&Uuid::from_u128(n as u128));
        }
    }

    /// Whether everything holds when the next process has taken over. It may die of it once as well, after so many
    /// operations.
    fn check(&self, crash: Crash, again: Option<(u64, Crash)>) {
        let mut next = Self {
            sim: self.sim.copy(),
            fsync: self.fsync,
            facts: self.facts.clone(),
            first: self.first,
            removed: self.removed,
            gap: self.gap,
            forgets: self.forgets,
            damaged: self.damaged,
            delivered: self.delivered.clone(),
            dropped: self.dropped,
            misses: self.misses,
            live: Vec::new(),
            spool: None,
        };
        next.crash(crash);
        if let Some((changes, crash)) = again {
            next.die_taking_over(changes, crash);
        }
        next.sim.fail_syncs(false);
        next.start();
        next.check_events();
    }

    /// The next process dies after so many operations, perhaps while it takes over.
    fn die_taking_over(&mut self, changes: u64, crash: Crash) {
        self.sim.fail_syncs(false);
        self.sim.die_at(self.sim.changes() + changes);
        self.start();
        self.crash(crash);
    }

    /// After everything was shipped.
    fn check_events(&self) {
        let mut verifier = Verifier::default();
        self.delivered
            .iter()
            .for_each(|(id, data)| verifier.add(&id.to_string(), data, None));
        let report = verifier.finish();
        let is_inexact = self.facts.iter().any(|fact| fact.at_risk && !fact.is_exact);
        let taken = self.forgets || (self.damaged && is_inexact);
        let at_risk = self.facts.iter().any(|fact| fact.at_risk);
        let told = |fault: &Fault| {
            let is_hole = matches!(fault, Fault::Missing { .. }) && at_risk;
            taken || is_hole || matches!(fault, Fault::Lost { .. })
        };
        assert!(report.faults.iter().all(told), "{report:?}");
        for (n, fact) in self.facts.iter().enumerate() {
            let found = self.delivered.get(&Uuid::from_u128(n as u128));
            fact.check(n as u128, found);
            let is_lost = found.is_none() && fact.harmed && fact.intended && fact.durable.0;
            assert!(
                !is_lost || self.dropped > 0 || self.misses,
                "{n} is lost, and nothing is counted"
            );
        }
        // On a full volume it has none.
        let own = self.spool.as_ref().and_then(|spool| {
            let home = |log: &mut Log| log.home().map(|home| home.claim().path());
            spool.inner.with_log(home)
        });
        for (dir, files) in self.sim.tree() {
            let ours = own.as_ref().is_some_and(|own| own.ends_with(&dir));
            let kept = files.iter().all(|file| file.ends_with(".damaged")) && !files.is_empty();
            assert!(ours || kept, "{dir} is left with {files:?}");
        }
    }
}

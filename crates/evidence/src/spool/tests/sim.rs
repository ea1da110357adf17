//! A disk in memory that loses what was not synced, is as large as one likes, fails when it is told to, and at
//! which a process dies at any operation.

mod handle;
mod harm;
mod mix;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use self::mix::{mix, next};

const ROOT: u64 = 1;

/// What becomes of the operations that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is killed: all of them stand.
    Kill,
    /// The power is cut: none of them happened.
    LoseAll,
    /// The power is cut: all of them happened.
    KeepAll,
    /// The power is cut: some of them happened, in any order, and writes in part.
    Mixed(u64),
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Of a directory.
    entries: BTreeMap<String, u64>,
    /// Of a file.
    bytes: Vec<u8>,
    allocated: u64,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<u64, Node>,
    /// What is left after a power cut.
    durable: HashMap<u64, Node>,
    locked: HashSet<u64>,
    last: u64,
    boot: u128,
    capacity: Option<u64>,
    /// Operations that change something, so far.
    changes: u64,
    /// After so many the process is dead.
    dies_at: Option<u64>,
    /// The file that cannot be read.
    unreadable: Option<u64>,
    failed_reads: u64,
    read_only: bool,
    /// It did something since that failed.
    is_dead: bool,
    refuses_writes: bool,
    fails_syncs: bool,
    refuses_looks: bool,
    refuses_removals: bool,
    refuses_new_files: bool,
    refuses_reads: bool,
    hangs_syncs: bool,
    hanging: bool,
}

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sim(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    resumed: Condvar,
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn used(&self) -> u64 {
        let linked = self.live.values().flat_map(|node| node.entries.values());
        let nodes = linked.filter_map(|inode| self.live.get(inode));
        nodes
            .map(|node| node.allocated.max(node.bytes.len() as u64))
            .sum()
    }

    fn free(&self) -> u64 {
        self.capacity
            .map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(self.used()))
    }

    fn take(&self, more: u64) -> io::Result<()> {
        if more > self.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// An operation that changes something. The one at which the process dies does not happen.
    fn change(&mut self) -> io::Result<()> {
        if self.dies_at.is_some_and(|at| self.changes >= at) {
            self.is_dead = true;
            return Err(io::Error::other("the process is dead"));
        }
        if self.read_only {
            return Err(rustix::io::Errno::ROFS.into());
        }
        self.changes += 1;
        Ok(())
    }

    fn node(&mut self, inode: u64) -> &mut Node {
        self.live.entry(inode).or_default()
    }

    fn entry(&self, dir: u64, name: &str) -> io::Result<u64> {
        let entry = self.live.get(&dir).and_then(|node| node.entries.get(name));
        entry.copied().ok_or_else(missing)
    }

    fn add(&mut self, dir: u64, name: &str) -> io::Result<u64> {
        self.change()?;
        if self.entry(dir, name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if dir != ROOT && !self.is_linked(dir) {
            return Err(missing());
        }
        self.last += 1;
        let inode = self.last;
        self.node(dir).entries.insert(name.to_owned(), inode);
        self.live.insert(inode, Node::default());
        Ok(inode)
    }

    fn is_linked(&self, inode: u64) -> bool {
        self.live
            .values()
            .any(|node| node.entries.values().any(|entry| *entry == inode))
    }
}

impl Sim {
    pub(crate) fn new() -> Self {
        let sim = Self::default();
        let mut state = sim.state();
        state.last = ROOT;
        state.boot = 1;
        state.live.insert(ROOT, Node::default());
        state.durable.insert(ROOT, Node::default());
        drop(state);
        sim
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// The size of the volume.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity = Some(bytes);
    }

    /// Somebody else takes what is free, but for so many bytes.
    pub(crate) fn fill(&self, leaving: u64) {
        let mut state = self.state();
        state.capacity = Some(state.used() + leaving);
    }

    /// Whether a sync does not return.
    pub(crate) fn is_hanging(&self) -> bool {
        self.state().hanging
    }

    pub(crate) fn refuse_writes(&self, refuse: bool) {
        self.state().refuses_writes = refuse;
    }

    /// What stands under a name cannot be told.
    pub(crate) fn refuse_looks(&self, refuse: bool) {
        self.state().refuses_looks = refuse;
    }

    /// The process has no descriptor left for a new file.
    pub(crate) fn refuse_new_files(&self, refuse: bool) {
        self.state().refuses_new_files = refuse;
    }

    pub(crate) fn fail_syncs(&self, fail: bool) {
        self.state().fails_syncs = fail;
    }

    /// Syncs do not return until this is taken back.
    pub(crate) fn hang_syncs(&self, hang: bool) {
        let mut state = self.state();
        state.hangs_syncs = hang;
        // Who hung hangs no more, or has not begun to.
        state.hanging = false;
        drop(state);
        self.0.resumed.notify_all();
    }

    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The process dies at the operation with this number.
    pub(crate) fn die_at(&self, change: u64) {
        self.state().dies_at = Some(change);
    }

    pub(crate) fn is_dead(&self) -> bool {
        let state = self.state();
        state.dies_at.is_some_and(|at| state.changes >= at)
    }

    /// A new process finds what the crash left. Every handle of the old one has to be gone.
    pub(crate) fn crash(&self, crash: Crash) {
        let mut state = self.state();
        state.dies_at = None;
        state.is_dead = false;
        assert!(state.locked.is_empty(), "the process before is still there");
        match crash {
            Crash::Kill => return,
            Crash::KeepAll => {}
            Crash::LoseAll => state.live = state.durable.clone(),
            Crash::Mixed(seed) => {
                let mut random = seed;
                let live = std::mem::take(&mut state.live);
                state.live = mix(&state.durable, &live, &mut random);
            }
        }
        state.durable = state.live.clone();
        state.boot += 1;
    }

    /// The same disk once more, as it is now. Nobody has it open.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        let copy = State {
            live: state.live.clone(),
            durable: state.durable.clone(),
            locked: HashSet::new(),
            ..*state
        };
        drop(state);
        let sim = Self::default();
        *sim.state() = copy;
        sim
    }

    /// Removes a directory with all that is in it, as anybody might, for good.
    pub(crate) fn remove_tree(&self, name: &str) {
        let mut state = self.state();
        let dir = state.entry(ROOT, name).unwrap();
        let State { live, durable, .. } = &mut *state;
        for nodes in [live, durable] {
            nodes.entry(dir).or_default().entries.clear();
            nodes.entry(ROOT).or_default().entries.remove(name);
        }
    }

    /// Removes the files of this name, as anybody might, for good.
    pub(crate) fn remove_files(&self, name: &str) {
        let mut state = self.state();
        let State { live, durable, .. } = &mut *state;
        for node in live.values_mut().chain(durable.values_mut()) {
            node.entries.remove(name);
        }
    }

    /// The names in the root, and in the directories there.
    pub(crate) fn tree(&self) -> BTreeMap<String, Vec<String>> {
        let state = self.state();
        let entries = state.live[&ROOT].entries.iter();
        entries
            .map(|(name, inode)| (name.clone(), state.live[inode].entries.keys().cloned().collect()))
            .collect()
    }
}

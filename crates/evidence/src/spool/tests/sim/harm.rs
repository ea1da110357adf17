//! What befalls the files of a simulated disk.

use std::time::Duration;

use super::{ROOT, Sim, State, next};
use crate::spool::segment::PREFACE;
use crate::testing::Time;
use crate::timestamp::SECOND;

impl Sim {
    /// The segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<u64> {
        let state = self.state();
        let dirs = state.live[&ROOT].entries.values();
        let entries = dirs
            .filter_map(|dir| state.live.get(dir))
            .flat_map(|node| &node.entries);
        let segments = entries.filter(|(name, _)| name.ends_with(".seg"));
        segments.map(|(_, inode)| *inode).collect()
    }

    /// Removes the segment with this number, for good. False where there is none.
    pub(crate) fn remove_segment(&self, number: usize) -> bool {
        let Some(removed) = self.segments().get(number).copied() else {
            return false;
        };
        let mut state = self.state();
        let State { live, durable, .. } = &mut *state;
        for node in live.values_mut().chain(durable.values_mut()) {
            node.entries.retain(|_, inode| *inode != removed);
        }
        true
    }

    /// Changes a byte of a segment or, where it may, removes one that others follow, for good. False where there is none.
    pub(crate) fn damage(&self, seed: u64, may_remove: bool) -> bool {
        let inodes = self.segments();
        let mut random = seed;
        let Some(chosen) = (next(&mut random) as usize).checked_rem(inodes.len()) else {
            return false;
        };
        if may_remove && next(&mut random).is_multiple_of(3) && chosen + 1 < inodes.len() {
            return self.remove_segment(chosen);
        }
        let inode = inodes[chosen];
        let at = next(&mut random) as usize;
        let mut state = self.state();
        let State { live, durable, .. } = &mut *state;
        for nodes in [live, durable] {
            let Some(node) = nodes.get_mut(&inode) else {
                continue;
            };
            let at = at.checked_rem(node.bytes.len());
            // A segment of another version is left alone.
            if let Some(at) = at.filter(|at| *at != PREFACE.len() - 1) {
                node.bytes[at] ^= 1;
            }
        }
        true
    }

    /// Removes one segment, for good. False where there is none.
    pub(crate) fn remove_a_segment(&self, number: u8) -> bool {
        let segments = self.tree().into_values().flatten();
        let mut segments: Vec<_> = segments.filter(|name| name.ends_with(".seg")).collect();
        segments.sort_unstable();
        let chosen = usize::from(number).checked_rem(segments.len());
        chosen.is_some_and(|chosen| {
            self.remove_files(&segments[chosen]);
            true
        })
    }

    /// Lets nobody read the segment with this number, whoever asks and however often. Its name.
    pub(crate) fn make_unreadable(&self, number: usize) -> String {
        let mut state = self.state();
        let dir = *state.live[&ROOT].entries.values().next().unwrap();
        let (name, file) = state.live[&dir].entries.iter().nth(number).unwrap();
        let (name, file) = (name.clone(), *file);
        state.unreadable = Some(file);
        name
    }

    /// Every segment can be read again.
    pub(crate) fn make_readable(&self) {
        self.state().unreadable = None;
    }

    /// How many reads have failed.
    pub(crate) fn failed_reads(&self) -> u64 {
        self.state().failed_reads
    }

    /// Lets two seconds go by whenever a read has failed, without end.
    pub(crate) async fn passes_time_at_failed_reads(&self, time: &Time) {
        let mut failed = self.failed_reads();
        loop {
            while self.failed_reads() == failed {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            failed = self.failed_reads();
            time.advance(2 * SECOND);
        }
    }

    /// No file can be read any more, or again.
    pub(crate) fn refuse_reads(&self, refuse: bool) {
        self.state().refuses_reads = refuse;
    }

    /// No file can be removed any more, or again.
    pub(crate) fn refuse_removals(&self, refuse: bool) {
        self.state().refuses_removals = refuse;
    }

    /// The volume is mounted read-only, or for writing again.
    pub(crate) fn make_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Changes the bytes of the first segment.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        self.edit_segment(0, edit);
    }

    /// Changes the bytes of the segment with this number.
    pub(crate) fn edit_segment(&self, number: usize, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let dir = *state.live[&ROOT].entries.values().next().unwrap();
        let file = *state.live[&dir].entries.values().nth(number).unwrap();
        edit(&mut state.node(file).bytes);
    }
}

//! The operations on the open files and directories of a simulated disk.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::{Node, ROOT, Sim, State};
use crate::spool::disk::{DataFile, Directory, Disk, Identity};

/// The longest file that is kept with the metadata, which stay in memory.
const INLINE: usize = 4095;

/// An open file or directory of it.
#[derive(Debug)]
struct Handle {
    sim: Sim,
    inode: u64,
    locks: Mutex<bool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if *self.locks.lock().unwrap() {
            self.sim.state().locked.remove(&self.inode);
        }
    }
}

impl Sim {
    fn handle(&self, inode: u64) -> Handle {
        Handle {
            sim: self.clone(),
            inode,
            locks: Mutex::new(false),
        }
    }
}

impl Disk for Sim {
    fn open(&self, _: &Path, _: bool) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(self.handle(ROOT)))
    }

    fn boot(&self) -> Uuid {
        Uuid::from_u128(self.state().boot)
    }

    fn user(&self) -> u32 {
        0
    }
}

impl Handle {
    fn who(&self) -> Identity {
        Identity {
            device: 1,
            inode: self.inode,
        }
    }

    fn sync_with(&self, keep: impl FnOnce(&mut Node, &Node)) -> io::Result<()> {
        let mut state = self.sim.state();
        while state.hangs_syncs {
            state.hanging = true;
            state = self.sim.0.resumed.wait(state).unwrap();
        }
        state.change()?;
        if state.fails_syncs {
            return Err(io::Error::other("injected"));
        }
        let State { live, durable, .. } = &mut *state;
        if let Some(now) = live.get(&self.inode) {
            keep(durable.entry(self.inode).or_default(), now);
        }
        Ok(())
    }
}

impl Directory for Handle {
    fn identity(&self) -> io::Result<Identity> {
        Ok(self.who())
    }

    fn owner(&self) -> io::Result<u32> {
        Ok(0)
    }

    fn available(&self) -> io::Result<u64> {
        Ok(self.sim.state().free())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.sim.state();
        Ok(state.node(self.inode).entries.keys().cloned().collect())
    }

    fn identity_of(&self, name: &str) -> io::Result<Identity> {
        let state = self.sim.state();
        if state.refuses_looks {
            return Err(io::Error::other("injected"));
        }
        let inode = state.entry(self.inode, name)?;
        Ok(Identity { device: 1, inode })
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        let mut state = self.sim.state();
        state.take(0)?;
        if state.free() == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.add(self.inode, name).map(drop)
    }

    fn open_directory(&self, name: &str) -> io::Result<Arc<dyn Directory>> {
        let inode = self.sim.state().entry(self.inode, name)?;
        Ok(Arc::new(self.sim.handle(inode)))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        let mut state = self.sim.state();
        state.change()?;
        let inode = state.entry(self.inode, name)?;
        if !state.node(inode).entries.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.node(self.inode).entries.remove(name);
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let mut state = self.sim.state();
        if state.refuses_new_files {
            return Err(rustix::io::Errno::MFILE.into());
        }
        let inode = state.add(self.inode, name)?;
        drop(state);
        Ok(Arc::new(self.sim.handle(inode)))
    }

    fn open_file(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        let inode = self.sim.state().entry(self.inode, name)?;
        Ok(Arc::new(self.sim.handle(inode)))
    }

    fn open_to_write(&self, name: &str) -> io::Result<Arc<dyn DataFile>> {
        if self.sim.state().read_only {
            return Err(rustix::io::Errno::ROFS.into());
        }
        self.open_file(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.sim.state();
        state.entry(self.inode, name)?;
        if state.refuses_removals {
            return Err(rustix::io::Errno::IO.into());
        }
        state.change()?;
        state.node(self.inode).entries.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.sim.state();
        let inode = state.entry(self.inode, from)?;
        state.change()?;
        let entries = &mut state.node(self.inode).entries;
        entries.remove(from);
        entries.insert(to.to_owned(), inode);
        Ok(())
    }

    fn lock(&self) -> io::Result<bool> {
        let free = self.sim.state().locked.insert(self.inode);
        *self.locks.lock().unwrap() |= free;
        Ok(free)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_with(|durable, live| durable.entries.clone_from(&live.entries))
    }
}

impl DataFile for Handle {
    fn identity(&self) -> io::Result<Identity> {
        Ok(self.who())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.sim.state().node(self.inode).bytes.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        let is_inline = state.node(self.inode).bytes.len() <= INLINE;
        let is_cold = state.refuses_cold_reads && state.forgotten == Some(self.inode) && !is_inline;
        if state.refuses_reads || is_cold || state.unreadable == Some(self.inode) {
            state.failed_reads += 1;
            return Err(rustix::io::Errno::IO.into());
        }
        let start = usize::try_from(offset).unwrap();
        let all = &state.node(self.inode).bytes;
        let part = all.get(start..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        if state.refuses_writes {
            return Err(io::Error::other("injected"));
        }
        let start = usize::try_from(offset).unwrap();
        let was_dead = state.is_dead;
        let died = state.change();
        if was_dead {
            return died;
        }
        // A process that dies while it writes may have written a part.
        let bytes = if died.is_ok() {
            bytes
        } else {
            &bytes[..bytes.len() / 2]
        };
        let end = start + bytes.len();
        let node = state.node(self.inode);
        let (held, before) = (node.allocated.max(node.bytes.len() as u64), node.bytes.len());
        state.take((end as u64).saturating_sub(held))?;
        let all = &mut state.node(self.inode).bytes;
        all.resize(before.max(end), 0);
        all[start..end].copy_from_slice(bytes);
        died
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        state.change()?;
        let node = state.node(self.inode);
        node.bytes.resize(usize::try_from(len).unwrap(), 0);
        node.allocated = 0;
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        state.change()?;
        let node = state.node(self.inode);
        let held = node.allocated.max(node.bytes.len() as u64);
        state.take(bytes.saturating_sub(held))?;
        state.node(self.inode).allocated = bytes.max(held);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_with(|durable, live| durable.bytes.clone_from(&live.bytes))
    }

    fn forget(&self) {
        self.sim.state().forgotten = Some(self.inode);
    }
}

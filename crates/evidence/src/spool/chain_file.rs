//! Where a spool's chain stands, on disk: the acknowledgement of what is shipped.
//!
//! A successor goes on from the position and the head that stand here, so events that are shipped again have the same
//! bytes. The file has a fixed size and is written in place, so it can be written on a full volume; on one that copies on write
//! nothing is deleted until a block is free. It has two places: what is synced stays in one while the other is written, so a
//! write that a power cut tears costs nothing.
//!
//! A spool without this file is one of a build that made no chains. Its events are shipped as they are: some may have been
//! shipped before, and the audit service takes other bytes under an id that it has for tampering.

mod format;

use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};
use std::sync::Arc;

use uuid::Uuid;

use super::disk::{DataFile, Directory, gone_is_fine, standing};
use crate::chain::{Chain, CheckpointKey};
use format::{BLOCK, JUDGED, LENGTH, header, judged, place};

pub(crate) use format::Reading;

/// The name of the file.
pub(crate) const CHAIN: &str = "chain";
/// The name of the file while what is beside it is a copy that is not whole.
pub(crate) const COPY: &str = "chain.copy";
/// The name of the file until it takes the place of one that is gone.
const NEW: &str = "chain.new";
/// The name of the file with the secret of the process's own key.
pub(crate) const KEY: &str = "key";

/// A chain and when the last of its events was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) chain: Chain,
    pub(crate) at: i64,
}

/// The chain of one spool.
#[derive(Debug)]
pub(crate) struct ChainFile {
    file: Arc<dyn DataFile>,
    /// As it stands at the position.
    chain: Chain,
    /// Every event before it is shipped.
    position: u64,
    /// When the last of them was recorded.
    at: i64,
    /// Up to where the acknowledgement survives a power cut.
    durable: u64,
    /// How often the state was written.
    count: u64,
    /// The place that holds what is synced.
    synced: usize,
    /// A sync is under way: of what is written meanwhile nobody could tell whether it is in it.
    syncing: bool,
    /// The state is not written.
    dirty: bool,
    /// The run of the system as of which is judged what is missing from the log.
    judged: Option<Uuid>,
}

impl ChainFile {
    /// Makes the files of a chain, and makes them durable; the directory is not synced. The secret is kept beside the chain
    /// where it is the process's own. The name is [`CHAIN`], or [`COPY`] until [`finish_copy`].
    pub(crate) fn create(
        dir: &dyn Directory,
        name: &str,
        Carried { chain, at }: Carried,
        position: u64,
        lasting: bool,
    ) -> io::Result<Self> {
        if let (false, Some(key)) = (lasting, &chain.key) {
            let secret = dir.create(KEY)?;
            secret.write_at(key.seed(), 0)?;
            secret.sync()?;
        }
        let file = dir.create(name)?;
        let mut bytes = header(&chain).to_vec();
        bytes.extend_from_slice(&place(0, position, at, &chain));
        bytes.resize(LENGTH, 0);
        file.write_at(&bytes, 0)?;
        file.sync()?;
        Ok(Self {
            file,
            chain,
            position,
            at,
            durable: position,
            count: 0,
            synced: 0,
            syncing: false,
            dirty: false,
            judged: None,
        })
    }

    /// Makes the files of a chain that are gone, or other ones, and makes them durable; the secret where it is missing.
    pub(crate) fn restore(
        dir: &dyn Directory,
        carried: Carried,
        position: u64,
        lasting: bool,
    ) -> io::Result<Self> {
        let has_key = lasting || standing(dir, KEY)?.is_some();
        gone_is_fine(dir.remove(NEW))?;
        let made = Self::create(dir, NEW, carried, position, has_key)?;
        dir.rename(NEW, CHAIN)?;
        dir.sync()?;
        Ok(made)
    }

    /// Goes on in a file that was [made anew](Self::restore).
    pub(crate) fn go_on_in(&mut self, made: Self) {
        let was = std::mem::replace(self, made);
        if was.position > self.position {
            self.advance(was.position, was.chain, Some(was.at));
        }
    }

    /// Whether the files stand under their names.
    pub(crate) fn is_in_place(file: &dyn DataFile, dir: &dyn Directory, lasting: bool) -> io::Result<bool> {
        let there = standing(dir, CHAIN)? == Some(file.identity()?);
        Ok(there && (lasting || standing(dir, KEY)?.is_some()))
    }

    /// The open file.
    pub(crate) fn file(&self) -> Arc<dyn DataFile> {
        Arc::clone(&self.file)
    }

    /// Opens the chain of an abandoned spool; none where it never had one, or where the file cannot be made out.
    ///
    /// `lasting` is this process's key: it goes on where the chain has the same.
    pub(crate) fn open(dir: &dyn Directory, lasting: Option<&CheckpointKey>) -> io::Result<Option<Self>> {
        let file = match dir.open_to_write(CHAIN) {
            Ok(file) => file,
            Err(error) if error.kind() == NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = [0; LENGTH];
        let read = match file.read_at(&mut bytes, 0) {
            Ok(()) => Reading::of(&bytes),
            Err(error) if error.kind() == UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        let Some(read) = read else {
            tracing::error!("the state of a chain cannot be read: its events are shipped without one");
            return Ok(None);
        };
        // Whatever stands there stays until something newer is synced.
        file.sync()?;
        let public = read.public;
        let key = match lasting.filter(|key| key.public() == public) {
            Some(key) => Some(key.clone()),
            None => own_key(dir)?.filter(|key| key.public() == public),
        };
        if key.is_none() {
            tracing::warn!(chain = %read.id, "the key of an abandoned chain is not there: its events are shipped without a last checkpoint; \
                before AUDIT_CHECKPOINT_KEY is changed or taken away, let a gateway that has it ship what a killed one left");
        }
        Ok(Some(Self {
            file,
            chain: Chain { key, ..read.chain() },
            position: read.position,
            at: read.at,
            durable: read.position,
            count: read.count,
            synced: read.place,
            syncing: false,
            dirty: false,
            judged: read.judged,
        }))
    }

    pub(crate) const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The chain, for another directory to go on with.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            chain: self.chain.clone(),
            at: self.at,
        }
    }

    /// The run of the system as of which is judged what is missing from the log, where a successor has written it down.
    pub(crate) const fn judged(&self) -> Option<Uuid> {
        self.judged
    }

    /// Writes that down, for good: who ships on from here must come to the same numbers.
    pub(crate) fn judge(&self, boot: Uuid) -> io::Result<()> {
        if self.judged != Some(boot) {
            self.file.write_at(&judged(boot), JUDGED as u64)?;
            self.file.sync()?;
        }
        Ok(())
    }

    /// What is shipped up to.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// When the last event before that was recorded.
    pub(crate) const fn at(&self) -> i64 {
        self.at
    }

    /// Up to where segments may be deleted.
    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Notes what is shipped, the last event of it recorded at `last`. What cannot be written now is written later; nothing is deleted until it is.
    pub(crate) fn advance(&mut self, position: u64, chain: Chain, last: Option<i64>) {
        self.position = position;
        self.at = last.unwrap_or(self.at);
        self.chain = chain;
        self.dirty = true;
        // Spares a successor from shipping it again; whether it can be written is seen where something rests on it.
        let _ = self.write();
    }

    fn write(&mut self) -> io::Result<()> {
        if self.dirty && !self.syncing {
            let other = (2 - self.synced) * BLOCK;
            let bytes = place(self.count + 1, self.position, self.at, &self.chain);
            self.file.write_at(&bytes, other as u64)?;
            self.count += 1;
            self.dirty = false;
        }
        Ok(())
    }

    /// What to sync so that it is durable up to this position. [`ChainFile::end_sync`] must follow.
    pub(crate) fn begin_sync(&mut self) -> io::Result<(Arc<dyn DataFile>, u64)> {
        self.write()?;
        self.syncing = true;
        Ok((Arc::clone(&self.file), self.position))
    }

    /// Notes how the sync ended that made everything durable up to `position`.
    pub(crate) fn end_sync(&mut self, position: Option<u64>) {
        self.syncing = false;
        match position {
            Some(position) if position > self.durable => {
                self.durable = position;
                self.synced = 1 - self.synced;
            }
            Some(_) => {}
            // The kernel may have dropped what it could not write, and would say next time that all of it is there.
            None => self.dirty = true,
        }
        let _ = self.write();
    }

    /// The same in one go.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let (file, position) = self.begin_sync()?;
        let synced = file.sync();
        self.end_sync(synced.is_ok().then_some(position));
        synced
    }
}

/// From now on what is beside the file is whole.
pub(crate) fn finish_copy(dir: &dyn Directory) -> io::Result<()> {
    dir.rename(COPY, CHAIN)?;
    dir.sync()
}

/// Takes that back.
pub(crate) fn disown_copy(dir: &dyn Directory) -> io::Result<()> {
    gone_is_fine(dir.rename(CHAIN, COPY))?;
    dir.sync()
}

/// Removes the files of a chain that goes on elsewhere, behind what was deleted beside them and for good: were they found
/// again after a power cut, the chain would be ended where it stood here.
pub(crate) fn remove_for_good(dir: &dyn Directory) -> io::Result<()> {
    dir.sync()?;
    remove(dir)?;
    dir.sync()
}

/// Removes the files of a chain.
pub(crate) fn remove(dir: &dyn Directory) -> io::Result<()> {
    gone_is_fine(dir.remove(COPY))?;
    gone_is_fine(dir.remove(NEW))?;
    gone_is_fine(dir.remove(CHAIN))?;
    gone_is_fine(dir.remove(KEY))
}

/// The process's own key; none where there is none, or what is there is none.
fn own_key(dir: &dyn Directory) -> io::Result<Option<CheckpointKey>> {
    let mut seed = [0; CheckpointKey::BYTES];
    match dir.open_file(KEY).and_then(|file| file.read_at(&mut seed, 0)) {
        Ok(()) => Ok(CheckpointKey::from_seed(seed)),
        Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

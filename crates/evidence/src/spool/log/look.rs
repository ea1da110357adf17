//! Whether the files of a log stand where they should.

use std::io;
use std::sync::Arc;

use crate::spool::chain_file::{Carried, ChainFile};
use crate::spool::claim::Claim;
use crate::spool::disk::{DataFile, Directory, Disk, standing};
use crate::spool::segment::{self, SPARE};

use super::Log;
use super::home::{HeldSegment, Spare};

/// What is needed to see whether a home is still in its place.
#[derive(Debug)]
pub(crate) struct Look {
    disk: Arc<dyn Disk>,
    claim: Claim,
    held: Vec<HeldSegment>,
    spare: Option<Spare>,
    chain: Arc<dyn DataFile>,
    lasting: bool,
}

/// What is needed to make the files of a chain anew.
#[derive(Debug)]
pub(crate) struct LostChain {
    dir: Arc<dyn Directory>,
    carried: Carried,
    position: u64,
    lasting: bool,
}

impl LostChain {
    pub(crate) fn restore(self) -> io::Result<ChainFile> {
        ChainFile::restore(&*self.dir, self.carried, self.position, self.lasting)
    }
}

impl Look {
    /// Whether the directory and the segments still stand under their names.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        if !self.claim.is_in_place(&*self.disk)? {
            return Ok(false);
        }
        for held in &self.held {
            if standing(&**self.claim.dir(), &segment::name(held.base))? != Some(held.identity) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The spare segment, where it does not stand under its name.
    pub(crate) fn lost_spare(&self) -> io::Result<Option<&Arc<dyn DataFile>>> {
        let Some(Spare { file, .. }) = &self.spare else {
            return Ok(None);
        };
        let there = standing(&**self.claim.dir(), SPARE)?;
        Ok((there != Some(file.identity()?)).then_some(file))
    }

    /// Whether a file of the chain does not stand under its name.
    pub(crate) fn misses_chain(&self) -> io::Result<bool> {
        ChainFile::is_in_place(&*self.chain, &**self.claim.dir(), self.lasting).map(|in_place| !in_place)
    }
}

impl Log {
    /// What to look at to see whether the home is in its place.
    pub(crate) fn look(&self) -> Option<Look> {
        let home = self.home.as_ref().filter(|_| !self.is_homeless())?;
        Some(Look {
            disk: Arc::clone(&self.site.disk),
            claim: home.claim.clone(),
            held: home.held.iter().cloned().collect(),
            spare: home.spare.clone(),
            chain: home.chain.file(),
            lasting: self.site.checkpoint_key.is_some(),
        })
    }

    /// Does without the spare segment, if it is this one.
    pub(crate) fn lose_spare(&mut self, lost: &Arc<dyn DataFile>) -> Option<Spare> {
        let spare = &mut self.home.as_mut()?.spare;
        spare.take_if(|spare| Arc::ptr_eq(&spare.file, lost))
    }

    /// The chain, to make its files anew.
    pub(crate) fn lost_chain(&self) -> Option<LostChain> {
        let home = self.home.as_ref()?;
        Some(LostChain {
            dir: Arc::clone(home.dir()),
            carried: home.chain.carried(),
            position: home.chain.position(),
            lasting: self.site.checkpoint_key.is_some(),
        })
    }

    /// Takes them.
    pub(crate) fn take_chain(&mut self, made: ChainFile) {
        if let Some(home) = &mut self.home {
            home.chain.go_on_in(made);
        }
    }
}

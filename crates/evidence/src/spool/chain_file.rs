//! Where a spool's chain stands, on disk: the acknowledgement of what is shipped.
//!
//! A successor goes on from the position and the head that stand here, so events that are shipped again have the same
//! bytes. The file has a fixed size and is written in place, so it can be written on a full volume. It has two places: what
//! is synced stays in one while the other is written, so a write that a power cut tears costs nothing.
//!
//! ```text
//! "carchn\n" version u8 | chain id 16 bytes | public key 32 bytes | crc32 u32, padded to 128 bytes
//! twice: count u64 | position u64 | at i64 | seq u64 | hash 32 bytes | final u8 | crc32 u32, padded to 128 bytes
//! judged 16 bytes | crc32 u32, padded to 128 bytes; zeros until it is written
//! ```
//!
//! A spool without this file is one of a build that made no chains. Its events are shipped as they are: some may have been
//! shipped before, and the audit service takes other bytes under an id that it has for tampering.

use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};
use std::sync::Arc;

use uuid::Uuid;

use super::disk::{DataFile, Directory, gone_is_fine};
use super::segment::Source;
use crate::chain::{Chain, CheckpointKey, EventHash, Head, PublicKey};

/// The name of the file.
pub(crate) const CHAIN: &str = "chain";
/// The name of the file while what is beside it is a copy that is not whole.
pub(crate) const COPY: &str = "chain.copy";
/// The name of the file with the secret of the process's own key.
pub(crate) const KEY: &str = "key";

const MAGIC: [u8; 8] = *b"carchn\n\x01";
/// The bytes of the header and of each place.
const BLOCK: usize = 128;
const LENGTH: usize = 4 * BLOCK;
/// Where it stands in which run of the system the log was judged.
const JUDGED: usize = 3 * BLOCK;

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
            tracing::warn!(chain = %read.id, "the key of an abandoned chain is not there: its end stays without a checkpoint");
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

    /// Where its bytes are.
    pub(crate) fn source(&self) -> Source {
        Source::Open(Arc::clone(&self.file))
    }

    /// The run of the system as of which is judged what is missing from the log, where a successor has written it down.
    pub(crate) const fn judged(&self) -> Option<Uuid> {
        self.judged
    }

    /// Writes that down, for good: who ships on from here must come to the same numbers.
    pub(crate) fn judge(&self, boot: Uuid) -> io::Result<()> {
        if self.judged != Some(boot) {
            self.file.write_at(&sealed(&[boot.as_bytes()]), JUDGED as u64)?;
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
    gone_is_fine(dir.remove(CHAIN))?;
    gone_is_fine(dir.remove(KEY))
}

/// What stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) id: Uuid,
    pub(crate) public: PublicKey,
    pub(crate) position: u64,
    at: i64,
    pub(crate) head: Head,
    is_final: bool,
    count: u64,
    place: usize,
    judged: Option<Uuid>,
}

impl Reading {
    /// The chain, to see what will be shipped; its key is not needed for that, except by checkpoints.
    pub(crate) fn chain(&self) -> Chain {
        Chain {
            id: self.id,
            public: self.public,
            key: None,
            head: self.head,
            is_final: self.is_final,
        }
    }

    /// Reads the file of this name; none where there is none, or it cannot be made out.
    pub(crate) fn from_file(dir: &dyn Directory, name: &str) -> io::Result<Option<Self>> {
        let mut bytes = [0; LENGTH];
        match dir.open_file(name).and_then(|file| file.read_at(&mut bytes, 0)) {
            Ok(()) => Ok(Self::of(&bytes)),
            Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the bytes of a file; none where they are not those of one.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let (header, places) = bytes.split_first_chunk::<BLOCK>()?;
        let mut header = Fields::checked(header, 56)?;
        if header.take::<8>()? != MAGIC {
            return None;
        }
        let (id, public) = (Uuid::from_bytes(header.take()?), PublicKey(header.take()?));
        let (places, judged) = places.split_at_checked(JUDGED - BLOCK).unwrap_or((places, &[]));
        let judged = Fields::checked(judged, 16).and_then(|mut fields| fields.take());
        let places = places.chunks_exact(BLOCK).enumerate();
        let read = places.filter_map(|(place, bytes)| Self::place(id, public, place, bytes));
        let last = read.max_by_key(|read| read.count)?;
        Some(Self {
            judged: judged.map(Uuid::from_bytes),
            ..last
        })
    }

    fn place(id: Uuid, public: PublicKey, place: usize, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::checked(bytes, 65)?;
        let count = u64::from_le_bytes(fields.take()?);
        let position = u64::from_le_bytes(fields.take()?);
        let at = i64::from_le_bytes(fields.take()?);
        let seq = u64::from_le_bytes(fields.take()?);
        let hash = EventHash(fields.take()?);
        let [is_final] = fields.take()?;
        Some(Self {
            id,
            public,
            position,
            at,
            head: Head { seq, hash },
            is_final: is_final != 0,
            count,
            place,
            judged: None,
        })
    }
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

fn header(chain: &Chain) -> [u8; BLOCK] {
    sealed(&[&MAGIC, chain.id.as_bytes(), &chain.public.0])
}

fn place(count: u64, position: u64, at: i64, chain: &Chain) -> [u8; BLOCK] {
    sealed(&[
        &count.to_le_bytes(),
        &position.to_le_bytes(),
        &at.to_le_bytes(),
        &chain.head.seq.to_le_bytes(),
        &chain.head.hash.0,
        &[u8::from(chain.is_final)],
    ])
}

/// A block of these fields and their checksum.
fn sealed(fields: &[&[u8]]) -> [u8; BLOCK] {
    let mut bytes = fields.concat();
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.resize(BLOCK, 0);
    bytes.try_into().unwrap_or([0; BLOCK])
}

/// Fields of fixed size, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a block, of this length altogether; none where their checksum is wrong.
    fn checked(block: &'a [u8], length: usize) -> Option<Self> {
        let (fields, rest) = block.split_at_checked(length)?;
        let sum = u32::from_le_bytes(*rest.first_chunk()?);
        (crc32fast::hash(fields) == sum).then_some(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests;

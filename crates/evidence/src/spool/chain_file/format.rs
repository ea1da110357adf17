//! The bytes of the file.
//!
//! ```text
//! "carchn\n" version u8 | chain id 16 bytes | public key 32 bytes | crc32 u32, padded to 128 bytes
//! twice: count u64 | position u64 | at i64 | seq u64 | hash 32 bytes | final u8 | crc32 u32, padded to 128 bytes
//! judged 16 bytes | crc32 u32, padded to 128 bytes; zeros until it is written
//! ```

use std::io::{
    self,
    ErrorKind::{NotFound, UnexpectedEof},
};

use uuid::Uuid;

use crate::chain::{Chain, EventHash, Head, PublicKey};
use crate::spool::disk::Directory;

const MAGIC: [u8; 8] = *b"carchn\n\x01";
/// The bytes of the header and of each place.
pub(super) const BLOCK: usize = 128;
pub(super) const LENGTH: usize = 4 * BLOCK;
/// Where it stands in which run of the system the log was judged.
pub(super) const JUDGED: usize = 3 * BLOCK;

/// What stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) id: Uuid,
    pub(crate) public: PublicKey,
    pub(crate) position: u64,
    pub(super) at: i64,
    pub(crate) head: Head,
    is_final: bool,
    pub(super) count: u64,
    pub(super) place: usize,
    pub(super) judged: Option<Uuid>,
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

pub(super) fn header(chain: &Chain) -> [u8; BLOCK] {
    sealed(&[&MAGIC, chain.id.as_bytes(), &chain.public.0])
}

pub(super) fn place(count: u64, position: u64, at: i64, chain: &Chain) -> [u8; BLOCK] {
    sealed(&[
        &count.to_le_bytes(),
        &position.to_le_bytes(),
        &at.to_le_bytes(),
        &chain.head.seq.to_le_bytes(),
        &chain.head.hash.0,
        &[u8::from(chain.is_final)],
    ])
}

/// The run of the system as of which the log was judged.
pub(super) fn judged(boot: Uuid) -> [u8; BLOCK] {
    sealed(&[boot.as_bytes()])
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

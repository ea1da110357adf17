//! One record of a segment: a header of fixed size, then the payload.
//!
//! ```text
//! length u32 | crc32 u32 | kind u8 | recorded_at i64 | id 16 bytes | payload
//! ```
//!
//! Numbers are little-endian. The length is the payload's; the checksum covers everything but itself. A
//! record says nothing about where it stands, so it can be copied from one segment to another.

use uuid::Uuid;

use crate::event::MAX_EVENT_BYTES;

/// Bytes before the payload.
pub(crate) const HEADER: usize = 33;

/// The most bytes a record takes.
pub(crate) const MAX_RECORD: usize = HEADER + MAX_EVENT_BYTES;

/// Bytes that a record usually fits in.
const USUAL_RECORD: usize = MAX_RECORD / 8;

const CHECKED_FROM: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request may be dispatched; the payload is the event should it be, and nothing more be heard of it.
    Intent = 1,
    /// A finished event, ready to be shipped. Settles the intent of the same id, if there is one.
    Event = 2,
    /// The intent of the same id was not followed by a dispatch.
    Cancel = 3,
    /// Every event before the position in the payload has been shipped.
    Ack = 4,
    /// Bytes of the request of this id may have left. With a payload it is the intent as well.
    Dispatched = 5,
    /// The run of the operating system in which the segment was written, as its id.
    Boot = 6,
    /// An intent whose request did not leave before its process ended. Recovery writes it over the kind of the intent,
    /// which is a single byte and takes no space, so the checksum is the intent's.
    Undispatched = 7,
    /// An intent of which nobody can tell whether its request left. Written like [`Undispatched`](Self::Undispatched).
    Untold = 8,
    /// What stands from the position in the payload on in earlier segments stands once more in this one, between two of
    /// these: there it counts. Without the second one the copy is not whole, and does not.
    Rewritten = 9,
    /// So many events as the payload says stood here, and could not be read when the others moved to this directory.
    Lost = 10,
}

/// Where in a record its kind stands.
pub(crate) const KIND_AT: u64 = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: i64,
    pub(crate) id: Uuid,
    pub(crate) payload: &'a [u8],
    /// The whole record, header included.
    pub(crate) bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The bytes end before the record does.
    Short,
    /// These bytes are no record.
    Bad,
}

/// A buffer with the place of a header; the payload is appended behind it.
pub(crate) fn begin() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_RECORD);
    bytes.resize(HEADER, 0);
    bytes
}

/// Fills in the header of the record that these bytes are.
pub(crate) fn seal(bytes: &mut [u8], kind: Kind, at: i64, id: Uuid) -> Record<'_> {
    if let Some((header, payload)) = bytes.split_first_chunk_mut::<HEADER>() {
        header[..4].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        header[8] = kind as u8;
        header[9..17].copy_from_slice(&at.to_le_bytes());
        header[17..].copy_from_slice(id.as_bytes());
        let sum = checksum(header, payload);
        header[4..8].copy_from_slice(&sum.to_le_bytes());
    }
    let bytes: &[u8] = bytes;
    Record {
        kind,
        at,
        id,
        payload: bytes.get(HEADER..).unwrap_or_default(),
        bytes,
    }
}

/// Makes a whole record in an empty buffer.
pub(crate) fn encode<'a>(out: &'a mut Vec<u8>, kind: Kind, at: i64, id: Uuid, payload: &[u8]) -> Record<'a> {
    out.clear();
    out.resize(HEADER, 0);
    out.extend_from_slice(payload);
    seal(out, kind, at, id)
}

/// Reads the record at the front of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record<'_>, Broken> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Broken::Short)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind, ..] = *header;
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(|_| Broken::Bad)?;
    let kind = match kind {
        1 => Kind::Intent,
        2 => Kind::Event,
        3 => Kind::Cancel,
        4 => Kind::Ack,
        5 => Kind::Dispatched,
        6 => Kind::Boot,
        7 => Kind::Undispatched,
        8 => Kind::Untold,
        9 => Kind::Rewritten,
        10 => Kind::Lost,
        _ => return Err(Broken::Bad),
    };
    if length > MAX_EVENT_BYTES {
        return Err(Broken::Bad);
    }
    let payload = rest.get(..length).ok_or(Broken::Short)?;
    if checksum(header, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Broken::Bad);
    }
    let (_, tail) = header.split_at(9);
    let (at, id) = tail.split_first_chunk::<8>().ok_or(Broken::Bad)?;
    Ok(Record {
        kind,
        at: i64::from_le_bytes(*at),
        id: Uuid::from_slice(id).map_err(|_| Broken::Bad)?,
        payload,
        bytes: bytes.get(..HEADER + length).ok_or(Broken::Short)?,
    })
}

/// Whether these bytes are the beginning of a record, and no more: none is whole behind it, nor is it but for its length.
pub(crate) fn is_begun(bytes: &[u8]) -> bool {
    let length = u32::try_from(bytes.len().saturating_sub(HEADER)).unwrap_or(u32::MAX);
    let counted = bytes.get(4..).map(|rest| [&length.to_le_bytes(), rest].concat());
    let is_whole = counted.is_some_and(|bytes| decode(&bytes).is_ok());
    let behind = |at: usize| bytes.get(at..).is_some_and(|rest| decode(rest).is_ok());
    matches!(decode(bytes), Err(Broken::Short)) && !is_whole && !(1..bytes.len()).any(behind)
}

/// Makes the mark of a segment that holds what was written from `position` on.
pub(crate) fn rewritten(out: &mut Vec<u8>, position: u64) -> Record<'_> {
    encode(out, Kind::Rewritten, 0, Uuid::nil(), &position.to_le_bytes())
}

/// Makes the record of so many lost events.
pub(crate) fn lost(out: &mut Vec<u8>, events: u64) -> Record<'_> {
    encode(out, Kind::Lost, 0, Uuid::nil(), &events.to_le_bytes())
}

/// The position in an acknowledgement, or in the mark of a rewritten segment; how many events are lost.
pub(crate) fn position(record: &Record<'_>) -> Option<u64> {
    record.payload.try_into().ok().map(u64::from_le_bytes)
}

/// Makes an acknowledgement of everything before `position`.
pub(crate) fn ack(out: &mut Vec<u8>, position: u64, at: i64) -> Record<'_> {
    encode(out, Kind::Ack, at, Uuid::nil(), &position.to_le_bytes())
}

/// Makes the first record of a segment.
pub(crate) fn boot(out: &mut Vec<u8>, boot: Uuid) -> Record<'_> {
    encode(out, Kind::Boot, 0, boot, &[])
}

fn checksum(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let mut header = *header;
    if header[8] == Kind::Undispatched as u8 || header[8] == Kind::Untold as u8 {
        header[8] = Kind::Intent as u8;
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&header[..4]);
    sum.update(&header[CHECKED_FROM..]);
    sum.update(payload);
    sum.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{Broken, Kind, ack, decode, encode, position};

    fn bytes(kind: Kind, at: i64, id: u128, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, kind, at, Uuid::from_u128(id), payload);
        out
    }

    #[test]
    fn an_acknowledgement_carries_its_position() {
        let mut out = Vec::new();
        ack(&mut out, 0x0102_0304_0506, 9);
        let record = decode(&out).unwrap();
        assert_eq!(
            (record.kind, record.at, position(&record)),
            (Kind::Ack, 9, Some(0x0102_0304_0506))
        );
    }

    #[test]
    fn a_record_that_claims_too_much_is_bad() {
        let mut bytes = bytes(Kind::Event, 0, 0, b"x");
        bytes[2] = 1;
        assert_eq!(decode(&bytes).unwrap_err(), Broken::Bad);
        assert_eq!(decode(&[0; 64]).unwrap_err(), Broken::Bad);
    }

    proptest! {
        #[test]
        fn records_read_back_whole_and_never_in_part(payload: Vec<u8>, at: i64, id: u128) {
            let bytes = bytes(Kind::Event, at, id, &payload);
            for end in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..end]).unwrap_err(), Broken::Short);
            }
            let record = decode(&bytes).unwrap();
            prop_assert_eq!(record.payload, &payload[..]);
            prop_assert_eq!((record.at, record.id.as_u128(), record.bytes.len()), (at, id, bytes.len()));
        }

        #[test]
        fn a_flipped_bit_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 1..64),
            bit: prop::sample::Index,
        ) {
            let mut bytes = bytes(Kind::Intent, 1, 7, &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_err());
        }
    }
}

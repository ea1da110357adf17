//! The chain of one process's events, and the checkpoints that sign it.
//!
//! An event joins its chain when it is shipped: its metadata gets the chain's id, its number and the SHA-256 of the
//! event before it, as that was shipped. All of it follows from the log and from where the chain stood, so an event that
//! is shipped twice has the same bytes. Nothing here reads a clock or a file.

mod checkpoint;

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use uuid::Uuid;

use crate::event::{close, judge, open};
use crate::json::{flag, key, maybe_text, number, text};
pub(crate) use checkpoint::Signature;
use checkpoint::statement;
pub use checkpoint::{CheckpointKey, InvalidPublicKey, PublicKey};

/// The event type of a checkpoint.
pub const CHECKPOINT: &str = "gateway_evidence_checkpoint";
/// The zone of checkpoints, which belong to no tenant. The audit service takes no event without a zone.
pub const CHECKPOINT_ZONE: &str = "caracal-gateway";

/// The most bytes that joining a chain adds to an event.
pub(crate) const MAX_CHAIN_BYTES: usize = 768;

/// What follows the metadata of every event: `},"occurred_at":"…"}`.
const END: usize = 46;
const METADATA_END: &[u8] = b"},\"occurred_at\":\"";
/// The metadata of a checkpoint before it joins: whether it is the last event of its chain.
const MORE: &[u8] = b"{\"final\":false";
const FINAL: &[u8] = b"{\"final\":true";
/// The member of a checkpoint that is not signed: the last one of its metadata.
const SIGNATURE: &str = "signature";
/// Where `,"zone_id":…` stands in an event: behind `{"id":"` and a UUID.
const ZONE: usize = 44;

/// The SHA-256 of an event's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventHash(pub(crate) [u8; 32]);

impl EventHash {
    /// What the first event of a chain names as the one before it.
    pub const NONE: Self = Self([0; 32]);

    /// Of an event as it is shipped.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let digest = digest(&SHA256, data);
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// From 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let decoded = HEXLOWER.decode_mut(text.as_bytes(), &mut hash);
        (text.len() == 64 && decoded.is_ok()).then_some(Self(hash))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last event, 0 when there is none.
    pub seq: u64,
    /// That event's hash.
    pub hash: EventHash,
}

impl Head {
    /// Of a chain without an event.
    pub const START: Self = Self {
        seq: 0,
        hash: EventHash::NONE,
    };
}

/// A chain that events join.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its id.
    pub id: Uuid,
    /// What its checkpoints are verified with.
    pub public: PublicKey,
    /// Signs its checkpoints; none where the key is not at hand.
    pub key: Option<CheckpointKey>,
    /// Where it stands.
    pub head: Head,
    /// Its last event says that nothing follows.
    pub is_final: bool,
}

impl Chain {
    /// A chain without an event, with a key for its checkpoints.
    #[must_use]
    pub fn new(id: Uuid, key: CheckpointKey) -> Self {
        Self {
            id,
            public: key.public(),
            key: Some(key),
            head: Head::START,
            is_final: false,
        }
    }

    /// The bytes of the next event as they are shipped, given those in the spool.
    ///
    /// Bytes that are no event of this gateway stay outside of the chain.
    pub fn join(&mut self, event: &[u8]) -> Vec<u8> {
        let Some((front, end)) = event
            .split_at_checked(event.len().saturating_sub(END))
            .filter(|(_, end)| end.starts_with(METADATA_END))
        else {
            return event.to_vec();
        };
        let before = self.head;
        let seq = before.seq + 1;
        let id = self.id.to_string();
        let mut out = Vec::with_capacity(event.len() + MAX_CHAIN_BYTES);
        out.extend_from_slice(front);
        text(&mut out, "chain_id", &id);
        if before.hash == EventHash::NONE {
            text(&mut out, "chain_key", &self.public.hex());
        }
        text(&mut out, "chain_prev", &before.hash.hex());
        key(&mut out, "chain_seq");
        number(&mut out, seq);
        self.is_final = false;
        if is_front(front) {
            self.is_final = front.ends_with(FINAL);
            key(&mut out, "count");
            number(&mut out, before.seq);
            text(&mut out, "head", &before.hash.hex());
            text(&mut out, "key", &self.public.hex());
            let signature = self.key.as_ref().map(|key| key.sign(&statement(&out, end)).hex());
            maybe_text(&mut out, SIGNATURE, signature.as_deref());
        }
        out.extend_from_slice(end);
        self.head = Head {
            seq,
            hash: EventHash::of(&out),
        };
        out
    }

    /// Leaves the numbers of events that are lost unused, so that everybody sees that there were some.
    pub fn skip(&mut self, lost: u64) {
        self.head.seq += lost;
    }
}

/// Appends a checkpoint that has not joined its chain: when it does, it states where the chain stands.
pub fn write_checkpoint(out: &mut Vec<u8>, id: Uuid, occurred_at: i64, is_final: bool) {
    let request_id = id.to_string();
    open(out, id, CHECKPOINT_ZONE, CHECKPOINT, &request_id);
    judge(out, crate::event::Decision::Allow, "checkpoint");
    flag(out, "final", is_final);
    close(out, occurred_at);
}

/// Whether this event, which has not joined, is a checkpoint.
pub(crate) fn is_checkpoint(event: &[u8]) -> bool {
    let front = event.split_at_checked(event.len().saturating_sub(END));
    front.is_some_and(|(front, _)| is_front(front))
}

/// Whether this event, which has not joined, is the last of its chain.
pub(crate) fn is_last(event: &[u8]) -> bool {
    let front = event.split_at_checked(event.len().saturating_sub(END));
    front.is_some_and(|(front, _)| is_front(front) && front.ends_with(FINAL))
}

/// The id of the checkpoint with which a successor ends the chain of a process that was killed. Made twice, it is the same.
pub(crate) fn last_id(chain: Uuid) -> Uuid {
    let hash = EventHash::of(&[b"caracal-evidence-last/1".as_slice(), chain.as_bytes()].concat());
    let bytes = hash.0.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Whether this event calls itself a checkpoint, in a chain or not yet.
pub(crate) fn names_checkpoint(event: &[u8]) -> bool {
    let mut named = Vec::with_capacity(128);
    text(&mut named, "zone_id", CHECKPOINT_ZONE);
    text(&mut named, "event_type", CHECKPOINT);
    event.get(ZONE..).is_some_and(|event| event.starts_with(&named))
}

/// Whether this is the front of a checkpoint that has not joined.
fn is_front(front: &[u8]) -> bool {
    names_checkpoint(front) && (front.ends_with(MORE) || front.ends_with(FINAL))
}

/// What a checkpoint with this signature is signed over; none where it does not have the form of one.
pub(crate) fn signed(event: &[u8], signature: &str) -> Option<Vec<u8>> {
    let (front, end) = event.split_at_checked(event.len().checked_sub(END)?)?;
    let mut member = vec![b' '];
    text(&mut member, SIGNATURE, signature);
    let front = front.strip_suffix(&member[1..])?;
    end.starts_with(METADATA_END).then(|| statement(front, end))
}

#[cfg(test)]
mod tests;

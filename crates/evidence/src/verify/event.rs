//! The members of an event that say where it stands.

use serde::Deserialize;

use crate::chain::{CHECKPOINT, EventHash, Head, PublicKey, Signature, signed};
use crate::timestamp;

/// A time as text, whose order is that of times.
pub(super) type Time = [u8; timestamp::LENGTH];

#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: Box<str>,
    pub(super) place: Place,
}

/// Whether an event is in a chain.
#[derive(Debug)]
pub(super) enum Place {
    In(Joined),
    /// It names none, as those of builds that made none.
    Outside,
}

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) chain_id: String,
    pub(super) seq: u64,
    pub(super) prev: EventHash,
    pub(super) occurred_at: Time,
    /// The key that the first event announces.
    pub(super) announced: Option<PublicKey>,
    pub(super) checkpoint: Option<Box<Checkpoint>>,
}

/// Where a checkpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPlace {
    /// Its chain.
    pub chain_id: String,
    /// Its number there.
    pub seq: u64,
}

/// What a checkpoint says.
#[derive(Debug)]
pub(super) struct Checkpoint {
    pub(super) head: Head,
    pub(super) key: PublicKey,
    /// All of it is signed with that key.
    pub(super) is_signed: bool,
    pub(super) occurred_at: Box<str>,
    pub(super) is_final: bool,
}

#[derive(Deserialize)]
struct Wire {
    id: Box<str>,
    event_type: Box<str>,
    occurred_at: Box<str>,
    #[serde(default)]
    metadata_json: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    chain_id: Option<String>,
    chain_seq: Option<u64>,
    chain_prev: Option<Box<str>>,
    chain_key: Option<Box<str>>,
    head: Option<Box<str>>,
    count: Option<u64>,
    key: Option<Box<str>>,
    signature: Option<Box<str>>,
    #[serde(rename = "final")]
    is_final: Option<bool>,
}

/// Reads an event, or says what is wrong with it.
pub(super) fn read(data: &[u8]) -> Result<Event, String> {
    let wire: Wire = serde_json::from_slice(data).map_err(|error| error.to_string())?;
    let metadata = &wire.metadata_json;
    let checkpoint = (&*wire.event_type == CHECKPOINT)
        .then(|| checkpoint(data, &wire))
        .transpose();
    let checkpoint = checkpoint.map_err(|what| incomplete(&wire.id, what))?;
    let place = match (&metadata.chain_id, metadata.chain_seq, &metadata.chain_prev) {
        (None, None, None) if checkpoint.is_none() => Place::Outside,
        (Some(chain_id), Some(seq @ 1..), Some(prev)) => Place::In(Joined {
            chain_id: chain_id.clone(),
            seq,
            occurred_at: time(&wire)?,
            prev: EventHash::from_hex(prev).ok_or_else(|| incomplete(&wire.id, "chain_prev"))?,
            announced: key(metadata.chain_key.as_deref()).map_err(|what| incomplete(&wire.id, what))?,
            checkpoint: checkpoint.map(Box::new),
        }),
        _ => return Err(incomplete(&wire.id, "its place in the chain")),
    };
    Ok(Event { id: wire.id, place })
}

fn checkpoint(data: &[u8], wire: &Wire) -> Result<Checkpoint, &'static str> {
    let metadata = &wire.metadata_json;
    let hash = metadata.head.as_deref().and_then(EventHash::from_hex);
    let key = key(metadata.key.as_deref())?.ok_or("key")?;
    let signature = metadata.signature.as_deref().ok_or("signature")?;
    let decoded = Signature::from_hex(signature).ok_or("signature")?;
    Ok(Checkpoint {
        head: Head {
            seq: metadata.count.ok_or("count")?,
            hash: hash.ok_or("head")?,
        },
        key,
        is_signed: signed(data, signature).is_some_and(|signed| key.verifies(&signed, &decoded)),
        occurred_at: wire.occurred_at.clone(),
        is_final: metadata.is_final.ok_or("final")?,
    })
}

fn time(wire: &Wire) -> Result<Time, String> {
    let time = wire.occurred_at.as_bytes().try_into();
    time.map_err(|_| incomplete(&wire.id, "occurred_at"))
}

fn key(text: Option<&str>) -> Result<Option<PublicKey>, &'static str> {
    text.map(PublicKey::from_hex).transpose().map_err(|_| "key")
}

fn incomplete(id: &str, what: &str) -> String {
    format!("event {id}: {what} is missing or malformed")
}

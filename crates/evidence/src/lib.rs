//! What happened, durably: event, signature, spool and shipper.
//!
//! A request that may cross reserves a [`Room`] in the spool, records an intent before its first byte goes
//! upstream and an outcome when it is over. Both are appended to a file of this process; the [`Shipper`] sends
//! the finished events to the audit stream in the background. What a killed process leaves behind is adopted
//! by the next one: an intent without an outcome becomes an event whose status is `interrupted`.
//!
//! An event is built from the fields of [`Request`] and [`Outcome`] alone. Neither has a place for a bearer, a
//! provider token, a query string or a body, so none can get in.

mod chain;
mod event;
mod fingerprint;
mod json;
mod shipper;
mod signature;
mod spool;
#[cfg(test)]
mod testing;
mod timestamp;
mod verify;

pub use chain::{
    CHECKPOINT, CHECKPOINT_ZONE, Chain, CheckpointKey, EventHash, Head, InvalidPublicKey, PublicKey,
    write_checkpoint,
};
pub use event::{Decision, MAX_EVENT_BYTES, Outcome, Refusal, Replay, Request, Status};
pub use fingerprint::{Fingerprint, fingerprint};
pub use shipper::{BoxFuture, Shipment, Shipper, SinkError, StreamSink};
pub use signature::{AuditKey, InvalidKey};
pub use spool::{
    Clock, Crossing, Departure, Flusher, Fsync, NoRoom, Room, Spool, SpoolConfig, SpoolError, SpoolPart,
    Stats, Stored, read_spool,
};
pub use uuid::Uuid;
pub use verify::{ChainReport, CheckpointPlace, Fault, KeyTrust, Report, Verifier, checkpoint_place};

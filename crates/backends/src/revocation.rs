//! The revocation state (gate 10): what is revoked, who is waiting to hear of it, and how fresh that is.
//!
//! ```text
//! Redis streams ──► stream ──► message ──► announce ─┐
//!                                                    ├─► table (revoked anchors, watches) ──► standing, watch
//! PostgreSQL ────► snapshot ───► pass ───► record  ──┘      zones (room, and what can be decided)
//! ```
//!
//! The streams announce at once, the snapshots know everything, later. An anchor is revoked while
//! either says so. What a stream announced of an authority record or a delegation edge stays until
//! every mandate that rests on it has expired; a governed session is admitted again as soon as a
//! snapshot that began after the announcement shows it active.
//!
//! What is known reaches back in time only as far as mandates live, and fits into bounds: `zones` says for each zone
//! which mandates can be decided, and all others are refused.

mod anchor;
mod component;
mod counters;
mod followed;
mod memory;
mod message;
mod pass;
mod registry;
mod retry;
mod signature;
mod snapshot;
mod snapshots;
mod state;
mod stream;
mod table;
mod zones;

pub use anchor::Kind;
pub use component::{RevocationSources, samples};
pub use counters::RevocationCounters;
pub use memory::MemoryRevocations;
pub use signature::StreamsKey;
pub use snapshots::Snapshots;
pub use state::{RevocationConfig, RevocationState, RevocationStatus};
pub use stream::{KeysInvalidated, StreamReader};

//! The echo upstream: shows what arrives, and answers in every awkward way.

mod echo;
mod endpoints;
mod heads;
mod record;
mod state;

pub use record::{BodySeen, Recorded};
pub use state::{Upstream, UpstreamCounts};

//! The way back: the upstream's head rewritten, its body streamed, the authority watched.

mod body;
mod cut;
mod event_stream;
mod relayed;

pub use body::Body;
pub use cut::Cut;
pub use relayed::{Relayed, ResponseLimits};

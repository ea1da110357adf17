//! The way back: the upstream's head rewritten, its body streamed, the authority watched.

mod body;
mod relayed;

pub use body::Body;
pub use relayed::{RelayLimits, Relayed};

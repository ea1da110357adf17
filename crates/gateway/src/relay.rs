//! The way back: the upstream's head rewritten, its body streamed, or the bytes of a switched connection passed both ways, and
//! the authority watched.

mod body;
mod cut;
mod event_stream;
mod lane;
mod relayed;
mod tunnel;
pub mod websocket;

pub use body::Body;
pub use cut::Cut;
pub use relayed::{Relayed, ResponseLimits};
pub use tunnel::{Tunnel, TunnelLimits};

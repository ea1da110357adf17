//! HTTP connections that the gateway makes (RFC 9112, 9113): dialled at given addresses only, kept for reuse, and honest
//! about whether a request may have left.
//!
//! One request is one try. A pooled connection that turns out dead before a byte of the request was written is none:
//! then a fresh connection is used, once. The only exception is a request to an upstream with a safe method and without a
//! body, whose used connection ends without a byte of an answer, or for which its HTTP/2 peer says that it did nothing (RFC
//! 9113 §8.7): it is sent once more, over a fresh one.

mod address;
mod attempt;
mod body;
mod chunked;
mod client;
mod connect;
mod connections;
mod dialler;
mod direct;
mod driver;
mod failure;
mod figures;
mod handover;
mod http2;
mod leaving;
mod lent;
mod pool;
mod preconnect;
mod response_head;
mod socket;
mod unsent;
mod upgraded;

pub use body::PooledBody;
pub use chunked::{Chunked, Malformed, Piece};
pub use client::{Client, ClientConfig, Sending, Stats};
pub use direct::BodyError;
pub use failure::SendFailure;
pub use figures::StatsNames;
pub use http2::{Http2Config, Pings};
pub use leaving::Departs;
pub use pool::PoolLimits;
pub use preconnect::Preconnect;
pub use socket::{Departure, Guard};
pub use upgraded::Upgraded;

pub(crate) use connections::Target;
pub(crate) use failure::in_words;
pub(crate) use leaving::Leaving;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests;

//! HTTP/1.1 connections that the gateway makes (RFC 9112): dialled at given addresses only, kept
//! for reuse, and honest about whether a request may have left.
//!
//! One request is one try. The only exception is a pooled connection that turns out dead before
//! a byte of the request was written: then a fresh connection is used, once.

mod address;
mod body;
mod chunked;
mod client;
mod connect;
mod direct;
mod driver;
mod failure;
mod figures;
mod handover;
mod lent;
mod pool;
mod response_head;
mod socket;

pub use body::PooledBody;
pub use chunked::{Chunked, Malformed, Piece};
pub use client::{Client, ClientConfig, Departs, Sending, Stats};
pub use direct::BodyError;
pub use failure::SendFailure;
pub use figures::StatsNames;
pub use pool::PoolLimits;
pub use socket::Guard;

pub(crate) use client::{Leaving, Target};
pub(crate) use failure::in_words;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests;

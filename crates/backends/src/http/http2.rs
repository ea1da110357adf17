//! HTTP/2 connections that the gateway makes (RFC 9113). Many requests share one, if its peer is among the judged
//! addresses of each.

mod body;
mod connection;
mod driver;
mod gate;
mod head;
mod pool;
mod stream;
mod upload;

pub use driver::Pings;

pub(super) use body::StreamBody;
pub(super) use connection::Slot;
pub(super) use driver::open;
pub(super) use gate::Gate;
pub(super) use pool::{Protocol, SharedPool};
pub(super) use stream::attempt;

/// What a client knows of HTTP/2.
#[derive(Clone, Debug, Default)]
pub struct Http2Config {
    /// The hosts of `http` origins that speak it (RFC 9113 §3.3), in the egress guard's normal form. Over TLS the server
    /// chooses.
    pub cleartext_hosts: Vec<String>,
    /// When peers are asked for a sign of life.
    pub pings: Pings,
}

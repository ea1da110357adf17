//! In what form does a request cross, and in what form does its answer come back?
//!
//! Two conversations meet at the gateway: the caller's and the upstream's. This crate turns the head of one into the
//! head of the other and decides which trailers may follow. It is a set of pure functions: the clock, randomness and
//! sockets stay with the caller, so that every rule can be read and tested as a table.
//!
//! | Direction | Entry | Rules |
//! |---|---|---|
//! | to the upstream | [`Outbound`], [`Dispatch`], [`request_head`] | target, credential, caller's address ([`forwarded`]), trace context ([`trace`]), names that never cross |
//! | to the caller | [`response_head`] | names that never cross, `Location`, gateway-owned names, trailer announcement |
//! | trailers, both ways | [`RequestTrailers`], [`response_trailers`] | the same names, and what RFC 9110 §6.5.1 keeps out of trailers |
//!
//! # What holds for every crossing
//!
//! * A header that the gateway states is stated by nobody else. It is removed in every spelling that an upstream might
//!   read as the same name (`X_Forwarded_For`), and set after the removals, so that naming it in `Connection` does not
//!   help.
//! * The caller's mandate never reaches the upstream; the upstream's credential never reaches the caller.
//! * Nothing is added that the caller did not send, other than what the gateway states about the crossing itself.
//! * Paths and queries are bytes: they are joined, never decoded and encoded again.
//!
//! # What is left to the HTTP library
//!
//! `Expect` is not forwarded: the server side answers `100 Continue` when the body is first read. `Connection`,
//! `Transfer-Encoding` and `Keep-Alive` are written anew for each connection, as its protocol wants them; but for the
//! `Connection` and `Upgrade` of a switch of protocols that was allowed, which are stated here.

mod baggage;
mod connection;
pub mod forwarded;
mod framing;
pub mod grpc;
mod location;
mod media_type;
pub mod outbound;
mod query;
pub mod request;
mod reserved;
pub mod response;
mod response_error;
mod rewrite_error;
mod target;
#[cfg(test)]
mod testing;
pub mod trace;
pub mod trailers;
mod upgrade;

pub use forwarded::{TrustedProxies, client_address};
pub use media_type::is_media_type;
pub use outbound::Outbound;
pub use outbound::dispatch::{Dispatch, DispatchParts};
pub use request::{Crossing, Rewritten, request_head};
pub use response::{EarlyEnd, Inbound, ResponseRules, early_hints, response_head};
pub use response_error::ResponseError;
pub use rewrite_error::RewriteError;
pub use trace::FreshTrace;
pub use trailers::{RequestTrailers, response_trailers};
pub use upgrade::Switched;

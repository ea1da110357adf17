//! STS exchange: a closed circuit, room for the evidence, the replay mark, the signed exchange
//! (RFC 8693) and the judgement of what it grants.

pub mod answer;
pub mod circuit;
pub mod directive;
pub mod perform;
pub mod replay;
pub mod room;
pub mod sign;

pub use circuit::{Circuit, CircuitLimits, Doubt, Slotted};
pub use directive::Directed;
pub use perform::{Granted, perform};
pub use replay::Marked;
pub use room::Roomed;
pub use sign::{ExchangeSigner, SignedExchange};

/// How the STS describes the upstream (`STS_DIALECT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A Caracal STS: the answer carries an upstream directive.
    Caracal,
    /// An answer as RFC 8693 has it, without directive, sends the token to the bound upstream.
    Rfc8693,
}

#[cfg(test)]
mod tests;

//! A request as it arrives at the first gate.

use http::request::Parts;

/// A received request, which the walk takes by value: from here on its head, its id and its journal
/// stay together until they reach the upstream, or come back with a refusal.
pub struct Received<J> {
    /// The request head as the server library parsed it.
    pub head: Parts,
    /// The id of the exchange, which the gateway made for this request alone. The STS takes it
    /// as nonce and as correlation, and the replay mark holds it.
    pub exchange_id: String,
    /// What is kept of this request.
    pub journal: J,
}

/// The head of a received request as the gates read it.
#[derive(Clone, Copy)]
pub struct Head<'r> {
    /// The request head.
    pub parts: &'r Parts,
    /// See [`Received::exchange_id`].
    pub exchange_id: &'r str,
}

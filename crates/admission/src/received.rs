//! A request as it arrives at the first gate.

/// The head of a request, borrowed for the length of the walk, and the ids made for it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'r> {
    /// The request head as the server library parsed it.
    pub head: &'r http::request::Parts,
    /// The id of the exchange, which the gateway made for this request alone. The STS takes it
    /// as nonce and as correlation, and the replay mark holds it.
    pub exchange_id: &'r str,
}

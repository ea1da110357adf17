//! A request as it arrives at the first gate.

use crate::denial::Stage;

/// The head of a request, borrowed for the length of the walk, and what belongs to it.
#[derive(Clone, Copy)]
pub struct Received<'r> {
    /// The request head as the server library parsed it.
    pub head: &'r http::request::Parts,
    /// The id of the exchange, which the gateway made for this request alone. The STS takes it
    /// as nonce and as correlation, and the replay mark holds it.
    pub exchange_id: &'r str,
    /// Learns how far the request came.
    pub progress: &'r dyn Progress,
}

/// Learns how far a request came, for the histograms of the stages.
pub trait Progress: Send + Sync {
    /// Every gate of the stage let the request pass.
    fn passed(&self, stage: Stage);
}

/// Nobody asks.
impl Progress for () {
    fn passed(&self, _stage: Stage) {}
}

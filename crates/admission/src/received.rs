//! A request as it arrives at the first gate.

use http::request::Parts;

use crate::subprotocols::Subprotocols;
use crate::waiting::OwnPlace;

/// A received request, which the walk takes by value: from here on its head, its id and its journal
/// stay together until they reach the upstream, or come back with a refusal.
pub struct Received<J> {
    pub(crate) head: Parts,
    pub(crate) exchange_id: String,
    pub(crate) own_place: OwnPlace,
    pub(crate) journal: J,
}

impl<J> Received<J> {
    /// A request with this head, as the server library parsed it, and the journal that is opened for it.
    /// The id of the exchange is this request's alone: the STS takes it as nonce and as correlation, and
    /// the replay mark holds it. The place to wait is that of the request's connection.
    pub fn new(
        head: Parts,
        exchange_id: String,
        own_place: OwnPlace,
        open: impl FnOnce(&Parts) -> J,
    ) -> Self {
        let journal = open(&head);
        Self {
            head,
            exchange_id,
            own_place,
            journal,
        }
    }
}

/// The head of a received request as the gates read it.
#[derive(Clone, Copy)]
pub struct Head<'r> {
    /// The request head.
    pub parts: &'r Parts,
    /// See [`Received::new`].
    pub exchange_id: &'r str,
    /// Where it may wait for keys.
    pub own_place: &'r OwnPlace,
    /// What a WebSocket handshake says in place of header fields; of any other request nothing.
    pub subprotocols: &'r Subprotocols,
}

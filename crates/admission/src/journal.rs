//! What is kept of one request, as the gates and the rewriting see it.

use std::future::Future;

use crate::cause::Cause;
use crate::denial::{Denial, Stage};
use crate::exchange::directive::metadata::DirectiveMetadata;
use crate::subject::Subject;

/// The journal of one request. It goes with the request from room to room, and whatever ends the
/// request, a future that is dropped included, ends its journal: it then holds what it was told.
pub trait Journal: Sized + Send {
    /// Reserved room for this request's evidence. Dropping it gives the room back.
    type Room: Send;
    /// This request's journal once its intent is recorded.
    type Intent: Send;

    /// Every gate of the stage let the request pass.
    fn passed(&mut self, stage: Stage);

    /// The bearer token, found and bounded (gates 2 and 3). Nobody vouches for it yet.
    fn bearer(&mut self, token: &str);

    /// The signature held: this is whose request it is. From here on it takes a place in flight.
    ///
    /// # Errors
    /// [`Denial::Overloaded`]: there is no place.
    fn identified(&mut self, subject: Subject) -> Result<(), Denial>;

    /// The application under which the exchange is made (gate 11).
    fn bound(&mut self, application_id: &str);

    /// Reserves room for an intent and an outcome record (gate 13).
    ///
    /// # Errors
    /// The spool is full or cannot be written.
    fn reserve(&mut self) -> Result<Self::Room, Cause>;

    /// Records that the request is about to be dispatched, or holds that until a connection to the upstream is dialled or
    /// used, whichever comes first.
    ///
    /// # Errors
    /// The record could not be written: the journal comes back.
    fn intent(
        self,
        room: Self::Room,
        crossing: &CrossingFacts<'_>,
    ) -> impl Future<Output = Result<Self::Intent, (Self, Cause)>> + Send;
}

/// What the evidence records of an admitted request beside its subject.
#[derive(Clone, Copy, Debug)]
pub struct CrossingFacts<'a> {
    /// The upstream's `host[:port]`, with the port where its URL has one.
    pub upstream_host: &'a str,
    /// The STS's directive.
    pub directive: &'a DirectiveMetadata,
    /// The trace id of the request that goes upstream, 32 hex digits.
    pub trace_id: Option<&'a str>,
}

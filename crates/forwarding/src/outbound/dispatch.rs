//! A request that may be sent: the only thing that an upstream connection takes.

use std::sync::Arc;

use admission::binding::JudgedUpstream;
use admission::ports::{Watch, WatchState};
use admission::{CrossingFacts, Denial, Journal, Refused};
use http::request::Parts;

use super::Outbound;
use crate::response::ResponseRules;
use crate::trace;
use crate::trailers::RequestTrailers;

/// The right and the means to send one request once: its rewritten head, the judged addresses, the
/// watch on its authority, and the intent that was recorded for it.
///
/// [`Outbound::record`] alone makes one. It cannot be made elsewhere:
///
/// ```compile_fail,E0451
/// fn forge<I>(parts: forwarding::DispatchParts<I>) -> forwarding::Dispatch<I> {
///     forwarding::Dispatch { parts } // private field
/// }
/// ```
///
/// ```
/// fn take_apart<I>(dispatch: forwarding::Dispatch<I>) -> forwarding::DispatchParts<I> {
///     dispatch.into_parts()
/// }
/// ```
///
/// or copied:
///
/// ```compile_fail,E0308
/// fn copy<I: Clone>(dispatch: &forwarding::Dispatch<I>) -> forwarding::Dispatch<I> {
///     dispatch.clone() // a reference is cloned, not the dispatch
/// }
/// ```
///
/// or sent twice:
///
/// ```compile_fail,E0382
/// fn twice<I>(dispatch: forwarding::Dispatch<I>) {
///     let first = dispatch.into_parts();
///     let second = dispatch.into_parts(); // moved
/// }
/// ```
///
/// ```
/// fn once<I>(dispatch: forwarding::Dispatch<I>) {
///     let first = dispatch.into_parts();
/// }
/// ```
///
/// The intent of one request does not dispatch another:
///
/// ```compile_fail,E0616
/// async fn swap<J: admission::Journal>(one: forwarding::Outbound<J>, mut other: forwarding::Outbound<J>) {
///     other.room = one.room; // private field
///     let _ = other.record().await;
/// }
/// ```
///
/// ```
/// async fn own<J: admission::Journal>(one: forwarding::Outbound<J>) {
///     let _ = one.record().await;
/// }
/// ```
#[must_use = "a dispatch that is not sent wasted a mandate"]
pub struct Dispatch<I> {
    parts: DispatchParts<I>,
}

/// What a dispatch holds, taken out by whoever sends it. The parts alone open nothing: the client of
/// the upstreams wants the dispatch.
pub struct DispatchParts<I> {
    /// The head in its upstream form. It may hold a credential.
    pub head: Parts,
    /// Where it goes.
    pub upstream: JudgedUpstream,
    /// Ends the crossing when an anchor is revoked.
    pub watch: Arc<dyn Watch>,
    /// What the answer has to respect.
    pub rules: ResponseRules,
    /// The recorded intent.
    pub intent: I,
}

impl<J: Journal> Outbound<J> {
    /// Makes the intent: from here on the crossing has a record, which is on disk before the request waits for a connection or
    /// leaves. The trailers rule goes beside the dispatch, to the body that follows the head.
    ///
    /// # Errors
    /// [`Denial::Revoked`] where that is known by now, so that what cannot cross is not on record as
    /// crossing, and [`Denial::EvidenceUnavailable`]; with the journal.
    pub async fn record(self) -> Result<(Dispatch<J::Intent>, RequestTrailers), (J, Refused)> {
        if self.watch.poll_now() == WatchState::Revoked {
            return Err((self.journal, Denial::Revoked.into()));
        }
        let facts = CrossingFacts {
            upstream_host: self.upstream.url().authority(),
            directive: &self.directive,
            trace_id: trace::trace_id(&self.head.headers),
        };
        let intent = match self.journal.intent(self.room, &facts).await {
            Ok(intent) => intent,
            Err((journal, cause)) => {
                return Err((journal, Refused::because(Denial::EvidenceUnavailable, cause)));
            }
        };
        let parts = DispatchParts {
            head: self.head,
            upstream: self.upstream,
            watch: self.watch,
            rules: self.rules,
            intent,
        };
        Ok((Dispatch { parts }, self.trailers))
    }
}

impl<I> Dispatch<I> {
    /// The watch on the authority that the request rests on.
    #[must_use]
    pub fn watch(&self) -> &Arc<dyn Watch> {
        &self.parts.watch
    }

    /// What the answer has to respect.
    #[must_use]
    pub fn rules(&self) -> &ResponseRules {
        &self.parts.rules
    }

    /// What is told to the client library alone, and never sent.
    pub fn extensions_mut(&mut self) -> &mut http::Extensions {
        &mut self.parts.head.extensions
    }

    /// Spends the dispatch.
    #[must_use]
    pub fn into_parts(self) -> DispatchParts<I> {
        self.parts
    }
}

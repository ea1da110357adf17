//! An admitted request in its upstream form.

use std::sync::Arc;

use admission::binding::JudgedUpstream;
use admission::exchange::directive::DirectiveMetadata;
use admission::ports::{Cause, Watch};
use admission::{Admitted, Denial, Journal, Permit, PermitParts, Refused};
use http::request::Parts;

use crate::request::{Crossing, Rewritten, request_head};
use crate::response::ResponseRules;
use crate::trailers::RequestTrailers;

/// An admitted request, rewritten and not yet on record. Only a permit becomes one, and only its own
/// head is in it.
///
/// ```compile_fail,E0061
/// fn pair<J: admission::Journal>(permit: admission::Permit<J>, other: http::request::Parts, crossing: &forwarding::Crossing<'_>) {
///     let _ = forwarding::Outbound::rewrite(permit, other, crossing); // the permit has its head
/// }
/// ```
///
/// ```
/// fn own<J: admission::Journal>(permit: admission::Permit<J>, crossing: &forwarding::Crossing<'_>) {
///     let _ = forwarding::Outbound::rewrite(permit, crossing);
/// }
/// ```
#[must_use = "an outbound request that is not recorded wasted a mandate"]
pub struct Outbound<J: Journal> {
    pub(crate) head: Parts,
    pub(crate) trailers: RequestTrailers,
    pub(crate) rules: ResponseRules,
    pub(crate) upstream: JudgedUpstream,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) directive: DirectiveMetadata,
    pub(crate) room: J::Room,
    pub(crate) journal: J,
}

impl<J: Journal> Outbound<J> {
    /// Spends a permit: rewrites the head that it owns.
    ///
    /// # Errors
    /// [`Denial::DirectiveInvalid`]: the request has no form in which it could cross.
    pub fn rewrite(permit: Permit<J>, crossing: &Crossing<'_>) -> Result<Self, (J, Refused)> {
        let PermitParts {
            head,
            journal,
            admitted,
        } = permit.into_parts();
        let Admitted {
            upstream,
            credential,
            watch,
            room,
            directive,
            expires_at,
        } = admitted;
        match request_head(head, crossing, upstream.url(), &credential) {
            Ok(Rewritten {
                head,
                trailers,
                rules,
            }) => Ok(Self {
                head,
                trailers,
                rules: rules.expiring_at(expires_at),
                upstream,
                watch,
                directive,
                room,
                journal,
            }),
            Err(error) => {
                let cause = Cause::new(error.to_string());
                Err((journal, Refused::because(Denial::DirectiveInvalid, cause)))
            }
        }
    }
}

//! An admitted request in its upstream form.

pub mod dispatch;

use std::sync::Arc;

use admission::binding::JudgedUpstream;
use admission::exchange::directive::DirectiveMetadata;
use admission::ports::{Cause, Watch};
use admission::{Admitted, Denial, Journal, Permit, PermitParts, Refused};
use http::request::Parts;

use crate::request::{Crossing, Rewritten, request_head};
use crate::response::ResponseRules;
use crate::trailers::RequestTrailers;
use crate::upgrade::Handshake;

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
    head: Parts,
    trailers: RequestTrailers,
    rules: ResponseRules,
    upstream: JudgedUpstream,
    watch: Arc<dyn Watch>,
    directive: DirectiveMetadata,
    room: J::Room,
    journal: J,
}

impl<J: Journal> Outbound<J> {
    /// Spends a permit: rewrites the head that it owns.
    ///
    /// # Errors
    /// [`Denial::DirectiveInvalid`]: the request has no form in which it could cross.
    pub fn rewrite(permit: Permit<J>, crossing: &Crossing<'_>) -> Result<Self, (J, Refused)> {
        let PermitParts {
            head,
            upgrade,
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
        let handshake = upgrade.map(|upgrade| Handshake::begin(&head, &upgrade));
        match request_head(head, crossing, upstream.url(), &credential) {
            Ok(Rewritten {
                mut head,
                trailers,
                mut rules,
            }) => {
                if let Some(handshake) = handshake {
                    handshake.ask(&mut head.headers);
                    rules = rules.switching(handshake);
                }
                Ok(Self {
                    head,
                    trailers,
                    rules: rules.expiring_at(expires_at),
                    upstream,
                    watch,
                    directive,
                    room,
                    journal,
                })
            }
            Err(error) => {
                let cause = Cause::new(error.to_string());
                Err((journal, Refused::because(Denial::DirectiveInvalid, cause)))
            }
        }
    }
}

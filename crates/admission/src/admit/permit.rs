//! The permit: the only way to an upstream.

use std::sync::Arc;

use http::request::Parts;

use crate::binding::JudgedUpstream;
use crate::credential::Credential;
use crate::exchange::directive::{Directed, DirectiveMetadata};
use crate::journal::Journal;
use crate::ports::Watch;
use crate::upgrade::Upgrade;

/// The right to send one request to one upstream, made by [`crate::Admission::admit`] alone.
///
/// It owns the head of the request that it was given for. It is neither `Clone` nor `Default`, has
/// no public field and no public constructor, and the rewriting takes it by value: a request that
/// skipped a gate does not compile, and a permit cannot be used twice or for another request.
///
/// A permit cannot be forged:
///
/// ```compile_fail,E0451
/// fn forge<J: admission::Journal>(parts: admission::PermitParts<J>) -> admission::Permit<J> {
///     admission::Permit { parts } // private field
/// }
/// ```
///
/// or reused:
///
/// ```compile_fail,E0382
/// fn twice<J: admission::Journal>(permit: admission::Permit<J>) {
///     let first = permit.into_parts();
///     let second = permit.into_parts(); // moved
/// }
/// ```
///
/// or copied:
///
/// ```compile_fail,E0308
/// fn copy<J: admission::Journal<Room: Clone> + Clone>(permit: &admission::Permit<J>) -> admission::Permit<J> {
///     permit.clone() // a reference is cloned, not the permit
/// }
/// ```
///
/// or paired with another request's head:
///
/// ```compile_fail,E0616
/// fn pair<J: admission::Journal>(permit: &mut admission::Permit<J>, other: http::request::Parts) {
///     permit.parts.head = other; // private field
/// }
/// ```
///
/// The honest twin compiles:
///
/// ```
/// fn once<J: admission::Journal>(permit: admission::Permit<J>) -> http::request::Parts {
///     permit.into_parts().head
/// }
/// ```
#[must_use = "a permit that is not used wasted a mandate"]
pub struct Permit<J: Journal> {
    parts: PermitParts<J>,
}

/// What a permit holds, taken out by whoever spends it. The parts alone open nothing: the
/// rewriting wants the permit.
pub struct PermitParts<J: Journal> {
    /// The head of the request.
    pub head: Parts,
    /// The switch of protocols that it asks for, where that is allowed.
    pub upgrade: Option<Upgrade>,
    /// The journal of the request.
    pub journal: J,
    /// What the gates found out.
    pub admitted: Admitted<J::Room>,
}

/// What the gates found out about a request that passed them all.
pub struct Admitted<R> {
    /// Where the request goes.
    pub upstream: JudgedUpstream,
    /// What it carries instead of the mandate.
    pub credential: Credential,
    /// Ends the crossing when an anchor is revoked; registered before the standing was read.
    pub watch: Arc<dyn Watch>,
    /// The reserved evidence room.
    pub room: R,
    /// What the evidence records of the directive.
    pub directive: DirectiveMetadata,
    /// The mandate's expiry in Unix seconds.
    pub expires_at: i64,
}

impl<R> Admitted<R> {
    /// The end of the walk.
    pub(super) fn of(request: Directed<'_, R>) -> Self {
        let (bound, room, upstream, credential, directive) = request.into_parts();
        let expires_at = bound.verified().claims().expires_at();
        Self {
            upstream,
            credential,
            watch: bound.into_watch(),
            room,
            directive,
            expires_at,
        }
    }
}

impl<J: Journal> Permit<J> {
    /// Issues the permit of a request that passed every gate.
    pub(super) fn issue(
        head: Parts,
        upgrade: Option<Upgrade>,
        journal: J,
        admitted: Admitted<J::Room>,
    ) -> Self {
        let parts = PermitParts {
            head,
            upgrade,
            journal,
            admitted,
        };
        Self { parts }
    }

    /// Spends the permit.
    pub fn into_parts(self) -> PermitParts<J> {
        self.parts
    }
}

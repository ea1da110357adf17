//! The permit: the only way to an upstream.

use std::sync::Arc;

use crate::binding::JudgedUpstream;
use crate::exchange::Credential;
use crate::exchange::directive::{Directed, DirectiveMetadata};
use crate::ports::Watch;
use crate::subject::Subject;

/// The right to send one request to one upstream, made by [`crate::Admission::admit`] alone.
///
/// It is neither `Clone` nor `Default`, has no public field and no public constructor, and the
/// upstream client takes it by value: a request that skipped a gate does not compile, and a
/// permit cannot be used twice.
///
/// A permit cannot be forged:
///
/// ```compile_fail
/// fn forge<R>(parts: admission::PermitParts<R>) -> admission::Permit<R> {
///     admission::Permit { parts } // private field
/// }
/// ```
///
/// or reused:
///
/// ```compile_fail
/// fn twice<R>(permit: admission::Permit<R>) {
///     let first = permit.into_parts();
///     let second = permit.into_parts(); // moved
/// }
/// ```
///
/// or copied:
///
/// ```compile_fail
/// fn copy<R: Clone>(permit: &admission::Permit<R>) -> admission::Permit<R> {
///     permit.clone() // a reference is cloned, not the permit
/// }
/// ```
///
/// The honest twin compiles:
///
/// ```
/// fn once<R>(permit: admission::Permit<R>) -> R {
///     permit.into_parts().room
/// }
/// ```
#[must_use = "a permit that is not used wasted a mandate"]
pub struct Permit<R> {
    parts: PermitParts<R>,
}

/// What a permit holds, taken out by whoever spends it. The parts alone open nothing: the
/// upstream client wants the permit.
pub struct PermitParts<R> {
    /// Where the request goes.
    pub upstream: JudgedUpstream,
    /// What it carries instead of the mandate.
    pub credential: Credential,
    /// Ends the crossing when an anchor is revoked; registered before the standing was read.
    pub watch: Arc<dyn Watch>,
    /// The reserved evidence room, or what it became.
    pub room: R,
    /// Whose request it is.
    pub subject: Subject,
    /// What the evidence records of the directive.
    pub directive: DirectiveMetadata,
}

impl<R> Permit<R> {
    /// Issues the permit of a request that passed every gate.
    pub(crate) fn issue(request: Directed<'_, R>) -> Self {
        let (bound, room, upstream, credential, directive) = request.into_parts();
        let subject = bound.verified().subject(Some(bound.application_id()));
        let (watched, _) = bound.into_parts();
        let (_, watch) = watched.into_parts();
        Self {
            parts: PermitParts {
                upstream,
                credential,
                watch,
                room,
                subject,
                directive,
            },
        }
    }

    /// Reads what the permit is for.
    #[must_use]
    pub fn parts(&self) -> &PermitParts<R> {
        &self.parts
    }

    /// Takes the reserved room out, so that the intent can be recorded in it.
    pub fn take_room(self) -> (Permit<()>, R) {
        self.swap_room(())
    }

    fn swap_room<C>(self, into: C) -> (Permit<C>, R) {
        let PermitParts {
            upstream,
            credential,
            watch,
            room,
            subject,
            directive,
        } = self.parts;
        let parts = PermitParts {
            upstream,
            credential,
            watch,
            room: into,
            subject,
            directive,
        };
        (Permit { parts }, room)
    }

    /// Spends the permit.
    pub fn into_parts(self) -> PermitParts<R> {
        self.parts
    }
}

impl Permit<()> {
    /// Puts the recorded intent into the room's place: the upstream client takes a permit only
    /// together with evidence that the spool made.
    pub fn hold<C>(self, evidence: C) -> Permit<C> {
        self.swap_room(evidence).0
    }
}

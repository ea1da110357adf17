//! Gate 11: the zone binds the resource to an upstream that is safe to dial.

use std::sync::Arc;

use super::{Application, Binding, JudgedUpstream};
use crate::denial::Denial;
use crate::limits::EgressPolicy;
use crate::ports::{Bindings, Cause, NotBound, Resolver};
use crate::refused::Refused;
use crate::token::zone::is_identifier;
use crate::token::{Verified, Watched};

/// A request whose upstream is known and judged.
pub struct Bound<'r> {
    watched: Watched<'r>,
    binding: Arc<Binding>,
    upstream: JudgedUpstream,
}

impl<'r> Bound<'r> {
    pub(crate) fn verified(&self) -> &Verified<'r> {
        self.watched.verified()
    }

    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Under which application the exchange is made; judged by [`resolve`].
    pub(crate) fn application_id(&self) -> &str {
        application_id(&self.binding, self.verified()).unwrap_or_default()
    }

    pub(crate) fn upstream(&self) -> &JudgedUpstream {
        &self.upstream
    }

    pub(crate) fn refuse(&self, denial: Denial) -> Refused {
        self.verified().refuse_as(denial, Some(self.application_id()))
    }

    pub(crate) fn into_parts(self) -> (Watched<'r>, JudgedUpstream) {
        (self.watched, self.upstream)
    }
}

/// Finds the binding and judges its upstream.
///
/// # Errors
/// [`Denial::NotBound`], [`Denial::MissingClient`], [`Denial::UpstreamNotAddressable`].
pub async fn resolve<'r>(
    watched: Watched<'r>,
    bindings: &dyn Bindings,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<Bound<'r>, Refused> {
    let verified = watched.verified();
    let resource = verified.request().resource();
    let unbound = |NotBound(cause)| verified.refuse(Denial::NotBound).because(cause);
    let binding = bindings.find(verified.zone(), resource).await.map_err(unbound)?;
    if application_id(&binding, verified).is_none() {
        return Err(verified.refuse(Denial::MissingClient));
    }
    let refused = |cause: Cause| verified.refuse(super::not_addressable(&cause)).because(cause);
    let upstream = super::judge(&binding.upstream_url, policy, resolver)
        .await
        .map_err(refused)?;
    Ok(Bound {
        watched,
        binding,
        upstream,
    })
}

fn application_id<'a>(binding: &'a Binding, verified: &'a Verified<'_>) -> Option<&'a str> {
    match &binding.application {
        Application::Bound(id) => Some(id),
        Application::FromToken => verified.claims().client_id().filter(|id| is_identifier(id)),
    }
}

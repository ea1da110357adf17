//! Gate 11: the zone binds the resource to an upstream that is safe to dial.

use std::sync::Arc;

use super::entry::{Application, Binding};
use super::judge::{JudgedUpstream, judge, not_addressable};
use crate::denial::Denial;
use crate::identifier::is_identifier;
use crate::limits::EgressPolicy;
use crate::ports::{Bindings, NotBound, Resolver, Watch};
use crate::refused::Refused;
use crate::token::{Verified, Watched};

/// A request whose upstream is known and judged.
pub struct Bound<'r> {
    watched: Watched<'r>,
    binding: Arc<Binding>,
    application_id: String,
    upstream: JudgedUpstream,
}

impl<'r> Bound<'r> {
    pub(crate) fn verified(&self) -> &Verified<'r> {
        self.watched.verified()
    }

    pub(crate) fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Under which application the exchange is made.
    pub(crate) fn application_id(&self) -> &str {
        &self.application_id
    }

    pub(crate) fn upstream(&self) -> &JudgedUpstream {
        &self.upstream
    }

    pub(crate) fn into_watch(self) -> Arc<dyn Watch> {
        self.watched.into_watch()
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
    let unbound = |NotBound(cause)| Refused::because(Denial::NotBound, cause);
    let binding = bindings.find(verified.zone(), resource).await.map_err(unbound)?;
    let application_id = match &binding.application {
        Application::Bound(id) => Some(id.as_str()),
        Application::FromToken => verified.claims().client_id().filter(|id| is_identifier(id)),
    };
    let application_id = application_id.ok_or(Denial::MissingClient)?.to_owned();
    let url = binding.upstream_url.parsed().map_err(not_addressable)?;
    let upstream = judge(url, policy, resolver).await.map_err(not_addressable)?;
    Ok(Bound {
        watched,
        binding,
        application_id,
        upstream,
    })
}

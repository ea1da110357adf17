//! The last judgement: the upstream directive agrees with the binding, and its credential can
//! be sent without harm.

use std::sync::Arc;

use http::header::AUTHORIZATION;

use super::Dialect;
use super::answer::Grant;
use super::perform::Granted;
use crate::binding::judge::not_addressable;
use crate::binding::{self, Bound, JudgedUpstream, UpstreamUrl, upstream_url};
use crate::cause::Cause;
use crate::credential::Credential;
use crate::denial::Denial;
use crate::limits::EgressPolicy;
use crate::ports::{Bindings, NotBound, Resolver};
use crate::refused::Refused;
use crate::secret::Secret;

mod credential;
pub(crate) mod metadata;
mod wire;

pub use metadata::DirectiveMetadata;

/// A granted request whose upstream and credential are judged: the last state before the permit.
pub struct Directed<'r, R> {
    bound: Bound<'r>,
    room: R,
    upstream: JudgedUpstream,
    credential: Credential,
    metadata: DirectiveMetadata,
}

impl<'r, R> Directed<'r, R> {
    pub(crate) fn into_parts(self) -> (Bound<'r>, R, JudgedUpstream, Credential, DirectiveMetadata) {
        (
            self.bound,
            self.room,
            self.upstream,
            self.credential,
            self.metadata,
        )
    }
}

/// Judges the directive.
///
/// # Errors
/// [`Denial::NoDirective`], [`Denial::DirectiveInvalid`], [`Denial::UpstreamMismatch`],
/// [`Denial::UpstreamNotAddressable`], [`Denial::TokenHostNotAllowed`].
pub async fn judge<'r, R>(
    granted: Granted<'r, R>,
    dialect: Dialect,
    bindings: &dyn Bindings,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<Directed<'r, R>, Refused> {
    let (bound, room, grant) = granted.into_parts();
    let Grant {
        access_token,
        directive,
    } = grant;
    let access_token = Secret::new(access_token);
    let invalid = |cause| Refused::because(Denial::DirectiveInvalid, cause);
    let (upstream, credential, metadata) = match (directive, dialect) {
        (None, Dialect::Caracal) => return Err(Denial::NoDirective.into()),
        (None, Dialect::Rfc8693) => {
            let metadata = DirectiveMetadata {
                auth_mode: "caracal_jwt".to_owned(),
                ..DirectiveMetadata::default()
            };
            // RFC 6750 §2.1.
            let credential = Credential::header(AUTHORIZATION, "Bearer", access_token.expose())
                .map_err(|error| invalid(credential::unusable(error)))?;
            (bound.upstream().clone(), credential, metadata)
        }
        (Some(raw), _) => {
            let directive = wire::parse(&raw).map_err(invalid)?;
            let upstream = judge_upstream(&bound, &directive.url, bindings, policy, resolver).await?;
            let hosts = &directive.allowed_token_hosts;
            let this = |entry: &String| {
                upstream_url::normalise_listed(entry).is_ok_and(|host| host == upstream.url().host())
            };
            if !hosts.is_empty() && !hosts.iter().any(this) {
                return Err(Denial::TokenHostNotAllowed.into());
            }
            let metadata = DirectiveMetadata {
                auth_mode: directive.auth_mode.clone(),
                provider_id: directive.provider_id.clone(),
                connection_id: directive.connection_id.clone(),
            };
            let credential = credential::judge(&directive, &access_token).map_err(invalid)?;
            (upstream, credential, metadata)
        }
    };
    Ok(Directed {
        bound,
        room,
        upstream,
        credential,
        metadata,
    })
}

/// The directive's URL must have the bound upstream's origin. A binding that changed a moment
/// ago is read afresh once before the two are declared to contradict each other.
async fn judge_upstream(
    bound: &Bound<'_>,
    raw_url: &str,
    bindings: &dyn Bindings,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<JudgedUpstream, Refused> {
    if raw_url.is_empty() {
        return Err(Denial::NoDirective.into());
    }
    let known = bound.upstream();
    if raw_url == known.url().as_written() {
        return Ok(known.clone());
    }
    let mismatch = |cause| Refused::because(Denial::UpstreamMismatch, cause);
    let url = Arc::new(UpstreamUrl::parse(raw_url).map_err(not_addressable)?);
    url.permitted_by(policy).map_err(not_addressable)?;
    if let Some(upstream) = known.with_url(&url) {
        return Ok(upstream);
    }
    let binding = bound.binding();
    let fresh = bindings
        .reread(&binding.zone_id, &binding.resource)
        .await
        .map_err(|NotBound(cause)| mismatch(cause))?;
    let fresh = fresh.upstream_url.parsed().map_err(not_addressable)?;
    let fresh = binding::judge(fresh, policy, resolver)
        .await
        .map_err(not_addressable)?;
    let differ = || mismatch(Cause::new("directive url and bound upstream differ in origin"));
    fresh.with_url(&url).ok_or_else(differ)
}

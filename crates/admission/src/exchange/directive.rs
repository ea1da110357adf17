//! The last judgement: the upstream directive agrees with the binding, and its credential can
//! be sent without harm.

use super::Dialect;
use super::answer::Grant;
use super::perform::Granted;
use crate::binding::{self, Bound, JudgedUpstream, upstream_url};
use crate::denial::Denial;
use crate::limits::EgressPolicy;
use crate::ports::{Bindings, Cause, NotBound, Resolver};
use crate::refused::Refused;

mod credential;
mod secret;
mod wire;

pub use credential::{Credential, Placement};
pub use secret::Secret;

/// A granted request whose upstream and credential are judged: the last state before the permit.
pub struct Directed<'r, R> {
    bound: Bound<'r>,
    room: R,
    upstream: JudgedUpstream,
    credential: Credential,
    metadata: DirectiveMetadata,
}

/// What the evidence records of a directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectiveMetadata {
    /// `auth_mode`.
    pub auth_mode: String,
    /// `provider_id`.
    pub provider_id: Option<String>,
    /// `connection_id`, which the older generation calls `grant_id`.
    pub connection_id: Option<String>,
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
    let refuse = |(denial, cause): (Denial, Option<Cause>)| Refused {
        cause,
        ..bound.refuse(denial)
    };
    let Grant {
        access_token,
        directive,
    } = grant;
    let access_token = Secret::new(access_token);
    let (upstream, credential, metadata) = match (directive, dialect) {
        (None, Dialect::Caracal) => return Err(refuse((Denial::NoDirective, None))),
        (None, Dialect::Rfc8693) => {
            let metadata = DirectiveMetadata {
                auth_mode: "caracal_jwt".to_owned(),
                ..DirectiveMetadata::default()
            };
            (
                bound.upstream().clone(),
                Credential::bearer(access_token),
                metadata,
            )
        }
        (Some(raw), _) => {
            let directive =
                wire::parse(&raw).map_err(|cause| refuse((Denial::DirectiveInvalid, Some(cause))))?;
            let upstream = judge_upstream(&bound, &directive.url, bindings, policy, resolver)
                .await
                .map_err(refuse)?;
            let hosts = &directive.allowed_token_hosts;
            let this = |entry: &String| {
                upstream_url::normalise_listed(entry).is_ok_and(|host| host == upstream.url().host())
            };
            if !hosts.is_empty() && !hosts.iter().any(this) {
                return Err(refuse((Denial::TokenHostNotAllowed, None)));
            }
            let metadata = DirectiveMetadata {
                auth_mode: directive.auth_mode.clone(),
                provider_id: directive.provider_id.clone(),
                connection_id: directive.connection_id.clone(),
            };
            let credential = credential::judge(directive, access_token)
                .map_err(|cause| refuse((Denial::DirectiveInvalid, Some(cause))))?;
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
) -> Result<JudgedUpstream, (Denial, Option<Cause>)> {
    if raw_url.is_empty() {
        return Err((Denial::NoDirective, None));
    }
    let known = bound.upstream();
    if raw_url == known.url().as_written() {
        return Ok(known.clone());
    }
    let mismatch = |cause| (Denial::UpstreamMismatch, Some(cause));
    let url = upstream_url::judge(raw_url, policy)
        .map_err(|cause| (Denial::UpstreamNotAddressable, Some(cause)))?;
    if url.origin() == known.url().origin() {
        return Ok(known.clone().with_url(url));
    }
    let binding = bound.binding();
    let fresh = bindings
        .reread(&binding.zone_id, &binding.resource)
        .await
        .map_err(|NotBound(cause)| mismatch(cause))?;
    let fresh = binding::judge(&fresh.upstream_url, policy, resolver)
        .await
        .map_err(|cause| (binding::not_addressable(&cause), Some(cause)))?;
    if url.origin() == fresh.url().origin() {
        return Ok(fresh.with_url(url));
    }
    Err(mismatch(Cause::new(
        "directive url and bound upstream differ in origin",
    )))
}

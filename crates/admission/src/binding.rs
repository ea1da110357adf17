//! Binding resolution: which upstream the resource means, and whether it is safe to dial.

pub mod address;
pub mod allowlist;
pub mod lookup;
pub mod upstream_url;

pub use address::JudgedAddress;
pub use lookup::{Bound, resolve};
pub use upstream_url::UpstreamUrl;

use std::fmt;
use std::sync::Arc;

use crate::denial::Denial;
use crate::limits::{EgressPolicy, OwnEndpoint};
use crate::ports::{Cause, Resolver};

/// One binding: in its zone, this resource is served by this upstream and exchanged under
/// this application. Its URL may hold a key, so `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The zone.
    pub zone_id: String,
    /// The resource identifier.
    pub resource: String,
    /// Under which application the exchange is made.
    pub application: Application,
    /// The upstream URL as it stands in the database, not judged yet.
    pub upstream_url: String,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("zone_id", &self.zone_id)
            .field("resource", &self.resource)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

/// The application id of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// The binding names it.
    Bound(String),
    /// The installation has no binding table: the verified token's `client_id`.
    FromToken,
}

/// An upstream that may be dialled: a judged URL and the judged addresses of its host.
#[derive(Clone, Debug)]
pub struct JudgedUpstream {
    url: UpstreamUrl,
    addresses: Arc<[JudgedAddress]>,
}

impl JudgedUpstream {
    /// The judged URL.
    #[must_use]
    pub fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// The judged addresses, never empty.
    #[must_use]
    pub fn addresses(&self) -> &[JudgedAddress] {
        &self.addresses
    }

    /// The same host with another path and query, which must come from a judged URL of the
    /// same origin.
    pub(crate) fn with_url(self, url: UpstreamUrl) -> Self {
        debug_assert_eq!(self.url.origin(), url.origin());
        Self {
            url,
            addresses: self.addresses,
        }
    }
}

/// Refuses the endpoints that the configuration names by host: another name, or the bare address,
/// of such an endpoint is the endpoint too.
async fn refuse_own(
    addresses: &[JudgedAddress],
    port: u16,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<(), Cause> {
    for own in &policy.own_endpoints {
        let OwnEndpoint::Host(name, at) = own else {
            continue;
        };
        if *at != port {
            continue;
        }
        let theirs = resolver.resolve(name).await?;
        let same = |judged: &JudgedAddress| {
            theirs
                .iter()
                .any(|their| address::same_listener(judged.socket().ip(), *their))
        };
        if addresses.iter().any(same) {
            return Err(Cause::new("upstream leads to an endpoint of the gateway's own"));
        }
    }
    Ok(())
}

/// What an upstream that cannot be judged means for the request: the fault is the upstream's, unless this process
/// could not even look its name up.
pub(crate) fn not_addressable(cause: &Cause) -> Denial {
    if cause.is_local() {
        Denial::Overloaded
    } else {
        Denial::UpstreamNotAddressable
    }
}

/// The egress guard: judges the raw URL, then every address of its host.
///
/// # Errors
/// The cause, for the log. The caller learns only that the upstream is not addressable.
pub async fn judge(
    raw_url: &str,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<JudgedUpstream, Cause> {
    let url = upstream_url::judge(raw_url, policy)?;
    let addresses = match url.ip_literal() {
        Some(address) => address::judge_all(&[address], url.port(), policy)?,
        None => address::judge_all(&resolver.resolve(url.host()).await?, url.port(), policy)?,
    };
    refuse_own(&addresses, url.port(), policy, resolver).await?;
    Ok(JudgedUpstream { url, addresses })
}

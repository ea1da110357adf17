//! The egress guard: whether an upstream may be dialled.

use std::net::IpAddr;
use std::sync::Arc;

use super::address::{self, JudgedAddress};
use super::upstream_url::UpstreamUrl;
use crate::cause::Cause;
use crate::denial::Denial;
use crate::limits::{EgressPolicy, OwnEndpoint};
use crate::ports::Resolver;
use crate::refused::Refused;

/// An upstream that may be dialled: a judged URL and the judged addresses of its host.
#[derive(Clone, Debug)]
pub struct JudgedUpstream {
    url: Arc<UpstreamUrl>,
    addresses: Arc<[JudgedAddress]>,
}

impl JudgedUpstream {
    /// The judged URL.
    #[must_use]
    pub fn url(&self) -> &Arc<UpstreamUrl> {
        &self.url
    }

    /// The judged addresses, never empty.
    #[must_use]
    pub fn addresses(&self) -> &[JudgedAddress] {
        &self.addresses
    }

    /// The same host with another path and query; `None` where the URL has another origin.
    pub(crate) fn with_url(&self, url: &Arc<UpstreamUrl>) -> Option<Self> {
        (url.origin() == self.url.origin()).then(|| Self {
            url: Arc::clone(url),
            addresses: Arc::clone(&self.addresses),
        })
    }
}

/// What an upstream that cannot be judged means for the request: the fault is the upstream's, unless
/// this process could not even look its name up.
pub(crate) fn not_addressable(cause: Cause) -> Refused {
    let denial = match cause.is_local() {
        true => Denial::Overloaded,
        false => Denial::UpstreamNotAddressable,
    };
    Refused::because(denial, cause)
}

/// Judges a URL, then every address of its host.
///
/// # Errors
/// The cause, for the log. The caller learns only that the upstream is not addressable.
pub async fn judge(
    url: &Arc<UpstreamUrl>,
    policy: &EgressPolicy,
    resolver: &dyn Resolver,
) -> Result<JudgedUpstream, Cause> {
    url.permitted_by(policy)?;
    let addresses = match url.ip_literal() {
        Some(address) => address::judge_all(&[address], url.port(), policy)?,
        None => address::judge_all(&resolver.resolve(url.host()).await?, url.port(), policy)?,
    };
    refuse_own(&addresses, url.port(), policy, resolver).await?;
    Ok(JudgedUpstream {
        url: Arc::clone(url),
        addresses,
    })
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
        if !leads_to(addresses, &theirs) {
            continue;
        }
        // What is remembered of the name may be what a failover left behind. Where some of it still holds, the name
        // has many addresses of which each answer has a few, and those that are missing are its own all the same.
        resolver.forget(name);
        let now = resolver.resolve(name).await?;
        if leads_to(addresses, &now) || theirs.iter().any(|address| now.contains(address)) {
            return Err(Cause::new("upstream leads to an endpoint of the gateway's own"));
        }
    }
    Ok(())
}

/// Whether one of the addresses is one of an own endpoint's.
fn leads_to(addresses: &[JudgedAddress], theirs: &[IpAddr]) -> bool {
    let same = |judged: &JudgedAddress| {
        theirs
            .iter()
            .any(|their| address::same_listener(judged.socket().ip(), *their))
    };
    addresses.iter().any(same)
}

//! The upstream URL, judged as written, before any parser normalises it and before DNS.

mod host;
mod split;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

pub use host::{normalise, normalise_listed};
use http::HeaderValue;
use http::uri::PathAndQuery;
use split::{Absolute, split_port};

use super::allowlist;
use crate::cause::Cause;
use crate::limits::{EgressPolicy, OwnEndpoint};
use crate::scheme::Scheme;
use crate::traversal;

/// Host names that lead to a cloud's metadata service, never an upstream.
const METADATA_HOSTS: [&str; 2] = ["metadata.google.internal", "metadata"];
/// Longest URL in bytes.
const MAX_URL_BYTES: usize = 2048;

/// Scheme, host and port (RFC 6454 §4), the host in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// Lower case, no trailing dot, A-labels; IPv6 literals without brackets.
    pub host: String,
    /// The port, the scheme's own when the URL names none.
    pub port: u16,
}

/// An upstream URL, parsed once. Path and query are the bytes that were written; they may hold a
/// key, so `Debug` shows the origin alone. Whether it may be dialled is for
/// [`judge`](super::judge::judge) to say.
#[derive(Clone)]
pub struct UpstreamUrl {
    origin: Arc<Origin>,
    literal: Option<IpAddr>,
    /// As it is dialled: as written, but with an internationalised host in A-labels.
    text: Box<str>,
    /// As written, where that is something else.
    written: Option<Box<str>>,
    authority: Range<usize>,
    path_end: usize,
    host_header: HeaderValue,
}

impl UpstreamUrl {
    /// Parses a URL as text.
    ///
    /// # Errors
    /// Why it is none that could be an upstream, for the log.
    pub fn parse(raw: &str) -> Result<Self, Cause> {
        let banned = |byte: u8| byte <= 0x20 || byte == 0x7f || byte == b'\\';
        if raw.len() > MAX_URL_BYTES || raw.bytes().any(banned) {
            return refuse("upstream url too long or with blanks, control bytes or backslashes");
        }
        let Some((scheme, rest)) = raw.split_once("://") else {
            return refuse("upstream url without scheme");
        };
        let Some(scheme) = Scheme::parse(scheme) else {
            return refuse("unsupported upstream scheme");
        };
        if rest.contains('#') {
            return refuse("upstream url must not include a fragment");
        }
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return refuse("upstream url must not include userinfo");
        }
        let sendable = path_and_query.is_ascii()
            && (path_and_query.is_empty() || PathAndQuery::try_from(path_and_query).is_ok());
        if !sendable {
            return refuse("upstream url path and query must be percent-encoded");
        }
        let path = path_and_query.split('?').next().unwrap_or_default();
        if traversal::judge(path.as_bytes()).is_err() {
            return refuse("upstream url contains path traversal");
        }
        let (host, written_port) = split_port(authority)?;
        let (host, literal) = normalise(host)?;
        if METADATA_HOSTS.contains(&host.as_str()) {
            return refuse("upstream host is a metadata service");
        }
        let (written, text) = match raw.is_ascii() {
            true => (None, raw.into()),
            false => {
                let port = written_port.map_or_else(String::new, |port| format!(":{port}"));
                let text = format!("{}://{host}{port}{path_and_query}", scheme.as_str());
                (Some(raw.into()), text.into_boxed_str())
            }
        };
        let end = text.len() - path_and_query.len();
        let authority = text.find("://").map_or(end, |at| at + 3)..end;
        let host_header = text
            .get(authority.clone())
            .and_then(|text| HeaderValue::from_str(text).ok());
        let port = written_port.unwrap_or(scheme.default_port());
        Ok(Self {
            origin: Arc::new(Origin { scheme, host, port }),
            literal,
            host_header: host_header.ok_or_else(|| Cause::new("upstream host cannot be sent"))?,
            path_end: end + path.len(),
            authority,
            written,
            text,
        })
    }

    /// Whether the policy permits this URL, as far as its text says.
    pub(crate) fn permitted_by(&self, policy: &EgressPolicy) -> Result<(), Cause> {
        let Origin { host, port, .. } = &*self.origin;
        let own = |own: &OwnEndpoint| matches!(own, OwnEndpoint::Host(name, at) | OwnEndpoint::Name(name, at) if name == host && at == port);
        if policy.own_endpoints.iter().any(own) {
            return refuse("upstream is an endpoint of the gateway's own");
        }
        allowlist::check(host, policy)
    }

    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The host in normal form.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// `host[:port]` as written; an internationalised host is in A-labels.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.text.get(self.authority.clone()).unwrap_or_default()
    }

    /// The authority as the value of `Host`.
    #[must_use]
    pub fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// The path as written; empty when the URL has none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text
            .get(self.authority.end..self.path_end)
            .unwrap_or_default()
    }

    /// The query as written, without its `?`; an empty one counts as none.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text
            .get(self.path_end + 1..)
            .filter(|query| !query.is_empty())
    }

    /// The part of an absolute URL below this one: what its path has beyond this path, and its query
    /// and fragment as written. `None` when it has another origin or lies beside.
    #[must_use]
    pub fn below<'a>(&self, url: &'a str) -> Option<(&'a str, &'a str)> {
        let other = Absolute::split(url)?;
        let (host, port) = other.host_and_port()?;
        let (own_host, _) = split_port(self.authority()).ok()?;
        let Origin {
            scheme,
            port: own_port,
            ..
        } = *self.origin;
        if other.scheme != scheme || port != own_port || !host.eq_ignore_ascii_case(own_host) {
            return None;
        }
        let (path, tail) = other
            .rest
            .split_at(other.rest.find(['?', '#']).unwrap_or(other.rest.len()));
        let own_path = self.path().strip_suffix('/').unwrap_or(self.path());
        let path = path.strip_prefix(own_path)?;
        (path.is_empty() || path.starts_with('/')).then_some((path, tail))
    }

    /// The URL as it is dialled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL as written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }

    pub(super) fn ip_literal(&self) -> Option<IpAddr> {
        self.literal
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamUrl").field(&self.origin).finish()
    }
}

fn refuse<T>(words: &'static str) -> Result<T, Cause> {
    Err(Cause::new(words))
}

#[cfg(test)]
mod tests;

//! The upstream URL, judged as written, before any parser normalises it and before DNS.

mod host;

use std::fmt;
use std::net::IpAddr;

pub use host::{normalise, normalise_listed};
use http::uri::PathAndQuery;

use super::allowlist;
use crate::limits::{EgressPolicy, OwnEndpoint};
use crate::ports::Cause;
use crate::preflight::path;

/// Host names that lead to a cloud's metadata service, never an upstream.
const METADATA_HOSTS: [&str; 2] = ["metadata.google.internal", "metadata"];
/// Longest URL in bytes.
const MAX_URL_BYTES: usize = 2048;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

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

/// A URL that the guard let pass. Only [`judge`] makes one. Its path and query may hold a key, so
/// `Debug` shows the origin alone.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    origin: Origin,
    literal: Option<IpAddr>,
    raw: String,
    /// Set where the host as written is not ASCII.
    ascii: Option<String>,
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamUrl").field(&self.origin).finish()
    }
}

impl UpstreamUrl {
    /// The origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
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

    /// The URL as written.
    pub(crate) fn as_written(&self) -> &str {
        &self.raw
    }

    /// The URL as it is dialled: as written, but with an internationalised host in A-labels.
    /// Its path and query are the base of the request's.
    #[must_use]
    pub fn base(&self) -> &str {
        self.ascii.as_deref().unwrap_or(&self.raw)
    }

    pub(super) fn ip_literal(&self) -> Option<IpAddr> {
        self.literal
    }
}

/// Judges a URL as text.
///
/// # Errors
/// The cause, for the log.
pub fn judge(raw: &str, policy: &EgressPolicy) -> Result<UpstreamUrl, Cause> {
    if raw.len() > MAX_URL_BYTES
        || raw
            .bytes()
            .any(|byte| byte <= 0x20 || byte == 0x7f || byte == b'\\')
    {
        return refuse("upstream url too long or with blanks, control bytes or backslashes");
    }
    let (scheme, rest) = raw
        .split_once("://")
        .ok_or_else(|| Cause::new("upstream url without scheme"))?;
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        _ => return refuse("unsupported upstream scheme"),
    };
    if rest.contains('#') {
        return refuse("upstream url must not include a fragment");
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(end);
    if authority.contains('@') {
        return refuse("upstream url must not include userinfo");
    }
    let sendable = path_and_query.is_ascii()
        && (path_and_query.is_empty() || PathAndQuery::try_from(path_and_query).is_ok());
    if !sendable {
        return refuse("upstream url path and query must be percent-encoded");
    }
    let path = path_and_query.split('?').next().unwrap_or_default();
    if path::judge(path.as_bytes()).is_err() {
        return refuse("upstream url contains path traversal");
    }
    let (host, port) = split_port(authority, scheme)?;
    let (host, literal) = normalise(host)?;
    if METADATA_HOSTS.contains(&host.as_str()) {
        return refuse("upstream host is a metadata service");
    }
    let own = |own: &OwnEndpoint| matches!(own, OwnEndpoint::Host(name, at) if *name == host && *at == port);
    if policy.own_endpoints.iter().any(own) {
        return refuse("upstream is an endpoint of the gateway's own");
    }
    allowlist::check(&host, policy)?;
    let ascii = (!raw.is_ascii()).then(|| format!("{}://{host}:{port}{path_and_query}", scheme.as_str()));
    Ok(UpstreamUrl {
        origin: Origin { scheme, host, port },
        literal,
        raw: raw.to_owned(),
        ascii,
    })
}

fn split_port(authority: &str, scheme: Scheme) -> Result<(&str, u16), Cause> {
    let default = match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let close = inner
                .find(']')
                .ok_or_else(|| Cause::new("unclosed bracket in upstream host"))?;
            let (_, after) = inner.split_at(close + 1);
            let (host, _) = authority.split_at(close + 2);
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return refuse("malformed upstream authority"),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let Some(port) = port else {
        return Ok((host, default));
    };
    match port.parse() {
        Ok(number) if number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok((host, number)),
        _ => refuse("malformed upstream port"),
    }
}

fn refuse<T>(words: &'static str) -> Result<T, Cause> {
    Err(Cause::new(words))
}

#[cfg(test)]
mod tests;

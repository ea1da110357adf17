//! Rules of the connections that the gateway makes.

use std::net::IpAddr;

use admission::limits::PrivateUpstreams;
use admission::mode::{DevOnly, Mode};
use url::{Host, Url};

use crate::sts::StsTransport;
use crate::tls::{ClientTls, ClientTlsKeys};
use crate::violation::Violation;

/// An absolute http or https URL to which a path can be appended. It may not hold a password:
/// it is shown in logs and metrics.
pub(crate) fn sts_url(text: &str) -> Result<Url, Violation> {
    let refuse = |why| Err(Violation::StsUrl(why));
    let Ok(url) = Url::parse(text) else {
        return refuse("must be an absolute URL such as https://sts.example.com");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("scheme must be http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must not have a query or a fragment");
    }
    if url.port() == Some(0) {
        return refuse("must not have port 0");
    }
    Ok(url)
}

/// https, or plain http where the wire is the machine's own or a private network's.
///
/// A single-label name (`sts`) is only half of the proof: the connector refuses it when any address it resolves to
/// is neither loopback nor private. A literal address that is not loopback is no name at all.
pub(crate) fn sts_transport(url: &Url, insecure: Option<DevOnly>) -> Result<StsTransport, Violation> {
    match (url.scheme(), url.host(), insecure) {
        ("https", _, _) => Ok(StsTransport::Https),
        (_, Some(Host::Domain("localhost")), _) => Ok(StsTransport::PlainLoopback),
        (_, Some(Host::Ipv4(address)), _) if address.is_loopback() => Ok(StsTransport::PlainLoopback),
        (_, Some(Host::Ipv6(address)), _) if IpAddr::V6(address).to_canonical().is_loopback() => {
            Ok(StsTransport::PlainLoopback)
        }
        (_, _, Some(proof)) => Ok(StsTransport::PlainAnywhere(proof)),
        (_, Some(Host::Domain(name)), None) if !name.contains('.') => Ok(StsTransport::PlainSingleLabel),
        _ => Err(Violation::StsUrl(
            "must use https; plain http is only for loopback and single-label host names such as http://sts:8080",
        )),
    }
}

/// Production permits private upstreams only to the hosts of a list.
pub(crate) fn private_upstreams(
    mode: Option<Mode>,
    allowed: bool,
    allowlist: &[String],
) -> Result<PrivateUpstreams, Violation> {
    match (allowed, mode) {
        (true, Some(Mode::Production)) if allowlist.is_empty() => Err(Violation::AllowlistRequired),
        (true, _) => Ok(PrivateUpstreams::Allowed),
        (false, _) => Ok(PrivateUpstreams::Blocked),
    }
}

/// Authorities or a client certificate for a connection in plain text are a mistake in one of the two.
pub(crate) fn client_tls_needs_a_tls_url(
    tls: &ClientTls,
    in_use: Option<bool>,
    keys: &ClientTlsKeys,
) -> Result<(), Violation> {
    let asked = match (&tls.authorities, &tls.identity) {
        (Some(_), _) => keys.authorities,
        (None, Some(_)) => keys.certificate,
        (None, None) => return Ok(()),
    };
    match in_use {
        Some(false) => Err(Violation::TlsWithoutTls {
            name: asked.name,
            url: keys.url.name,
        }),
        Some(true) | None => Ok(()),
    }
}

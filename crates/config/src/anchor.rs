//! Where the checkpoints of audit events are also sent.

use std::fmt;

use admission::limits::OwnEndpoint;
use admission::mode::{DevOnly, Mode};
use url::Url;

use crate::keys::operation as keys;
use crate::reader::{Read, Reader};
use crate::sts::{endpoint_of, is_loopback};
use crate::tls::Authorities;
use crate::violation::Violation;

const EXAMPLE: &str = "https://anchor.example.com/checkpoints";

/// A server outside, to which each checkpoint is posted.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Its address.
    pub url: AnchorUrl,
    /// How the connection is protected.
    pub transport: AnchorTransport,
    /// Authorities to trust instead of the system's.
    pub authorities: Option<Authorities>,
}

/// An absolute URL without user info and fragment. Its path and its query may be secrets, so its `Debug` shows nothing.
#[derive(Clone)]
pub struct AnchorUrl(Url);

impl AnchorUrl {
    /// The whole address, for whoever dials it.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for AnchorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnchorUrl(***)")
    }
}

/// How the connection to the anchor is protected.
#[derive(Clone, Copy, Debug)]
pub enum AnchorTransport {
    /// TLS.
    Https,
    /// Plain HTTP, only if every address of the host is loopback. Development only, hence the proof.
    PlainLoopback(DevOnly),
}

impl Anchor {
    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Option<Self>> {
        let url = url(reader);
        let authorities = match reader.file(&keys::AUDIT_ANCHOR_CA_FILE) {
            Some(path) => reader
                .judge(Authorities::load(keys::AUDIT_ANCHOR_CA_FILE.name, path))
                .map(Some),
            None => Ok(None),
        };
        let (url, authorities) = (url?, authorities?);
        let is_https = url.as_ref().is_some_and(|url| url.0.scheme() == "https");
        if authorities.is_some() && !is_https {
            return Err(reader.report(Violation::TlsWithoutTls {
                name: keys::AUDIT_ANCHOR_CA_FILE.name,
                url: keys::AUDIT_ANCHOR_URL.name,
            }));
        }
        let Some(url) = url else { return Ok(None) };
        let transport = match (is_https, mode) {
            (true, _) => AnchorTransport::Https,
            (false, Ok(Mode::Dev(proof))) if is_loopback(&url.0) => AnchorTransport::PlainLoopback(proof),
            (false, Ok(_)) => {
                let why = "must use https; plain http is only for loopback, and only when CARACAL_ENV=dev";
                return Err(reader.report(Violation::Variable(keys::AUDIT_ANCHOR_URL.name, why)));
            }
            // An objection would be premature: a valid mode might permit it.
            (false, Err(unknown)) => return Err(unknown),
        };
        Ok(Some(Self {
            url,
            transport,
            authorities,
        }))
    }

    pub(crate) fn own_endpoint(&self) -> Option<OwnEndpoint> {
        own_endpoint(&self.url)
    }

    /// Where the anchor is, if the environment names one.
    pub(crate) fn named(reader: &mut Reader<'_>) -> Read<Option<OwnEndpoint>> {
        Ok(url(reader)?.as_ref().and_then(own_endpoint))
    }
}

/// By its name alone: where it does not resolve, or shares addresses with upstreams, no request may suffer for it.
fn own_endpoint(url: &AnchorUrl) -> Option<OwnEndpoint> {
    endpoint_of(&url.0).map(|endpoint| match endpoint {
        OwnEndpoint::Host(name, port) => OwnEndpoint::Name(name, port),
        other => other,
    })
}

fn url(reader: &mut Reader<'_>) -> Read<Option<AnchorUrl>> {
    let Some(text) = reader.secret(&keys::AUDIT_ANCHOR_URL)? else {
        return Ok(None);
    };
    reader.judge(judged(text.expose())).map(Some)
}

/// What is refused may hold a secret in any place, so none of it is shown.
fn judged(text: &str) -> Result<AnchorUrl, Violation> {
    let name = keys::AUDIT_ANCHOR_URL.name;
    let malformed = Violation::MalformedSecret(name, EXAMPLE);
    let Ok(url) = Url::parse(text) else {
        return Err(malformed);
    };
    let refuse = |why| Err(Violation::Variable(name, why));
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user name or a password; put a token into the path or the query");
    }
    if url.fragment().is_some() {
        return refuse("must not have a fragment");
    }
    if url.port() == Some(0) {
        return refuse("must not have port 0");
    }
    Ok(AnchorUrl(url))
}

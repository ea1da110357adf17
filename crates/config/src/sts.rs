//! The token exchange.

use std::net::IpAddr;
use std::num::NonZeroU32;

use admission::exchange::Dialect;
use admission::limits::OwnEndpoint;
use admission::mode::{DevOnly, Mode};
use url::{Host, Url};

use crate::endpoints::endpoint;
use crate::keys::gates as keys;
use crate::reader::{Read, Reader};
use crate::tls::{ClientTls, ClientTlsKeys};
use crate::violation::Violation;
use crate::warning::LaxFlag;

/// Where and how tokens are exchanged. The signing key is in [`crate::SigningKeys`], the time limit in [`crate::Timeouts`].
#[derive(Clone, Debug)]
pub struct Sts {
    /// The base address, without user info, query or fragment.
    pub url: Url,
    /// What the connector must enforce when it dials.
    pub transport: StsTransport,
    /// What an answer looks like.
    pub dialect: Dialect,
    /// Exchanges at once.
    pub max_inflight: NonZeroU32,
    /// Authorities and client certificate.
    pub tls: ClientTls,
}

/// How the connection to the STS is protected. The URL decides at start; the addresses of its host are known only
/// when the connector dials, which is why the rest of the rule is enforced there.
#[derive(Clone, Copy, Debug)]
pub enum StsTransport {
    /// TLS; the addresses do not matter.
    Https,
    /// Plain HTTP, only if every address of the host is loopback.
    PlainLoopback,
    /// Plain HTTP, only if every address of the host is loopback or private.
    PlainSingleLabel,
    /// Plain HTTP to any address. Development only, hence the proof.
    PlainAnywhere(DevOnly),
}

impl Sts {
    pub(crate) fn own_endpoint(&self) -> Option<OwnEndpoint> {
        endpoint_of(&self.url)
    }

    /// Where the STS is, if the environment names one.
    pub(crate) fn named(reader: &mut Reader<'_>) -> Read<Option<OwnEndpoint>> {
        match reader.text(&keys::STS_URL)? {
            Some(text) => Ok(endpoint_of(&reader.judge(base_url(&text))?)),
            None => Ok(None),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<Self> {
        let dialect = reader.required(&keys::STS_DIALECT, "caracal or rfc8693", dialect);
        let max_inflight = reader.count(&keys::STS_MAX_INFLIGHT);
        let insecure = Self::insecure(reader, mode);
        let url = Self::url(reader);
        let transport = match (&url, insecure, mode) {
            // An objection to the URL would be premature: a valid mode might permit it.
            (Ok(_), Ok((true, _)), Err(unknown)) => Err(unknown),
            (Ok(url), insecure, _) => {
                let proof = insecure.ok().and_then(|(_, proof)| proof);
                reader.judge(transport_of(url, proof))
            }
            (Err(reported), _, _) => Err(*reported),
        };
        let https = url
            .as_ref()
            .map(|url| url.scheme() == "https")
            .map_err(|reported| *reported);
        let tls = ClientTls::read_for(
            reader,
            mode,
            (&keys::STS_URL, https),
            &ClientTlsKeys {
                authorities: &keys::STS_CA_FILE,
                certificate: &keys::STS_CLIENT_CERT_FILE,
                private_key: &keys::STS_CLIENT_KEY_FILE,
            },
        );
        Ok(Self {
            url: url?,
            transport: transport?,
            dialect: dialect?,
            max_inflight: max_inflight?,
            tls: tls?,
        })
    }

    fn url(reader: &mut Reader<'_>) -> Read<Url> {
        let text = reader.text(&keys::STS_URL)?;
        let fix = "set it to the base address of the STS (`caracal-gateway dev` starts one of its own)";
        let text = reader.present(&keys::STS_URL, text, fix)?;
        reader.judge(base_url(&text))
    }

    /// Whether plain HTTP was asked for, and the proof where the mode permits it.
    pub(crate) fn insecure(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<(bool, Option<DevOnly>)> {
        reader.lax(mode, &keys::INSECURE_STS, LaxFlag::InsecureSts)
    }
}

pub(crate) fn endpoint_of(url: &Url) -> Option<OwnEndpoint> {
    let port = url.port_or_known_default()?;
    endpoint(url.host_str()?.trim_matches(['[', ']']), port)
}

/// Whether the host is the machine itself, as far as the URL says: the connector asks for the addresses of `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

fn dialect(text: &str) -> Option<Dialect> {
    match text {
        "caracal" => Some(Dialect::Caracal),
        "rfc8693" => Some(Dialect::Rfc8693),
        _ => None,
    }
}

/// An absolute http or https URL to which a path can be appended. It may not hold a password: it is shown in logs
/// and metrics. One that is refused may, so that is never shown.
fn base_url(text: &str) -> Result<Url, Violation> {
    let refuse = |why| Err(Violation::Variable(keys::STS_URL.name, why));
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
fn transport_of(url: &Url, insecure: Option<DevOnly>) -> Result<StsTransport, Violation> {
    match (url.scheme(), url.host(), insecure) {
        ("https", _, _) => Ok(StsTransport::Https),
        _ if is_loopback(url) => Ok(StsTransport::PlainLoopback),
        (_, _, Some(proof)) => Ok(StsTransport::PlainAnywhere(proof)),
        (_, Some(Host::Domain(name)), None) if !name.contains('.') => Ok(StsTransport::PlainSingleLabel),
        _ => Err(Violation::Variable(
            keys::STS_URL.name,
            "must use https; plain http is only for loopback and single-label host names such as http://sts:8080",
        )),
    }
}

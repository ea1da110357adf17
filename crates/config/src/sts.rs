//! The token exchange.

use std::net::IpAddr;
use std::num::NonZeroU32;

use admission::exchange::Dialect;
use admission::limits::OwnEndpoint;
use admission::mode::{DevOnly, Mode};
use ipnet::IpNet;
use url::{Host, Url};

use crate::keys::gates as keys;
use crate::reader::{Read, Reader};
use crate::rules;
use crate::tls::{ClientTls, ClientTlsKeys};
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
    /// The base address without a trailing slash, ready for `/oauth/2/token`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(crate) fn own_endpoint(&self) -> Option<OwnEndpoint> {
        let port = self.url.port_or_known_default()?;
        Some(match self.url.host()? {
            Host::Ipv4(address) => OwnEndpoint::Net(IpNet::from(IpAddr::V4(address)), port),
            Host::Ipv6(address) => OwnEndpoint::Net(IpNet::from(IpAddr::V6(address).to_canonical()), port),
            Host::Domain(name) => OwnEndpoint::Host(name.strip_suffix('.').unwrap_or(name).to_owned(), port),
        })
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
                reader.judge(rules::sts_transport(url, proof))
            }
            (Err(reported), _, _) => Err(*reported),
        };
        let https = url
            .as_ref()
            .map(|url| url.scheme() == "https")
            .map_err(|reported| *reported);
        let tls = ClientTls::read(
            reader,
            mode,
            https,
            &ClientTlsKeys {
                url: &keys::STS_URL,
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
        reader.judge(rules::sts_url(&text))
    }

    /// Whether plain HTTP was asked for, and the proof where the mode permits it.
    pub(crate) fn insecure(reader: &mut Reader<'_>, mode: Read<Mode>) -> Read<(bool, Option<DevOnly>)> {
        let on = reader.flag(&keys::INSECURE_STS)?;
        Ok((on, reader.lax(mode, LaxFlag::InsecureSts, on)?))
    }
}

fn dialect(text: &str) -> Option<Dialect> {
    match text {
        "caracal" => Some(Dialect::Caracal),
        "rfc8693" => Some(Dialect::Rfc8693),
        _ => None,
    }
}

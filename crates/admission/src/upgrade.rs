//! Which requests ask for another protocol on their connection (RFC 9110 §7.8).

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use crate::fields::{members, only};

/// The name of the WebSocket protocol (RFC 6455 §11.2).
pub const WEBSOCKET: &str = "websocket";

/// The protocols to which a connection may be switched (`ALLOW_UPGRADES`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades(Vec<String>);

impl Upgrades {
    /// These, and no others.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Whether this one is among them; the case does not matter.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// A switch of protocols that a request asks for, and that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// As the request spells it.
    protocol: HeaderValue,
    is_websocket: bool,
}

impl Upgrade {
    /// What a request asks for: a `GET` of HTTP/1.1 without a body whose `Connection` lists `Upgrade`, which names exactly one
    /// allowed protocol; for WebSocket also with one key, without which nobody could tell whether the answer fits
    /// (RFC 6455 §4.1). Any other `Upgrade` stays on the connection that it came on. An extended `CONNECT` of HTTP/2 has
    /// been given the same form on its arrival.
    #[must_use]
    pub fn of(head: &Parts, allowed: &Upgrades) -> Option<Self> {
        let headers = &head.headers;
        let protocol = only(headers, &UPGRADE)?;
        let name = protocol.to_str().ok()?.trim();
        let is_asked = head.method == Method::GET
            && matches!(head.version, Version::HTTP_11 | Version::HTTP_2)
            && members(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
            && !headers.contains_key(CONTENT_LENGTH)
            && !headers.contains_key(TRANSFER_ENCODING);
        let is_websocket = name.eq_ignore_ascii_case(WEBSOCKET);
        let is_whole = !is_websocket || only(headers, &SEC_WEBSOCKET_KEY).is_some();
        (is_asked && is_whole && allowed.contains(name)).then(|| Self {
            protocol: protocol.clone(),
            is_websocket,
        })
    }

    /// The protocol, as the request spells it.
    #[must_use]
    pub fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether it is WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.is_websocket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, version: Version, fields: &[(&str, &str)]) -> Option<Upgrade> {
        let mut request = http::Request::builder().method(method).version(version).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let allowed = Upgrades::new([WEBSOCKET, "foo"].map(str::to_owned));
        Upgrade::of(&head, &allowed)
    }

    #[test]
    fn upgrade_is_asked_for_by_a_get_without_a_body_that_names_one_allowed_protocol() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let list = ("connection", "keep-alive, Upgrade");
        let socket = ("upgrade", "WebSocket");
        for (method, fields, expect) in [
            ("GET", &[list, socket, key][..], Some(true)),
            (
                "GET",
                &[("connection", "x"), list, ("upgrade", "foo")],
                Some(false),
            ),
            ("GET", &[list, socket], None),
            ("GET", &[list, socket, key, key], None),
            ("GET", &[socket, key], None),
            ("GET", &[("connection", "close"), socket, key], None),
            ("GET", &[list, ("upgrade", "h2c")], None),
            ("GET", &[list, ("upgrade", "foo, websocket"), key], None),
            ("GET", &[list, socket, ("upgrade", "foo"), key], None),
            ("GET", &[list, ("upgrade", ""), key], None),
            ("GET", &[list, socket, key, ("content-length", "0")], None),
            (
                "GET",
                &[list, socket, key, ("transfer-encoding", "chunked")],
                None,
            ),
            ("POST", &[list, socket, key], None),
            ("HEAD", &[list, socket, key], None),
        ] {
            let upgrade = of(method, Version::HTTP_11, fields);
            assert_eq!(
                upgrade.map(|upgrade| upgrade.is_websocket()),
                expect,
                "{method} {fields:?}"
            );
            assert_eq!(of(method, Version::HTTP_10, fields), None, "{method} {fields:?}");
        }
    }
}

//! What a web page says by names of subprotocols (`Sec-WebSocket-Protocol`, RFC 6455 §11.3.4): no other field of a
//! WebSocket handshake is its own to set.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::fields::members;

/// How the names that are the gateway's own begin. Such a name never crosses, in any case.
const OWN: &[u8] = b"caracal.";
/// Before a mandate.
const BEARER: &[u8] = b"caracal.bearer.";
/// Before a resource in base64url without padding.
const RESOURCE: &[u8] = b"caracal.resource.";

/// The mandate and the resource of a handshake, as far as they are among its subprotocols. It holds a secret.
#[derive(Default)]
pub struct Subprotocols {
    bearer: Option<String>,
    resource: Option<String>,
    is_ambiguous: bool,
}

/// There is nothing among them.
pub static NONE: Subprotocols = Subprotocols {
    bearer: None,
    resource: None,
    is_ambiguous: false,
};

impl Subprotocols {
    /// Those of a WebSocket handshake.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in members(headers, &SEC_WEBSOCKET_PROTOCOL) {
            let second = if let Some(bearer) = behind(name, BEARER) {
                found.bearer.replace(String::from_utf8_lossy(bearer).into_owned())
            } else if let Some(resource) = behind(name, RESOURCE) {
                // What cannot be read names nothing.
                let text = URL_SAFE_NO_PAD.decode(resource).ok();
                let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
                found.resource.replace(text.unwrap_or_default())
            } else {
                None
            };
            found.is_ambiguous |= second.is_some();
        }
        found
    }

    /// The mandate.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// The resource; empty where it cannot be read.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// One of them is there twice.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }
}

impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprotocols")
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// Whether a subprotocol is the gateway's own.
#[must_use]
pub fn is_own(name: &[u8]) -> bool {
    behind(name, OWN).is_some()
}

/// Whether a subprotocol names a resource.
#[must_use]
pub fn names_resource(name: &[u8]) -> bool {
    behind(name, RESOURCE).is_some()
}

fn behind<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The lines of a handshake; the mandate, the resource, and whether one of them is there twice.
    type Case = (
        &'static [&'static str],
        Option<&'static str>,
        Option<&'static str>,
        bool,
    );

    #[test]
    fn subprotocols_hold_a_mandate_and_a_resource_once_each() {
        let cases: [Case; 8] = [
            (&["chat"], None, None, false),
            (
                &["caracal.bearer.a.b.c, caracal.resource.cjovL2E"],
                Some("a.b.c"),
                Some("r://a"),
                false,
            ),
            (
                &["chat", "caracal.resource.cjovL2E,, v2", "Caracal.Bearer.a.b-_"],
                Some("a.b-_"),
                Some("r://a"),
                false,
            ),
            (&["caracal.bearer.a, caracal.bearer.a"], Some("a"), None, true),
            (
                &["caracal.resource.cjovL2E", "caracal.resource.cjovL2E"],
                None,
                Some("r://a"),
                true,
            ),
            (&["caracal.resource.cjovL2E="], None, Some(""), false),
            (&["caracal.resource._w"], None, Some(""), false),
            (
                &["caracal.bearer., caracal.other, caracal"],
                Some(""),
                None,
                false,
            ),
        ];
        for (lines, bearer, resource, is_ambiguous) in cases {
            let lines_of = |line: &&'static str| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
            let mut headers = HeaderMap::new();
            for (name, line) in lines.iter().map(lines_of) {
                headers.append(name, line);
            }
            let found = Subprotocols::of(&headers);
            assert_eq!(
                (found.bearer(), found.resource()),
                (bearer, resource),
                "{lines:?}"
            );
            assert_eq!(found.is_ambiguous(), is_ambiguous, "{lines:?}");
            assert!(!format!("{found:?}").contains("a.b"), "{found:?}");
        }
    }

    #[test]
    fn subprotocols_of_the_gateway_are_known_in_every_case() {
        for (name, own, resource) in [
            ("caracal.bearer.x", true, false),
            ("CARACAL.RESOURCE.x", true, true),
            ("caracal.", true, false),
            ("caracal", false, false),
            ("xcaracal.bearer.x", false, false),
        ] {
            let name = name.as_bytes();
            assert_eq!((is_own(name), names_resource(name)), (own, resource), "{name:?}");
        }
    }
}

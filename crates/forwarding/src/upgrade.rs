//! A switch of protocols: what the upstream is asked, whether its answer fits, and what the caller is told of it (RFC 9110
//! §7.8, RFC 6455 §4, RFC 8441 §5).

use admission::Upgrade;
use admission::fields::{members, only};
use admission::subprotocols;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use http::request;
use http::response::Parts;
use http::{StatusCode, Version};

use crate::connection;
use crate::response_error::ResponseError;

/// What a server proves that it read (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const ASKS: HeaderValue = HeaderValue::from_static("Upgrade");

/// What a connection was switched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// WebSocket: frames, with an end of their own (RFC 6455 §5).
    WebSocket,
    /// Bytes of which nothing is known.
    Opaque,
}

/// A switch that a request asks for.
#[derive(Debug)]
pub(crate) struct Handshake {
    protocol: HeaderValue,
    websocket: Option<WebSocket>,
    /// The caller's side is a stream of HTTP/2, on which no protocol is switched: it gets 200, and no 101.
    is_extended_connect: bool,
}

#[derive(Debug)]
struct WebSocket {
    /// The only `Sec-WebSocket-Accept` that fits the key.
    accept: HeaderValue,
    /// The subprotocols that the upstream is offered.
    offered: Vec<Box<[u8]>>,
    /// The one that the caller is told where the upstream was offered none: browsers give up a connection whose server
    /// takes none of those that they offer.
    stands_in: Option<HeaderValue>,
}

impl Handshake {
    /// The switch that this request of a caller asks for.
    pub(crate) fn begin(head: &request::Parts, upgrade: &Upgrade) -> Self {
        let websocket = upgrade.is_websocket().then(|| WebSocket::begin(&head.headers));
        Self {
            protocol: copied(upgrade.protocol().as_bytes()),
            websocket,
            is_extended_connect: head.version == Version::HTTP_2,
        }
    }

    /// Asks the upstream for it, in its own head.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, ASKS);
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Whether this answer switches; `None` where it is one like any other.
    pub(crate) fn judge(&self, answer: &Parts) -> Result<Option<Switched>, ResponseError> {
        match answer.status {
            StatusCode::SWITCHING_PROTOCOLS if self.fits(&answer.headers) => Ok(Some(match self.websocket {
                Some(_) => Switched::WebSocket,
                None => Switched::Opaque,
            })),
            StatusCode::SWITCHING_PROTOCOLS => Err(ResponseError::SwitchUnfit),
            // To the caller it would mean that the switch was made.
            status if self.is_extended_connect && status.is_success() => Err(ResponseError::NotSwitched),
            _ => Ok(None),
        }
    }

    fn fits(&self, headers: &HeaderMap) -> bool {
        let is_asked = |value: &HeaderValue| {
            let names = (
                value.as_bytes().trim_ascii(),
                self.protocol.as_bytes().trim_ascii(),
            );
            names.0.eq_ignore_ascii_case(names.1)
        };
        connection::lists(headers, &UPGRADE)
            && only(headers, &UPGRADE).is_some_and(is_asked)
            && self.websocket.as_ref().is_none_or(|socket| socket.fits(headers))
    }

    /// Tells the caller, in a head from which everything about the upstream's connection was removed.
    pub(crate) fn tell(&self, head: &mut Parts) {
        let headers = &mut head.headers;
        if let Some(WebSocket {
            accept, stands_in, ..
        }) = &self.websocket
        {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
            if let Some(stands_in) = stands_in {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, stands_in.clone());
            }
        }
        if self.is_extended_connect {
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            head.status = StatusCode::OK;
        } else {
            headers.insert(CONNECTION, ASKS);
            headers.insert(UPGRADE, self.protocol.clone());
        }
    }
}

impl WebSocket {
    fn begin(headers: &HeaderMap) -> Self {
        let key = only(headers, &SEC_WEBSOCKET_KEY).map_or(&b""[..], |key| key.as_bytes().trim_ascii());
        let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
        let names = || members(headers, &SEC_WEBSOCKET_PROTOCOL);
        let offered: Vec<Box<[u8]>> = names()
            .filter(|name| !subprotocols::is_own(name))
            .map(Box::from)
            .collect();
        let stands_in = names()
            .find(|name| offered.is_empty() && subprotocols::names_resource(name))
            .map(copied);
        Self {
            accept: copied(BASE64.encode(proof.as_ref()).as_bytes()),
            offered,
            stands_in,
        }
    }

    fn fits(&self, headers: &HeaderMap) -> bool {
        let is_proven = only(headers, &SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| accept.as_bytes().trim_ascii() == self.accept.as_bytes());
        let is_offered = match only(headers, &SEC_WEBSOCKET_PROTOCOL) {
            Some(chosen) => self
                .offered
                .iter()
                .any(|name| **name == *chosen.as_bytes().trim_ascii()),
            None => !headers.contains_key(SEC_WEBSOCKET_PROTOCOL),
        };
        is_proven && is_offered
    }
}

/// Takes the gateway's own names away from the subprotocols that an upstream is offered.
pub(crate) fn remove_own_subprotocols(headers: &mut HeaderMap) {
    let is_own = |name: &[u8]| subprotocols::is_own(name);
    if !members(headers, &SEC_WEBSOCKET_PROTOCOL).any(is_own) {
        return;
    }
    let names = members(headers, &SEC_WEBSOCKET_PROTOCOL).filter(|name| !is_own(name));
    let others = names.collect::<Vec<_>>().join(&b", "[..]);
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !others.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, copied(&others));
    }
}

/// A value of its own: a clone would keep the buffer of the whole head for as long as the connection lives.
fn copied(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests;

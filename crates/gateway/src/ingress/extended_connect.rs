//! A switch of protocols on a stream of HTTP/2 (RFC 8441).

use admission::Denial;
use admission::upgrade::{Upgrades, WEBSOCKET};
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use hyper::ext::Protocol;

use crate::ids;

/// Gives an extended `CONNECT` the form of the handshake that it stands for (RFC 6455 §4.1), in which everything behind
/// this knows it. Any other request stays as it is.
///
/// # Errors
/// [`Denial::ProtocolNotAllowed`].
pub fn translate(head: &mut Parts, allowed: &Upgrades) -> Result<(), Denial> {
    let Some(protocol) = head.extensions.remove::<Protocol>() else {
        return Ok(());
    };
    if !protocol.as_str().eq_ignore_ascii_case(WEBSOCKET) || !allowed.contains(WEBSOCKET) {
        return Err(Denial::ProtocolNotAllowed);
    }
    head.method = Method::GET;
    let headers = &mut head.headers;
    // What follows the head is no body, whatever it says.
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    // HTTP/2 has no use for one (RFC 8441 §5.1).
    headers.insert(SEC_WEBSOCKET_KEY, ids::websocket_key());
    Ok(())
}

#[cfg(test)]
mod tests {
    use admission::Upgrade;
    use http::{Request, Version};

    use super::*;

    #[test]
    fn extended_connect_becomes_a_handshake_where_its_protocol_is_allowed() {
        for (protocol, allowed, expect) in [
            ("websocket", "websocket", Ok(true)),
            ("WebSocket", "websocket", Ok(true)),
            ("websocket", "foo", Err(Denial::ProtocolNotAllowed)),
            ("foo", "foo", Err(Denial::ProtocolNotAllowed)),
            ("connect-udp", "websocket", Err(Denial::ProtocolNotAllowed)),
        ] {
            let allowed = Upgrades::new([allowed.to_owned()]);
            let head = || {
                let request = Request::connect("https://gw/chat").version(Version::HTTP_2);
                let request = request.header(CONTENT_LENGTH, "0").header(SEC_WEBSOCKET_KEY, "x");
                let mut head = request.body(()).unwrap().into_parts().0;
                head.extensions.insert(Protocol::from_static(protocol));
                let translated = translate(&mut head, &allowed);
                (translated, head)
            };
            let ((translated, head), (_, other)) = (head(), head());
            let upgrade = Upgrade::of(&head, &allowed).map(|upgrade| upgrade.is_websocket());
            assert_eq!(translated.map(|()| upgrade == Some(true)), expect, "{protocol}");
            if expect.is_ok() {
                assert_eq!((&head.method, head.uri.path()), (&Method::GET, "/chat"));
                let keys = [&head, &other].map(|head| head.headers[SEC_WEBSOCKET_KEY].clone());
                assert!(keys[0] != keys[1] && keys[0].len() == 24, "{keys:?}");
            }
        }
        let mut plain = Request::get("/x").body(()).unwrap().into_parts().0;
        assert_eq!(translate(&mut plain, &Upgrades::default()), Ok(()));
        assert!(plain.headers.is_empty());
    }
}

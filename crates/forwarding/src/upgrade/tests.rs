use admission::Upgrades;
use http::{Request, Response};

use super::*;
use crate::response::{Inbound, ResponseRules};
use crate::testing::{no_credential, url};
use crate::{Crossing, FreshTrace, TrustedProxies, request_head, response_head};

/// The handshake of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const RESOURCE: &str = "caracal.resource.cjovL2E";

/// What goes upstream of a handshake with these subprotocols, and what the answer has to respect.
fn ask(version: Version, protocol: &str, offered: &[&str]) -> (HeaderMap, ResponseRules) {
    let mut request = Request::get("/x")
        .version(version)
        .header(CONNECTION, "keep-alive, upgrade, X-Mine")
        .header("x-mine", "1")
        .header(UPGRADE, protocol)
        .header(SEC_WEBSOCKET_KEY, KEY);
    for line in offered {
        request = request.header(SEC_WEBSOCKET_PROTOCOL, *line);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let allowed = Upgrades::new(["websocket", "foo"].map(str::to_owned));
    let upgrade = Upgrade::of(&head, &allowed).unwrap();
    let handshake = Handshake::begin(&head, &upgrade);
    let crossing = Crossing {
        peer: "203.0.113.9".parse().unwrap(),
        scheme: admission::Scheme::Https,
        request_id: &HeaderValue::from_static("id-1"),
        trusted_proxies: &TrustedProxies::default(),
        trace: FreshTrace::from_random([1; 16], [2; 8]),
        is_bodiless: true,
    };
    let mut rewritten = request_head(head, &crossing, &url("https://up.example/"), &no_credential()).unwrap();
    handshake.ask(&mut rewritten.head.headers);
    (rewritten.head.headers, rewritten.rules.switching(handshake))
}

fn answer(rules: &ResponseRules, status: u16, lines: &[(&str, &str)]) -> Result<Inbound, ResponseError> {
    let mut response = Response::builder().status(status);
    for (name, value) in lines {
        response = response.header(*name, *value);
    }
    response_head(response.body(()).unwrap().into_parts().0, rules, 0)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn upgrade_crosses_in_words_of_the_gateway_and_without_its_own_subprotocols() {
    for (offered, crosses) in [
        (&["chat, v2"][..], Some("chat, v2")),
        (&["caracal.bearer.a.b.c, chat", RESOURCE, "v2"], Some("chat, v2")),
        (&["caracal.bearer.a.b.c", RESOURCE], None),
        (&["CARACAL.Bearer.a, caracal.new"], None),
        (&[], None),
    ] {
        let (headers, _) = ask(Version::HTTP_11, "WebSocket", offered);
        assert_eq!(
            text(&headers, "sec-websocket-protocol").as_deref(),
            crosses,
            "{offered:?}"
        );
        assert_eq!(text(&headers, "connection").as_deref(), Some("Upgrade"));
        assert_eq!(text(&headers, "upgrade").as_deref(), Some("WebSocket"));
        assert_eq!(text(&headers, "sec-websocket-key").as_deref(), Some(KEY));
        assert!(
            !headers.contains_key("x-mine"),
            "what Connection lists stays behind"
        );
    }
}

#[test]
fn upgrade_is_made_only_by_an_answer_that_fits_what_was_asked() {
    let connection = ("connection", "upgrade");
    let upgrade = ("upgrade", "websocket");
    let accept = ("sec-websocket-accept", ACCEPT);
    let chat = ("sec-websocket-protocol", "chat");
    for (protocol, lines, expect) in [
        (
            "websocket",
            &[connection, upgrade, accept][..],
            Ok(Some(Switched::WebSocket)),
        ),
        (
            "websocket",
            &[connection, ("upgrade", "WebSocket"), accept, chat],
            Ok(Some(Switched::WebSocket)),
        ),
        (
            "foo",
            &[connection, ("upgrade", "foo")],
            Ok(Some(Switched::Opaque)),
        ),
        (
            "foo",
            &[connection, upgrade, accept],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, ("upgrade", "foo"), accept],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, upgrade, accept],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, accept],
            Err(ResponseError::SwitchUnfit),
        ),
        ("websocket", &[upgrade, accept], Err(ResponseError::SwitchUnfit)),
        (
            "websocket",
            &[connection, upgrade],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, ("sec-websocket-accept", KEY)],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, accept, accept],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, accept, ("sec-websocket-protocol", "other")],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, accept, ("sec-websocket-protocol", RESOURCE)],
            Err(ResponseError::SwitchUnfit),
        ),
        (
            "websocket",
            &[connection, upgrade, accept, chat, chat],
            Err(ResponseError::SwitchUnfit),
        ),
    ] {
        let (_, rules) = ask(Version::HTTP_11, protocol, &["chat", RESOURCE]);
        let judged = answer(&rules, 101, lines).map(|inbound| inbound.switched);
        assert_eq!(judged, expect, "{protocol} {lines:?}");
    }
}

#[test]
fn upgrade_is_told_to_the_caller_in_the_form_of_its_protocol() {
    let lines = [
        ("connection", "Upgrade, Sec-WebSocket-Accept, X-Theirs"),
        ("x-theirs", "1"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("server", "Apache"),
    ];
    for (version, status, connection, accept) in [
        (Version::HTTP_11, 101, Some("Upgrade"), Some(ACCEPT)),
        (Version::HTTP_2, 200, None, None),
    ] {
        let (_, rules) = ask(version, "websocket", &[]);
        let head = answer(&rules, 101, &lines).unwrap().head;
        assert_eq!(head.status, status);
        assert_eq!(text(&head.headers, "connection").as_deref(), connection);
        assert_eq!(text(&head.headers, "upgrade").is_some(), connection.is_some());
        assert_eq!(text(&head.headers, "sec-websocket-accept").as_deref(), accept);
        for name in [
            "x-theirs",
            "content-length",
            "transfer-encoding",
            "server",
            "sec-websocket-protocol",
        ] {
            assert!(!head.headers.contains_key(name), "{name}");
        }
        assert_eq!(text(&head.headers, "x-request-id").as_deref(), Some("id-1"));
    }
}

#[test]
fn upgrade_tells_a_page_a_subprotocol_where_it_offered_only_those_of_the_gateway() {
    let token = "caracal.bearer.a.b.c";
    for (offered, told) in [
        (&[token, RESOURCE][..], Some(RESOURCE)),
        // The upstream was asked, and takes none of them.
        (&[token, RESOURCE, "chat"], None),
        // A secret is not told.
        (&[token], None),
        (&[], None),
    ] {
        let (_, rules) = ask(Version::HTTP_11, "websocket", offered);
        let lines = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", ACCEPT),
        ];
        let head = answer(&rules, 101, &lines).unwrap().head;
        assert_eq!(
            text(&head.headers, "sec-websocket-protocol").as_deref(),
            told,
            "{offered:?}"
        );
    }
}

#[test]
fn upgrade_that_is_not_made_is_an_answer_like_any_other_but_never_a_success_over_http2() {
    for (version, status, expect) in [
        (Version::HTTP_11, 200, Ok(None)),
        (Version::HTTP_11, 426, Ok(None)),
        (Version::HTTP_2, 403, Ok(None)),
        (Version::HTTP_2, 302, Ok(None)),
        (Version::HTTP_2, 200, Err(ResponseError::NotSwitched)),
        (Version::HTTP_2, 204, Err(ResponseError::NotSwitched)),
        (Version::HTTP_11, 102, Err(ResponseError::Informational)),
    ] {
        let (_, rules) = ask(version, "websocket", &[]);
        let judged = answer(&rules, status, &[("upgrade", "h2c")]).map(|inbound| {
            assert!(!inbound.head.headers.contains_key(UPGRADE));
            inbound.switched
        });
        assert_eq!(judged, expect, "{version:?} {status}");
    }
}

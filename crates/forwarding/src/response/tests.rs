use super::*;
use http::header::HeaderName;
use http::{Request, Response};
use proptest::prelude::*;

use admission::Scheme;

use crate::testing::{no_credential, query_key, url};
use crate::{Crossing, FreshTrace, TrustedProxies, request_head};

const URL: &str = "https://up.example/base?sig=s3cret";

/// What a request with the given method, version and headers settles.
fn rules(
    method: Method,
    version: Version,
    headers: &[(&str, &str)],
    credential: &Credential,
) -> ResponseRules {
    let mut builder = Request::builder().method(method).version(version).uri("/x");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let crossing = Crossing {
        peer: "203.0.113.9".parse().unwrap(),
        scheme: Scheme::Https,
        request_id: &HeaderValue::from_static("id-1"),
        trusted_proxies: &TrustedProxies::default(),
        trace: FreshTrace::from_random([1; 16], [2; 8]),
        is_bodiless: false,
    };
    let head = builder.body(()).unwrap().into_parts().0;
    request_head(head, &crossing, &url(URL), credential)
        .unwrap()
        .rules
        .expiring_at(1290)
}

fn plain() -> ResponseRules {
    rules(Method::GET, Version::HTTP_11, &[], &no_credential())
}

fn with_te() -> ResponseRules {
    let headers = [("te", "trailers"), ("connection", "TE")];
    rules(Method::GET, Version::HTTP_11, &headers, &no_credential())
}

fn answer(status: u16, headers: &[(&str, &str)], rules: &ResponseRules) -> Result<Inbound, ResponseError> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    response_head(builder.body(()).unwrap().into_parts().0, rules, 1000)
}

/// Checks that exactly the given lines reach the caller beside those that the gateway always states.
fn check(headers: &[(&str, &str)], expect: &[&str]) {
    let inbound = answer(200, headers, &plain()).unwrap();
    let mut lines: Vec<String> = inbound
        .head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    let mut expect: Vec<&str> = ["x-caracal-token-expires-in: 290", "x-request-id: id-1"]
        .into_iter()
        .chain(expect.iter().copied())
        .collect();
    expect.sort_unstable();
    assert_eq!(lines, expect, "{headers:?}");
}

#[test]
fn ordinary_response_headers_return_unchanged() {
    let headers = [
        ("cache-control", "no-store"),
        ("content-encoding", "gzip"),
        ("content-length", "5"),
        ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("mcp-session-id", "s"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b=2"),
        ("www-authenticate", "Basic"),
    ];
    let expect = headers.map(|(name, value)| format!("{name}: {value}"));
    check(&headers, &expect.each_ref().map(String::as_str));
}

#[test]
fn hop_by_hop_response_headers_stay_behind() {
    let headers = [
        ("connection", "close"),
        ("connection", "X-Internal"),
        ("x-internal", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x-checksum"),
        ("upgrade", "h2c"),
    ];
    check(&headers, &[]);
}

#[test]
fn headers_that_describe_the_upstreams_software_stay_behind() {
    let headers = [
        ("server", "Apache/2.4.1"),
        ("x-powered-by", "PHP/5"),
        ("x-aspnet-version", "4"),
        ("x-aspnetmvc-version", "5"),
        ("refresh", "0; url=https://evil.example"),
        ("alt-svc", "h3=\":443\""),
    ];
    check(&headers, &[]);
}

#[test]
fn gateway_owned_names_replace_the_upstreams() {
    let headers = [
        ("x-request-id", "upstream"),
        ("x-request-id", "twice"),
        ("X_Request_Id", "upstream"),
        ("x-caracal-token-expires-in", "9999"),
        ("x-caracal-revoked", "true"),
        ("x-caracal-identity", "mandate"),
        ("X_Caracal_Identity", "mandate"),
    ];
    check(&headers, &[]);
}

#[test]
fn connection_of_the_upstream_cannot_remove_gateway_owned_names() {
    check(&[("connection", "X-Request-Id, X-Caracal-Token-Expires-In")], &[]);
}

#[test]
fn location_elsewhere_stays_behind_and_below_the_base_becomes_relative() {
    check(&[("location", "http://169.254.169.254/latest")], &[]);
    check(
        &[("location", "/ok"), ("location", "https://evil.example")],
        &["location: /ok"],
    );
    check(
        &[("content-location", "https://up.example/base/x?sig=s3cret&a=1")],
        &["content-location: /x?a=1"],
    );
}

#[test]
fn location_does_not_hand_the_api_key_to_the_caller() {
    let rules = rules(Method::GET, Version::HTTP_11, &[], &query_key("key", "s3cret"));
    let inbound = answer(301, &[("location", "/x/?a=1&key=s3cret")], &rules).unwrap();
    assert_eq!(inbound.head.headers["location"], "/x/?a=1");
}

#[test]
fn early_hints_are_cleaned_as_the_head_of_an_answer_is() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("link", "</a.css>; rel=preload"),
        ("link", "</b.css>; rel=preload"),
        ("connection", "x-foul"),
        ("x-foul", "1"),
        ("server", "foul"),
        ("x_caracal_revoked", "true"),
        ("x-request-id", "foul"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("location", "http://foul.example/"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let cleaned = early_hints(&headers, &plain());
    let lines: Vec<_> = cleaned.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(lines, ["link", "link"]);
}

#[test]
fn inbound_debug_shows_no_cookie() {
    let text = format!(
        "{:?}",
        answer(200, &[("set-cookie", "s3cret")], &plain()).unwrap()
    );
    assert!(text.contains("200") && !text.contains("s3cret"), "{text}");
}

#[test]
fn informational_answers_are_refused() {
    for status in [100, 101, 103] {
        assert_eq!(
            answer(status, &[], &plain()).unwrap_err(),
            ResponseError::Informational,
            "{status}"
        );
    }
}

#[test]
fn length_of_the_answer_has_one_meaning() {
    check(
        &[("content-length", "5"), ("content-length", "5")],
        &["content-length: 5"],
    );
    check(&[("content-length", "5"), ("transfer-encoding", "chunked")], &[]);
    let smuggled = answer(200, &[("content-length", "5"), ("content-length", "6")], &plain());
    assert_eq!(smuggled.unwrap_err(), ResponseError::AmbiguousLength);
}

#[test]
fn an_old_upstream_does_not_make_the_gateway_old() {
    let mut head = Response::new(()).into_parts().0;
    head.version = Version::HTTP_10;
    let inbound = response_head(head, &plain(), 1291).unwrap();
    assert_eq!(inbound.head.version, Version::HTTP_11);
    assert_eq!(
        inbound.head.headers["x-caracal-token-expires-in"], "0",
        "never less"
    );
}

const TE: (&str, &str) = ("te", "trailers");
const LISTED: (&str, &str) = ("connection", "keep-alive, te");
const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

#[test]
fn trailers_are_announced_when_the_caller_takes_them_and_the_framing_carries_them() {
    let chunked = [
        ("transfer-encoding", "chunked"),
        ("trailer", "Grpc-Status, X-Caracal-Identity, Set-Cookie"),
    ];
    let http1 = |headers: &[(&str, &str)]| rules(Method::GET, Version::HTTP_11, headers, &no_credential());
    let http2 = |headers: &[(&str, &str)]| rules(Method::POST, Version::HTTP_2, headers, &no_credential());
    let own = "x-caracal-revoked, grpc-status, grpc-message";
    let grpc_alone = [("content-type", "application/grpc")];
    let grpc_chunked = [chunked[0], chunked[1], grpc_alone[0]];
    for (rules, with_upstreams, alone, early_end) in [
        // A proxy in between may pass `TE` on and drop the trailer: then the end would look clean.
        (http1(&[TE]), Some("grpc-status"), None, None),
        (http2(&[TE]), Some("grpc-status"), None, None),
        (
            http1(&[TE, LISTED]),
            Some("x-caracal-revoked, grpc-status"),
            Some("x-caracal-revoked"),
            Some(EarlyEnd::Plain),
        ),
        (http1(&[TE, GRPC]), Some(own), Some(own), Some(EarlyEnd::Grpc)),
        (http2(&[TE, GRPC]), Some(own), Some(own), Some(EarlyEnd::Grpc)),
        (http2(&[GRPC]), None, None, Some(EarlyEnd::Grpc)),
        (http1(&[LISTED]), None, None, None),
        (http1(&[GRPC]), None, None, None),
    ] {
        for (headers, announced) in [(&grpc_chunked[..], with_upstreams), (&grpc_alone, alone)] {
            let inbound = answer(200, headers, &rules).unwrap();
            let trailer = inbound.head.headers.get("trailer");
            assert_eq!(
                trailer.map(|value| value.to_str().unwrap()),
                announced,
                "{rules:?}"
            );
            assert_eq!(inbound.early_end, early_end, "{rules:?}");
        }
    }
}

#[test]
fn early_end_of_grpc_needs_an_answer_of_grpc_without_a_status() {
    let rules = rules(Method::POST, Version::HTTP_2, &[GRPC], &no_credential());
    for (headers, expect) in [
        (
            &[("content-type", "application/grpc+proto")][..],
            Some(EarlyEnd::Grpc),
        ),
        (
            &[("content-type", "application/grpc"), ("grpc-status", "0")],
            None,
        ),
        (
            &[("content-type", "application/grpc"), ("content-length", "5")],
            None,
        ),
        (&[("content-type", "application/grpc-web+proto")], None),
        (&[("content-type", "text/event-stream")], None),
        (&[], None),
    ] {
        assert_eq!(
            answer(200, headers, &rules).unwrap().early_end,
            expect,
            "{headers:?}"
        );
    }
}

#[test]
fn trailers_are_not_announced_when_they_could_not_be_sent() {
    let head = rules(Method::HEAD, Version::HTTP_11, &[TE, LISTED], &no_credential());
    let old = rules(Method::GET, Version::HTTP_10, &[TE, LISTED], &no_credential());
    for (status, headers, rules) in [
        (200, &[("content-length", "5")][..], with_te()),
        (204, &[], with_te()),
        (304, &[], with_te()),
        (200, &[], head),
        (200, &[], old),
        (
            200,
            &[("transfer-encoding", "chunked"), ("trailer", "grpc-status")],
            plain(),
        ),
    ] {
        let inbound = answer(status, headers, &rules).unwrap();
        assert!(
            !inbound.head.headers.contains_key("trailer"),
            "{status} {headers:?} {rules:?}"
        );
        assert_eq!(inbound.early_end, None);
    }
}

#[test]
fn grpc_is_known_by_its_media_type() {
    for (media_type, expect) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/json", false),
    ] {
        let headers = [("content-type", media_type)];
        let rules = rules(Method::POST, Version::HTTP_2, &headers, &no_credential());
        assert_eq!(rules.is_grpc(), expect, "{media_type}");
    }
}

#[test]
fn trailers_are_announced_from_http_1_1_on() {
    for (version, expect) in [
        (Version::HTTP_10, false),
        (Version::HTTP_11, true),
        (Version::HTTP_2, true),
    ] {
        let headers = [("te", "trailers"), ("connection", "TE")];
        let rules = rules(Method::GET, version, &headers, &no_credential());
        let head = answer(200, &[("trailer", "x-checksum")], &rules).unwrap().head;
        assert_eq!(head.headers.contains_key("trailer"), expect, "{version:?}");
    }
}

#[test]
fn early_end_of_grpc_has_a_status() {
    let lines = |trailers: HeaderMap| {
        let mut lines: Vec<_> = trailers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(lines(EarlyEnd::Plain.revoked()), ["x-caracal-revoked: true"]);
    assert_eq!(
        lines(EarlyEnd::Grpc.revoked()),
        [
            "grpc-message: session revoked",
            "grpc-status: 16",
            "x-caracal-revoked: true"
        ]
    );
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(EarlyEnd::Plain.failed(unavailable, "x"), None);
    assert_eq!(
        lines(EarlyEnd::Grpc.failed(unavailable, "gateway stopping").unwrap()),
        ["grpc-message: gateway stopping", "grpc-status: 14"]
    );
}

proptest! {
    #[test]
    fn answer_rewritten_twice_is_rewritten_once(
        names in prop::collection::vec("[a-z_-]{1,12}|x[-_]caracal[-_][a-z]{1,8}|server|x-powered-by", 0..12),
    ) {
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let once = answer(200, &headers, &plain()).unwrap().head.headers;
        let again: Vec<(&str, &str)> = once.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        prop_assert_eq!(&answer(200, &again, &plain()).unwrap().head.headers, &once);
        let owned = |name: &HeaderName| name.as_str().replace('_', "-").starts_with("x-caracal-");
        prop_assert_eq!(once.keys().filter(|name| owned(name)).count(), 1, "only the gateway's own");
        prop_assert!(once.get_all(CONTENT_LENGTH).iter().count() <= 1);
    }
}
